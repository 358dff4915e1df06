package feeds

import "time"

// Preset is a well-known feed that can be added by its name alone.
type Preset struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Source string `json:"source"`
	Format string `json:"format"`
	// Every respects what the maintainer asks for.
	Every time.Duration `json:"every"`
	// MinRanges and MaxRanges bound a plausible size.
	MinRanges int `json:"min_ranges"`
	MaxRanges int `json:"max_ranges"`
	// Note is what an operator should know: what it lists, and the terms of its maintainer.
	Note string `json:"note"`
}

// Presets is every known feed, by name.
func Presets() []Preset {
	return []Preset{
		{
			Name: "blocklist-de", Title: "blocklist.de", Source: "https://lists.blocklist.de/lists/all.txt", Format: Netset,
			Every: 6 * time.Hour, MinRanges: 500, MaxRanges: 500_000,
			Note: "addresses that attacked a participant's server in the last 48 hours",
		}, {
			Name: "firehol-level1", Title: "FireHOL level 1", Format: Netset,
			Source: "https://raw.githubusercontent.com/firehol/blocklist-ipsets/master/firehol_level1.netset",
			Every:  12 * time.Hour, MinRanges: 500, MaxRanges: 100_000,
			Note: "a union of lists with few false positives; its unroutable (bogon) ranges are dropped here",
		}, {
			Name: "spamhaus-drop", Title: "Spamhaus DROP", Source: "https://www.spamhaus.org/drop/drop_v4.json", Format: JSON,
			Every: 12 * time.Hour, MinRanges: 200, MaxRanges: 20_000,
			Note: "IPv4 networks run by spammers and other criminals; free to use, with credit to The Spamhaus Project",
		}, {
			Name: "spamhaus-dropv6", Title: "Spamhaus DROPv6", Source: "https://www.spamhaus.org/drop/drop_v6.json", Format: JSON,
			Every: 12 * time.Hour, MinRanges: 10, MaxRanges: 20_000,
			Note: "IPv6 networks run by spammers and other criminals; free to use, with credit to The Spamhaus Project",
		}, {
			Name: "tor-exits", Title: "Tor exits", Source: "https://check.torproject.org/torbulkexitlist", Format: Netset,
			Every: 2 * time.Hour, MinRanges: 100, MaxRanges: 50_000,
			Note: "exit relays of the Tor network; blocks people as well as attackers",
		},
	}
}
