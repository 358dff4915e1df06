// Package ranges holds sorted ranges of IP addresses in numbers that do not fit comfortably in memory: block-list feeds
// and country sets of hundreds of thousands of ranges.
//
// A Range is an inclusive span of addresses of one family. Every sequence in this package is canonical: IPv4 before IPv6,
// ascending, disjoint and not adjacent within a family, so that two sequences that mean the same are equal. Sequences are
// streamed (Merge, Subtract, Coalesce) and stored in files that are read without loading them (File), named by the SHA-256
// of their content. Nothing here merges ranges that carry different expiry times, and nothing resolves names.
package ranges

import (
	"fmt"
	"net/netip"
	"strings"

	"go4.org/netipx"
)

// Range is the span From..To, both included and of one family. IPv4-mapped IPv6 addresses and zones are never in it.
type Range struct{ From, To netip.Addr }

// Of is the range that a prefix covers; host bits are masked off.
func Of(p netip.Prefix) Range {
	r := netipx.RangeOfPrefix(p.Masked())
	return Range{r.From(), r.To()}
}

// Single is the range of one address.
func Single(a netip.Addr) Range { return Range{a, a} }

// IsValid reports whether r spans at least one address of one family.
func (r Range) IsValid() bool { return netipx.IPRangeFrom(r.From, r.To).IsValid() }

// Is4 reports the family; see netip.Addr.Is4.
func (r Range) Is4() bool { return r.From.Is4() }

// Contains reports whether a lies in r.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.From.BitLen() && a.Compare(r.From) >= 0 && a.Compare(r.To) <= 0
}

// Overlaps reports whether r and o share an address.
func (r Range) Overlaps(o Range) bool {
	return r.From.BitLen() == o.From.BitLen() && r.From.Compare(o.To) <= 0 && o.From.Compare(r.To) <= 0
}

// Compare orders by family (IPv4 first), then From, then To.
func (r Range) Compare(o Range) int {
	if c := r.From.Compare(o.From); c != 0 {
		return c
	}
	return r.To.Compare(o.To)
}

// Prefixes is the shortest list of prefixes that covers exactly r.
func (r Range) Prefixes() []netip.Prefix { return netipx.IPRangeFrom(r.From, r.To).Prefixes() }

// String is the shortest form that Parse reads back: an address, a prefix, or From-To.
func (r Range) String() string {
	if !r.IsValid() {
		return "invalid range"
	}
	if r.From == r.To {
		return r.From.String()
	}
	if p, ok := netipx.IPRangeFrom(r.From, r.To).Prefix(); ok {
		return p.String()
	}
	return r.From.String() + "-" + r.To.String()
}

// MarshalText implements encoding.TextMarshaler.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Range) UnmarshalText(b []byte) error {
	v, err := Parse(string(b))
	if err == nil {
		*r = v
	}
	return err
}

// Parse reads an address (192.0.2.1), a prefix (192.0.2.0/24, 2001:db8::/32) or a range (192.0.2.1-192.0.2.9). A prefix
// with host bits set is refused, because it is more often a typing error than a wish. IPv4-mapped IPv6 is taken as IPv4.
func Parse(s string) (Range, error) {
	t := strings.TrimSpace(s)
	switch {
	case t == "":
		return Range{}, fmt.Errorf("address is empty; write an address, a prefix such as 192.0.2.0/24, or a range such as 192.0.2.1-192.0.2.9")
	case strings.Contains(t, "/"):
		return parsePrefix(t)
	case strings.Contains(t, "-"):
		a, b, _ := strings.Cut(t, "-")
		from, err := parseAddr(strings.TrimSpace(a))
		if err != nil {
			return Range{}, fmt.Errorf("range %q: %w", t, err)
		}
		to, err := parseAddr(strings.TrimSpace(b))
		if err != nil {
			return Range{}, fmt.Errorf("range %q: %w", t, err)
		}
		if from.BitLen() != to.BitLen() {
			return Range{}, fmt.Errorf("range %q: both ends must be of one family, IPv4 or IPv6", t)
		}
		if to.Less(from) {
			return Range{}, fmt.Errorf("range %q: the end lies before the start; write %v-%v", t, to, from)
		}
		return Range{from, to}, nil
	}
	a, err := parseAddr(t)
	if err != nil {
		return Range{}, err
	}
	return Single(a), nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address; write for example 192.0.2.1 or 2001:db8::1", s)
	}
	if a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q: a zone (%%%s) cannot be used here; leave it out", s, a.Zone())
	}
	return a.Unmap(), nil
}

func parsePrefix(s string) (Range, error) {
	as, bs, _ := strings.Cut(s, "/")
	a, err := parseAddr(as)
	if err != nil {
		return Range{}, fmt.Errorf("prefix %q: %w", s, err)
	}
	p, err := netip.ParsePrefix(a.String() + "/" + bs)
	if err != nil {
		return Range{}, fmt.Errorf("prefix %q: prefix length must be a number from 0 to %d", s, a.BitLen())
	}
	if p != p.Masked() {
		return Range{}, fmt.Errorf("prefix %q: has host bits set; write %v for the network or %v for the one address", s, p.Masked(), a)
	}
	return Of(p), nil
}
