package conformance

import (
	"net/netip"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
)

func forwardCases() []testCase {
	return []testCase{
		{"containers: out, and nothing in by default", containers},
		{"published ports obey the policy", published},
		{"published ports: lists and limits", publishedLists},
		{"containers: blocks hold in both directions", containerBlocks},
		{"router", router},
	}
}

func anyone(n *nstest.NS) nstest.From { return n.From(netip.Addr{}) }

func containers(e *env) {
	e.Client1.Serve(e.T, "tcp", 80)
	e.Client1.Serve(e.T, "udp", 53)
	e.Client2.Serve(e.T, "tcp", 80)
	e.Container.Serve(e.T, "tcp", 80)
	e.Host.Serve(e.T, "tcp", 22)
	e.Host.Serve(e.T, "tcp", 23)
	e.Publish(e.T, "tcp", 8080, 80)
	e.apply(closed(service("ssh", firewall.TCP, 22)))
	e.families(func(i int) {
		e.sees(anyone(e.Container), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Open)
		e.sees(anyone(e.Container), "udp", netip.AddrPortFrom(e.Client1.Addrs()[i], 53), nstest.Open)
		if !e.Container.Ping(e.T, e.Client2.Addrs()[i]) {
			e.Errorf("IPv%d: ping from the container is not answered", 4+2*i)
		}
		e.sees(anyone(e.Container), "tcp", netip.AddrPortFrom(e.Gateway[i], 22), nstest.Open)
		e.sees(anyone(e.Container), "tcp", netip.AddrPortFrom(e.Gateway[i], 23), nstest.Filtered)
		e.counts(firewall.ReasonForward, func() { // around the published port
			e.sees(anyone(e.Client1), "tcp", netip.AddrPortFrom(e.Container.Addrs()[i], 80), nstest.Filtered)
		})
		e.counts(firewall.ReasonForward, func() { // through the host
			e.sees(anyone(e.Client1), "tcp", netip.AddrPortFrom(e.Client2.Addrs()[i], 80), nstest.Filtered)
		})
		e.counts(firewall.ReasonClosed, func() { e.sees(anyone(e.Client1), "tcp", e.host(i, 8080), nstest.Filtered) })
		e.sees(anyone(e.Host), "tcp", netip.AddrPortFrom(e.Container.Addrs()[i], 80), nstest.Open)
	})
	rs := closed()
	rs.Forward.Bridges = []string{"docker*", "br-*"}
	e.apply(rs)
	e.families(func(i int) {
		e.sees(anyone(e.Container), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Open)
	})
	rs.Forward.Bridges = []string{"docker*"}
	e.apply(rs)
	e.families(func(i int) {
		e.sees(anyone(e.Container), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Filtered)
	})
}

// The container listens on 80, the host publishes it as 8080: it is 8080 that the policy speaks of.
func published(e *env) {
	e.Container.Serve(e.T, "tcp", 80)
	e.Container.Serve(e.T, "udp", 53)
	e.Publish(e.T, "tcp", 8080, 80)
	e.PublishAnother(e.T, "udp", 5353, 53)
	web := service("web", firewall.TCP, 8080)
	for _, c := range []struct {
		name     string
		services []firewall.Service
		want     nstest.Result
	}{
		{"nothing open", nil, nstest.Filtered},
		{"published port open", []firewall.Service{web}, nstest.Open},
		{"container port open", []firewall.Service{service("web", firewall.TCP, 80)}, nstest.Filtered},
		{"other protocol open", []firewall.Service{service("web", firewall.UDP, 8080)}, nstest.Filtered},
	} {
		e.apply(closed(c.services...))
		e.families(func(i int) {
			e.Log(c.name)
			e.sees(anyone(e.Client1), "tcp", e.host(i, 8080), c.want)
			e.sees(anyone(e.Client1), "tcp", netip.AddrPortFrom(e.Container.Addrs()[i], 80), nstest.Filtered)
		})
	}
	e.apply(closed(service("dns", firewall.UDP, 5353)))
	e.families(func(i int) {
		e.sees(anyone(e.Client1), "udp", e.host(i, 5353), nstest.Open)
		e.sees(anyone(e.Client1), "udp", e.host(i, 53), nstest.Filtered)
	})
	web.Sources = rangesOf("192.0.2.7", "2001:db8:7::/64")
	e.apply(closed(web))
	for s, want := range map[string]nstest.Result{"192.0.2.7": nstest.Open, "192.0.2.8": nstest.Filtered, "2001:db8:7::7": nstest.Open, "2001:db8:8::7": nstest.Filtered} {
		from := e.again(s)
		e.sees(from, "tcp", e.host(family(from.Src), 8080), want)
	}
	web.Sources, web.Interfaces = nil, []string{nstest.Dev2}
	e.apply(closed(web))
	e.families(func(i int) {
		e.sees(anyone(e.Client1), "tcp", e.host(i, 8080), nstest.Filtered)
		e.sees(anyone(e.Client2), "tcp", netip.AddrPortFrom(e.Host2[i], 8080), nstest.Open)
	})
}

