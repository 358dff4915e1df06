// Package bans decides which sources are shut out because of what they did, and for how long.
//
// The model in words. A strike is one thing a source did that an honest client rarely does: a failed login, a request for
// a page that only scanners want. Strikes of one reason within a window add up; at the limit the source is banned, first
// for a short while, and each time again for a multiple of it. What counts as one source is an IPv4 address, or the /64 of
// an IPv6 address. An always-allowed source, and the host itself, is never banned. Bans and how often a source was banned
// are on disk; strikes that have not led to a ban are in memory only, and bounded.
//
// Logs are read by two readers: Journal trusts only the fields that journald itself writes, because any local user can
// log a line that says anything; File follows a file that only root can write. Both hand lines to ParseSSHD, whose patterns
// are anchored at both ends, because an attacker chooses the user name in the middle. The package never touches the
// kernel: who holds the bans is told by a callback.
package bans

import (
	"net/netip"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

// Strike is one thing that a source did.
type Strike struct {
	Source netip.Addr
	// Reason is the kind: "sshd", "login"; see the documentation for what other parts report.
	Reason string
	// Detail is the evidence, for people; at most MaxDetail bytes are kept.
	Detail string
	Time   time.Time
	// Weight counts as that many strikes; zero is one.
	Weight int
}

// MaxDetail bounds the evidence that is kept of one strike, in bytes.
const MaxDetail = 256

// Policy says when a reason leads to a ban. state.BanPolicy provides it.
type Policy struct {
	Disabled bool
	Strikes  int
	Window   time.Duration
	// Duration is how long the nth ban of a source lasts, counted from 0.
	Duration func(nth int) time.Duration
}

// Ban is a source that is shut out.
type Ban struct {
	Target ranges.Range // one IPv4 address or one IPv6 /64
	Reason string
	Detail string
	Since  time.Time
	Until  time.Time
	Count  int // how many bans the source has had, this one included
}

// Target is what a source is banned as.
func Target(a netip.Addr) ranges.Range {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return ranges.Single(a)
	}
	return ranges.Of(netip.PrefixFrom(a, 64))
}
