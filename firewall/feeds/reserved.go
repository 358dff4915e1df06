package feeds

import (
	"net/netip"

	"github.com/platformd/platformd/firewall/ranges"
)

// special is a part of the address space that no feed may block.
type special struct {
	prefix string
	name   string
}

// specials is the part of the IANA special-purpose registries (RFC 6890 and its updates) whose addresses may be in use
// around the host. Documentation prefixes are not in it: nothing real has them, blocking them harms nobody. Of IPv6 only
// 2000::/3 is public.
func specials() []special {
	return []special{
		{"0.0.0.0/8", "reserved"},
		{"10.0.0.0/8", "private"},
		{"100.64.0.0/10", "carrier-grade NAT"},
		{"127.0.0.0/8", "loopback"},
		{"169.254.0.0/16", "link-local"},
		{"172.16.0.0/12", "private"},
		{"192.0.0.0/24", "reserved"},
		{"192.168.0.0/16", "private"},
		{"198.18.0.0/15", "benchmarking"},
		{"224.0.0.0/4", "multicast"},
		{"240.0.0.0/4", "reserved"},
		{"::/128", "reserved"},
		{"::1/128", "loopback"},
		{"::/3", "reserved"},
		{"fe80::/10", "link-local"},
		{"fc00::/7", "private"},
		{"ff00::/8", "multicast"},
		{"4000::/2", "reserved"},
		{"8000::/1", "reserved"},
	}
}

// Reserved is the part of the address space that no feed may block: private, loopback, link-local, multicast and other
// ranges that are not public.
func Reserved() []ranges.Range {
	var out []ranges.Range
	for _, s := range specials() {
		out = append(out, ranges.Of(netip.MustParsePrefix(s.prefix)))
	}
	return ranges.Normalize(out)
}

// A range of a feed that covers more public addresses than these is dropped as a whole, as a list of offenders has no use
// for it. Prefixes of this length are the largest that one holder has, but for a few from the first years.
const (
	widestV4 = 1 << 24 // addresses: a /8
	widestV6 = 1 << 44 // /64s: a /20
)

// A feed that covers more than these in all is held back: an eighth of IPv4, a quarter of what one registry has of IPv6.
const (
	coverV4 = 1 << 29 // addresses
	coverV6 = 1 << 50 // /64s: a /14
)

// size is how many addresses (IPv4) or /64s (IPv6) r touches. It is not for ranges wider than 2000::/3.
func size(r ranges.Range) uint64 {
	if r.Is4() {
		return uint64(be32(r.To)) - uint64(be32(r.From)) + 1
	}
	return hi64(r.To) - hi64(r.From) + 1
}

func be32(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func hi64(a netip.Addr) uint64 {
	b := a.As16()
	var n uint64
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}
