package feeds

import (
	"net/netip"

	"github.com/platformd/platformd/firewall/ranges"
)

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
