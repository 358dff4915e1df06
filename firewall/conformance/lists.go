package conformance

import (
	"fmt"
	"net/netip"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/nstest"
)

func listCases() []testCase {
	return []testCase{
		{"feeds", feeds},
		{"feeds: thousands of ranges and the edges", bigFeeds},
		{"geo whole host", geoHost},
		{"geo by port", geoPort},
		{"geo concerns neither containers nor the host itself", geoOutward},
	}
}

func feeds(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Client1.Serve(e.T, "tcp", 80)
	rs := closed(service("ssh", firewall.TCP, 22))
	rs.Feeds = e.bigSet("192.0.2.5-192.0.2.9", "192.0.2.11", "2001:db8:7::/64", "2001:db8:9::1")
	e.apply(rs)
	for _, s := range []string{"192.0.2.7", "2001:db8:7::7"} {
		from := e.source(s)
		e.counts(firewall.ReasonFeed, func() { e.sees(from, "tcp", e.host(family(from.Src), 22), nstest.Filtered) })
		e.counts(firewall.ReasonFeed, func() {
			e.sees(e.Host.From(netip.Addr{}), "tcp", netip.AddrPortFrom(from.Src, 80), nstest.Filtered)
		})
	}
	e.checks(map[string]nstest.Result{
		"192.0.2.4": nstest.Open, "192.0.2.10": nstest.Open, "192.0.2.11": nstest.Filtered, "192.0.2.12": nstest.Open,
		"2001:db8:7:1::1": nstest.Open, "2001:db8:9::1": nstest.Filtered, "2001:db8:9::2": nstest.Open,
	}, true)
	rs.Feeds = e.bigSet("192.0.2.12", "2001:db8:9::2")
	e.apply(rs)
	e.checks(map[string]nstest.Result{
		"192.0.2.7": nstest.Open, "192.0.2.12": nstest.Filtered, "2001:db8:7::7": nstest.Open, "2001:db8:9::2": nstest.Filtered,
	}, false)
	rs.Feeds = e.bigSet("192.0.2.12") // nothing of IPv6 any more
	e.apply(rs)
	e.checks(map[string]nstest.Result{"192.0.2.12": nstest.Filtered, "2001:db8:9::2": nstest.Open}, false)
	rs.Feeds = firewall.BigSet{}
	e.apply(rs)
	e.checks(map[string]nstest.Result{"192.0.2.12": nstest.Open, "2001:db8:9::2": nstest.Open}, false)
}

