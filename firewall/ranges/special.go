package ranges

import "net/netip"

// Special is a part of the address space that is not public.
type Special struct {
	Range
	Name string // "private", "loopback" ...
}

// Specials is the part of the IANA special-purpose registries (RFC 6890 and its updates) whose addresses may be in use
// around the host, disjoint and in order. Documentation prefixes are not in it: nothing real has them. Of IPv6 only
// 2000::/3 is public.
func Specials() []Special {
	p := func(s string) Range { return Of(netip.MustParsePrefix(s)) }
	span := func(from, to string) Range { return Range{netip.MustParseAddr(from), netip.MustParseAddr(to)} }
	return []Special{
		{p("0.0.0.0/8"), "reserved"},
		{p("10.0.0.0/8"), "private"},
		{p("100.64.0.0/10"), "carrier-grade NAT"},
		{p("127.0.0.0/8"), "loopback"},
		{p("169.254.0.0/16"), "link-local"},
		{p("172.16.0.0/12"), "private"},
		{p("192.0.0.0/24"), "reserved"},
		{p("192.168.0.0/16"), "private"},
		{p("198.18.0.0/15"), "benchmarking"},
		{p("224.0.0.0/4"), "multicast"},
		{p("240.0.0.0/4"), "reserved"},
		{p("::/128"), "reserved"},
		{p("::1/128"), "loopback"},
		{span("::2", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "reserved"},
		{span("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "reserved"},
		{p("fc00::/7"), "private"},
		{p("fe00::/9"), "reserved"},
		{p("fe80::/10"), "link-local"},
		{p("fec0::/10"), "reserved"},
		{p("ff00::/8"), "multicast"},
	}
}

// Reserved is the addresses of Specials: what no list from outside may concern.
func Reserved() []Range {
	var out []Range
	for _, s := range Specials() {
		out = append(out, s.Range)
	}
	return Normalize(out)
}