func publishedLists(e *env) {
	e.Container.Serve(e.T, "tcp", 80)
	e.Publish(e.T, "tcp", 8080, 80)
	rs := closed(metered(service("web", firewall.TCP, 8080), "ssh"))
	rs.Meters = []firewall.Meter{sshLimit()}
	rs.Feeds = e.bigSet("192.0.2.1", "2001:db8:1:1::/64")
	rs.Blocks = timed("192.0.2.2", "2001:db8:1:2::/64")
	rs.Bans = timed("192.0.2.3", "2001:db8:1:3::/64")
	rs.Geo = []firewall.GeoScope{{Name: "geo0", Refuse: "in", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 8080, Last: 8080}}, Set: e.bigSet("192.0.2.4", "2001:db8:1:4::/64")}}
	rs.Allow = rangesOf("192.0.2.5", "2001:db8:1:5::5")
	e.apply(rs)
	for i, r := range []firewall.Reason{firewall.ReasonFeed, firewall.ReasonBlock, firewall.ReasonBan, firewall.ReasonGeo.Of("geo0")} {
		for _, s := range []string{"192.0.2." + string(rune('1'+i)), "2001:db8:1:" + string(rune('1'+i)) + "::1"} {
			from := e.source(s)
			e.counts(r, func() { e.sees(from, "tcp", e.host(family(from.Src), 8080), nstest.Filtered) })
		}
	}
	for s, want := range map[string]int{"192.0.2.5": 8, "2001:db8:1:5::5": 8, "192.0.2.6": 5, "2001:db8:1:6::6": 5} {
		e.burst(e.source(s), 8080, 8, want)
	}
}

func containerBlocks(e *env) {
	e.Client1.Serve(e.T, "tcp", 80)
	e.Container.Serve(e.T, "tcp", 80)
	e.Publish(e.T, "tcp", 8080, 80)
	rs := closed(service("web", firewall.TCP, 8080))
	for _, c := range []struct {
		reason firewall.Reason
		set    func(ss ...string)
	}{
		{firewall.ReasonBlock, func(ss ...string) { rs.Blocks = timed(ss...) }},
		{firewall.ReasonBan, func(ss ...string) { rs.Bans = timed(ss...) }},
		{firewall.ReasonFeed, func(ss ...string) { rs.Feeds = e.bigSet(ss...) }},
	} {
		c.set("192.0.2.7", "2001:db8:7::/64")
		e.apply(rs)
		for _, s := range []string{"192.0.2.7", "2001:db8:7::7"} {
			from := e.again(s)
			e.counts(c.reason, func() { e.sees(from, "tcp", e.host(family(from.Src), 8080), nstest.Filtered) })
			e.counts(c.reason, func() { e.sees(anyone(e.Container), "tcp", netip.AddrPortFrom(from.Src, 80), nstest.Filtered) })
		}
		c.set()
		e.apply(rs)
		for _, s := range []string{"192.0.2.7", "2001:db8:7::7"} {
			from := e.again(s)
			e.sees(from, "tcp", e.host(family(from.Src), 8080), nstest.Open)
			e.sees(anyone(e.Container), "tcp", netip.AddrPortFrom(from.Src, 80), nstest.Open)
		}
	}
}

// An open forward policy routes between neighbours, and still blocks, and still guards published ports.
func router(e *env) {
	e.Client2.Serve(e.T, "tcp", 80)
	e.Container.Serve(e.T, "tcp", 80)
	e.Publish(e.T, "tcp", 8080, 80)
	rs := closed()
	rs.Forward.Open = true
	e.apply(rs)
	e.families(func(i int) {
		e.sees(anyone(e.Client1), "tcp", netip.AddrPortFrom(e.Client2.Addrs()[i], 80), nstest.Open)
		e.sees(anyone(e.Client1), "tcp", e.host(i, 8080), nstest.Filtered)
	})
	rs.Blocks = timed("192.0.2.7", "2001:db8:7::7", "203.0.113.2", "2001:db8:2::2")
	e.apply(rs)
	e.families(func(i int) {
		e.sees(anyone(e.Client1), "tcp", netip.AddrPortFrom(e.Client2.Addrs()[i], 80), nstest.Filtered)
	})
}
