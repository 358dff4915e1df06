package geo

import (
	"net/netip"

	"github.com/platformd/platformd/firewall/ranges"
)

// Count is how much of a database is of one country.
type Count struct {
	V4 int `json:"v4"` // records
	V6 int `json:"v6"`
	// Addresses4 is the number of IPv4 addresses, Nets6 that of IPv6 /48s begun.
	Addresses4 uint64 `json:"addresses4"`
	Nets6      uint64 `json:"nets6"`
}

// Countries reads the whole file and counts by country.
func (f *File) Countries() (map[Code]Count, error) {
	out := map[Code]Count{}
	for r, err := range f.All() {
		if err != nil {
			return nil, err
		}
		c := out[r.Country]
		if r.Is4() {
			a, b := r.From.As4(), r.To.As4()
			c.V4++
			c.Addresses4 += number(b[:]) - number(a[:]) + 1
		} else {
			a, b := r.From.As16(), r.To.As16()
			c.V6++
			c.Nets6 += number(b[:6]) - number(a[:6]) + 1
		}
		out[r.Country] = c
	}
	return out, nil
}

func number(b []byte) uint64 {
	var n uint64
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return n
}

// Select streams the addresses of the named countries, and with unknown those of no country, joined where they touch. It
// ends with an error at once where a code is no country's; see Check. Addresses that are not public have no country.
func (f *File) Select(codes []string, unknown bool) ranges.Seq {
	want, err := resolve(codes)
	if err != nil {
		return ranges.Fail(err)
	}
	named := func(yield func(ranges.Range, error) bool) {
		for r, err := range f.All() {
			if err != nil {
				yield(ranges.Range{}, err)
				return
			}
			if want[r.Country] && !yield(r.Range, nil) {
				return
			}
		}
	}
	if !unknown {
		return ranges.Coalesce(named)
	}
	return ranges.Coalesce(f.complete(want))
}

// complete is the ranges of wanted countries and all gaps between records, in order.
func (f *File) complete(want map[Code]bool) ranges.Seq {
	return func(yield func(ranges.Range, error) bool) {
		family := ranges.Of(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
		at := family.From // the first address that no record has been seen for; invalid behind the last
		gap := func(to netip.Addr) bool {
			return !at.IsValid() || !to.IsValid() || to.Less(at) || yield(ranges.Range{From: at, To: to}, nil)
		}
		next := func() bool { // to IPv6
			if !gap(family.To) {
				return false
			}
			family = ranges.Of(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
			at = family.From
			return true
		}
		for r, err := range f.All() {
			if err != nil {
				yield(ranges.Range{}, err)
				return
			}
			if family.Is4() && !r.Is4() && !next() {
				return
			}
			if !gap(r.From.Prev()) || want[r.Country] && !yield(r.Range, nil) {
				return
			}
			at = r.To.Next()
		}
		if family.Is4() && !next() {
			return
		}
		gap(family.To)
	}
}
