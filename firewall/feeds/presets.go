package feeds

import (
	"time"

	"github.com/platformd/platformd/firewall"
)

// Preset is a well-known feed that can be added by its name alone.
type Preset struct {
	Feed  firewall.Feed `json:"feed"`
	Title string        `json:"title"`
	// Note is what an operator should know: what it lists, and the terms of its maintainer.
	Note string `json:"note"`
}

// Presets is every known feed, by name. The periods respect what the maintainers ask for.
func Presets() []Preset {
	every := func(h int) firewall.Duration { return firewall.Duration(time.Duration(h) * time.Hour) }
	return []Preset{
		{firewall.Feed{Name: "blocklist-de", Source: "https://lists.blocklist.de/lists/all.txt", Format: Netset, Every: every(6), MinRanges: 500, MaxRanges: 500_000},
			"blocklist.de", "addresses that attacked a participant's server in the last 48 hours"},
		{firewall.Feed{Name: "firehol-level1", Source: "https://raw.githubusercontent.com/firehol/blocklist-ipsets/master/firehol_level1.netset", Format: Netset, Every: every(12), MinRanges: 500, MaxRanges: 100_000},
			"FireHOL level 1", "a union of lists with few false positives; its unroutable (bogon) ranges are dropped here"},
		{firewall.Feed{Name: "spamhaus-drop", Source: "https://www.spamhaus.org/drop/drop_v4.json", Format: JSON, Every: every(12), MinRanges: 200, MaxRanges: 20_000},
			"Spamhaus DROP", "IPv4 networks run by spammers and other criminals; free to use, with credit to The Spamhaus Project"},
		{firewall.Feed{Name: "spamhaus-dropv6", Source: "https://www.spamhaus.org/drop/drop_v6.json", Format: JSON, Every: every(12), MinRanges: 10, MaxRanges: 20_000},
			"Spamhaus DROPv6", "IPv6 networks run by spammers and other criminals; free to use, with credit to The Spamhaus Project"},
		{firewall.Feed{Name: "tor-exits", Source: "https://check.torproject.org/torbulkexitlist", Format: Netset, Every: every(2), MinRanges: 100, MaxRanges: 50_000},
			"Tor exits", "exit relays of the Tor network; blocks people as well as attackers"},
	}
}