// Single addresses, prefixes and crooked ranges with gaps of one address, more than fit into one message to the kernel,
// and the first and last addresses there are.
func bigFeeds(e *env) {
	rs := closed()
	var all []ranges.Range
	inside, outside := []string{}, []string{}
	for i := range 4000 {
		hi, lo := i/200, i%200
		for _, base := range []string{fmt.Sprintf("10.%d.%d.", hi, lo), fmt.Sprintf("fd10:%x:%x::", hi, lo)} {
			all = append(all, rangesOf(base+"0-"+base+"5", base+"7", base+"9-"+base+"63")...)
			if i%397 == 0 || i == 3999 {
				inside = append(inside, base+"0", base+"5", base+"7", base+"9", base+"31", base+"63")
				outside = append(outside, base+"6", base+"8", base+"64")
			}
		}
	}
	all = append(all, rangesOf("0.0.0.0-0.0.0.9", "255.255.255.250-255.255.255.255", "::-::9", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")...)
	inside = append(inside, "0.0.0.0", "0.0.0.9", "255.255.255.250", "255.255.255.255", "::", "::9", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	outside = append(outside, "0.0.0.10", "255.255.255.249", "::a", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffef")
	rs.Feeds = e.bigSetOf(all)
	e.apply(rs)
	e.probes("feeds", inside, outside)
}

// probes checks with Driver.Probe what is in a set.
func (e *env) probes(set string, inside, outside []string) {
	e.Helper()
	for _, c := range []struct {
		want bool
		in   []string
	}{{true, inside}, {false, outside}} {
		for _, s := range c.in {
			got, err := e.d.Probe(e.Context(), set, netip.MustParseAddr(s))
			if err != nil || got != c.want {
				e.Errorf("probe %s %s: got %v, %v; want %v", set, s, got, err, c.want)
			}
		}
	}
}

func geoHost(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(service("ssh", firewall.TCP, 22))
	set := e.bigSet("192.0.2.0/25", "2001:db8:7::/64", "198.51.100.0/24", "2001:db8:1::/64")
	rs.Echo = firewall.EchoOpen
	rs.Geo = []firewall.GeoScope{{Name: "geo0", Refuse: "in", Set: set}}
	e.apply(rs)
	in, out := []string{"192.0.2.7", "2001:db8:7::7"}, []string{"192.0.2.130", "2001:db8:8::7"}
	e.geoIs(in, out)
	e.probes("geo0", in, out)
	rs.Geo[0].Refuse = "notin"
	e.apply(rs)
	e.geoIs(out, in)
	rs.Geo = []firewall.GeoScope{{Name: "geo0", Refuse: "notin", Set: e.bigSet("192.0.2.0/25", "198.51.100.0/24")}} // nothing of IPv6
	e.apply(rs)
	e.geoIs([]string{"192.0.2.130", "2001:db8:7::7"}, []string{"192.0.2.7"})
	rs.Geo = []firewall.GeoScope{{Name: "geo0", Refuse: "in"}} // an empty set keeps nobody out
	e.apply(rs)
	e.geoIs(nil, []string{"192.0.2.7", "192.0.2.130", "2001:db8:7::7"})
	rs.Geo = nil
	e.apply(rs)
	e.geoIs(nil, []string{"192.0.2.7", "192.0.2.130", "2001:db8:7::7"})
}

// geoIs checks that some addresses reach neither port 22 nor ping, and others do.
func (e *env) geoIs(refused, admitted []string) {
	e.Helper()
	for _, s := range refused {
		from := e.again(s)
		e.counts(firewall.ReasonGeo.Of("geo0"), func() { e.sees(from, "tcp", e.host(family(from.Src), 22), nstest.Filtered) })
		if n := from.Pings(e.T, e.Host1[family(from.Src)], 2); n != 0 {
			e.Errorf("ping from %s, which is kept out: %d answers", s, n)
		}
	}
	for _, s := range admitted {
		from := e.again(s)
		e.sees(from, "tcp", e.host(family(from.Src), 22), nstest.Open)
	}
}

func geoPort(e *env) {
	for _, p := range []uint16{22, 80, 81, 90} {
		e.Host.Serve(e.T, "tcp", p)
		e.Host.Serve(e.T, "udp", p)
	}
	rs := closed(service("tcp", firewall.TCP, 22, 80, 81, 90), service("udp", firewall.UDP, 80, 90))
	set := e.bigSet("192.0.2.0/25", "2001:db8:7::/64")
	rs.Geo = []firewall.GeoScope{
		{Name: "geo0", Refuse: "in", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 80, Last: 81}}, Set: set},
		{Name: "geo1", Refuse: "notin", Ports: []firewall.PortRange{{First: 90, Last: 90}}, Set: set},
	}
	e.apply(rs)
	for _, c := range []struct {
		source, proto string
		port          uint16
		want          nstest.Result
	}{
		{"192.0.2.7", "tcp", 22, nstest.Open}, {"192.0.2.7", "tcp", 80, nstest.Filtered}, {"192.0.2.7", "tcp", 81, nstest.Filtered},
		{"192.0.2.7", "udp", 80, nstest.Open}, {"192.0.2.7", "tcp", 90, nstest.Open}, {"192.0.2.7", "udp", 90, nstest.Open},
		{"192.0.2.130", "tcp", 80, nstest.Open}, {"192.0.2.130", "tcp", 90, nstest.Filtered}, {"192.0.2.130", "udp", 90, nstest.Filtered},
		{"2001:db8:7::7", "tcp", 80, nstest.Filtered}, {"2001:db8:7::7", "udp", 90, nstest.Open},
		{"2001:db8:8::7", "tcp", 80, nstest.Open}, {"2001:db8:8::7", "udp", 90, nstest.Filtered}, {"2001:db8:8::7", "tcp", 22, nstest.Open},
	} {
		from := e.again(c.source)
		e.sees(from, c.proto, e.host(family(from.Src), c.port), c.want)
	}
	if e.refused(firewall.ReasonGeo.Of("geo0")) == 0 || e.refused(firewall.ReasonGeo.Of("geo1")) == 0 {
		e.Error("counters of geo0 and geo1: want both above zero")
	}
}

func geoOutward(e *env) {
	e.Client1.Serve(e.T, "tcp", 80)
	rs := closed()
	rs.Geo = []firewall.GeoScope{{Name: "geo0", Refuse: "notin", Set: e.bigSet("9.9.9.9", "2001:db8:9::9")}}
	e.apply(rs)
	e.families(func(i int) {
		to := netip.AddrPortFrom(e.Client1.Addrs()[i], 80)
		e.sees(e.Host.From(netip.Addr{}), "tcp", to, nstest.Open)
		e.sees(e.Container.From(netip.Addr{}), "tcp", to, nstest.Open)
	})
}
