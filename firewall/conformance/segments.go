package conformance

import (
	"net/netip"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/ratelimit"
)

func segmentCases() []testCase {
	return []testCase{
		{"segments: sources and the host", segmentSources},
		{"segments: other networks and private addresses", segmentPrivate},
		{"segments: egress", segmentEgress},
		{"segments: names end by themselves", segmentNames},
		{"segments: within one bridge", segmentInside},
		{"segments: peers are limited", segmentLimits},
		{"segments: default classes at their boundary", segmentClasses},
		{"segments: what comes in", segmentIn},
		{"segments: blocks hold", segmentBlocks},
	}
}

// blogNet and the others are the networks of two apps, and one that no segment knows.
var (
	blogNet   = [2]netip.Prefix{netip.MustParsePrefix("10.212.0.16/28"), netip.MustParsePrefix("fd70:6c61:7466:1::/64")}
	shopNet   = [2]netip.Prefix{netip.MustParsePrefix("10.212.0.32/28"), netip.MustParsePrefix("fd70:6c61:7466:2::/64")}
	orphanNet = [2]netip.Prefix{netip.MustParsePrefix("10.212.0.48/28"), netip.MustParsePrefix("fd70:6c61:7466:3::/64")}
)

// appsEnv has the containers in those networks.
type appsEnv struct {
	*env
	blog, addon, shop, orphan *nstest.NS
}

func (e *env) apps() *appsEnv {
	e.Helper()
	a := &appsEnv{env: e}
	for i, n := range [][2]netip.Prefix{blogNet, shopNet, orphanNet} {
		e.AddNetwork(e.T, []string{"br-app1", "br-app2", "br-app3"}[i], n[0], n[1])
	}
	// As on a host where nobody has asked for it: frames between containers pass no packet filter.
	for _, s := range []string{"iptables", "ip6tables"} {
		e.Host.Sysctl(e.T, "net/bridge/bridge-nf-call-"+s, "0")
	}
	a.blog = e.AddContainer(e.T, "blog", "br-app1", 2, blogNet[0], blogNet[1])
	a.addon = e.AddContainer(e.T, "addon", "br-app1", 4, blogNet[0], blogNet[1])
	a.shop = e.AddContainer(e.T, "shop", "br-app2", 2, shopNet[0], shopNet[1])
	a.orphan = e.AddContainer(e.T, "orphan", "br-app3", 2, orphanNet[0], orphanNet[1])
	return a
}

// filterBridges makes frames between containers pass the packet filter, as the daemon does.
func (e *env) filterBridges() {
	e.Helper()
	for _, s := range []string{"iptables", "ip6tables"} {
		e.Host.Sysctl(e.T, "net/bridge/bridge-nf-call-"+s, "1")
	}
}

// segmented is closed with the networks of both apps.
func segmented(egress firewall.Egress, services ...firewall.Service) *firewall.Ruleset {
	rs := closed(services...)
	rs.Segments = firewall.Segments{Bridges: []string{"br-app*"}, List: []firewall.Segment{
		{Name: "blog", Bridge: "br-app1", V4: blogNet[0], V6: blogNet[1], Egress: egress},
		{Name: "shop", Bridge: "br-app2", V4: shopNet[0], V6: shopNet[1], Egress: firewall.EgressInternet},
	}}
	return rs
}

// nth is the nth address of a network.
func nth(n [2]netip.Prefix, family, count int) netip.Addr {
	a := n[family].Masked().Addr()
	for range count {
		a = a.Next()
	}
	return a
}

// A container sends from its own network only, and reaches no service of the host, on whichever of its addresses.
func segmentSources(e *env) {
	a := e.apps()
	for _, p := range []uint16{22, 53} {
		e.Host.Serve(e.T, "tcp", p)
		e.Host.Serve(e.T, "udp", p)
	}
	e.Client1.Serve(e.T, "tcp", 80)
	rs := segmented(firewall.EgressInternet, service("ssh", firewall.TCP, 22), service("dns", firewall.UDP, 53))
	for i := range 2 {
		rs.Segments.List[0].Peers = append(rs.Segments.List[0].Peers, firewall.Peer{Addr: nth(blogNet, i, 1), Protocol: firewall.UDP, Port: 53})
	}
	e.apply(rs)
	e.families(func(i int) {
		e.sees(anyone(e.Client1), "tcp", e.host(i, 22), nstest.Open)
		e.sees(anyone(a.blog), "udp", netip.AddrPortFrom(nth(blogNet, i, 1), 53), nstest.Open)
		for _, host := range []netip.Addr{nth(blogNet, i, 1), nth(shopNet, i, 1), e.Host1[i], e.Host2[i], e.Gateway[i]} {
			e.counts(firewall.ReasonEgress, func() { e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(host, 22), nstest.Filtered) })
		}
		e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(nth(blogNet, i, 1), 53), nstest.Filtered)
		e.sees(anyone(a.blog), "udp", netip.AddrPortFrom(nth(shopNet, i, 1), 53), nstest.Filtered)
		e.sees(anyone(a.shop), "udp", netip.AddrPortFrom(nth(shopNet, i, 1), 53), nstest.Filtered) // not its peer
		if a.blog.Ping(e.T, nth(blogNet, i, 1)) {
			e.Errorf("IPv%d: the host answers a ping from an app", 4+2*i)
		}
		// Sources of others, to which the way back is there.
		to := netip.AddrPortFrom(e.Client1.Addrs()[i], 80)
		e.sees(anyone(a.blog), "tcp", to, nstest.Open)
		for _, s := range [][2]string{{"192.0.2.77", "2001:db8:77::77"}, {"10.212.0.40", "fd70:6c61:7466:2::40"}, {"172.30.0.77", "fd00:30::77"}} {
			src := netip.MustParseAddr(s[i])
			e.AddSource(e.T, a.blog, src)
			e.counts(firewall.ReasonSpoof, func() { e.sees(a.blog.From(src), "tcp", to, nstest.Filtered) })
		}
		e.counts(firewall.ReasonSpoof, func() { e.sees(anyone(a.orphan), "tcp", to, nstest.Filtered) })
	})
	link := e.Host.LinkLocal(e.T, "br-app1").WithZone("eth0")
	e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(link, 22), nstest.Filtered)
	e.apply(closed())
	e.families(func(i int) { // no segments, no such rules
		e.sees(anyone(e.Host), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Open)
	})
}

// Nothing that is not public is reached, though there is a way to all of it and somebody answers there.
func segmentPrivate(e *env) {
	a := e.apps()
	e.Client1.Serve(e.T, "tcp", 80)
	e.Client1.Serve(e.T, "udp", 80)
	a.shop.Serve(e.T, "tcp", 80)
	e.Container.Serve(e.T, "tcp", 80)
	private := [2][]string{
		{"10.0.0.5", "172.16.0.5", "192.168.7.7", "100.64.0.5", "169.254.169.254", "198.18.0.5"},
		{"fd00:ec2::254", "fd12:3456::5", "fec0::5"},
	}
	groups := [2]netip.AddrPort{netip.MustParseAddrPort("224.0.0.251:5353"), netip.MustParseAddrPort("[ff0e::fb]:5353")}
	for _, g := range groups {
		e.Host.Join(e.T, "br-app1", g)
	}
	everything := segmented(firewall.EgressList)
	for i := range 2 {
		for _, s := range private[i] {
			e.AddSource(e.T, e.Client1, netip.MustParseAddr(s))
		}
	}
	for _, r := range rangesOf("0.0.0.0/0", "::/0") {
		everything.Segments.List[0].Reach = append(everything.Segments.List[0].Reach, firewall.Reach{Range: r})
	}
	for _, rs := range []*firewall.Ruleset{segmented(firewall.EgressInternet), everything} {
		rs.Forward.Bridges = []string{"br-*"}
		e.apply(rs)
		e.families(func(i int) {
			e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Open)
			for _, s := range private[i] {
				to := netip.AddrPortFrom(netip.MustParseAddr(s), 80)
				e.counts(firewall.ReasonEgress, func() { e.sees(anyone(a.blog), "tcp", to, nstest.Filtered) })
				e.sees(anyone(a.blog), "udp", to, nstest.Filtered)
				e.sees(anyone(e.Host), "tcp", to, nstest.Open)
			}
			e.counts(firewall.ReasonEgress, func() { e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(a.shop.Addrs()[i], 80), nstest.Filtered) })
			e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(e.Container.Addrs()[i], 80), nstest.Filtered)
			e.sees(anyone(e.Container), "tcp", netip.AddrPortFrom(a.shop.Addrs()[i], 80), nstest.Filtered)
			e.sees(anyone(a.shop), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Open)
			before := e.refused(firewall.ReasonEgress)
			a.blog.Send(e.T, groups[i])
			e.until("a datagram to a group is counted", func() bool { return e.refused(firewall.ReasonEgress) > before })
		})
	}
}

func segmentEgress(e *env) {
	a := e.apps()
	for _, n := range []*nstest.NS{e.Client1, e.Client2} {
		for _, p := range []uint16{80, 443} {
			n.Serve(e.T, "tcp", p)
			n.Serve(e.T, "udp", p)
		}
	}
	both := func(want nstest.Result, n *nstest.NS, ports ...uint16) {
		e.Helper()
		e.families(func(i int) {
			for _, p := range ports {
				for _, proto := range []string{"tcp", "udp"} {
					e.sees(anyone(a.blog), proto, netip.AddrPortFrom(n.Addrs()[i], p), want)
				}
			}
		})
	}
	e.apply(segmented(firewall.EgressInternet))
	both(nstest.Open, e.Client1, 80, 443)
	e.families(func(i int) {
		if !a.blog.Ping(e.T, e.Client1.Addrs()[i]) {
			e.Errorf("IPv%d: an app that reaches everything gets no answer to a ping", 4+2*i)
		}
	})
	e.apply(segmented(firewall.EgressNone))
	both(nstest.Filtered, e.Client1, 80, 443)
	list := func(port uint16, rs ...string) *firewall.Ruleset {
		out := segmented(firewall.EgressList)
		for _, r := range rangesOf(rs...) {
			out.Segments.List[0].Reach = append(out.Segments.List[0].Reach, firewall.Reach{Range: r, Port: port})
		}
		return out
	}
	e.apply(list(0, "198.51.100.0/24", "2001:db8:1::/64"))
	both(nstest.Open, e.Client1, 80, 443)
	both(nstest.Filtered, e.Client2, 80, 443)
	e.families(func(i int) {
		if a.blog.Ping(e.T, e.Client2.Addrs()[i]) {
			e.Errorf("IPv%d: an app reaches by ping what is not on its list", 4+2*i)
		}
	})
	e.apply(list(443, "198.51.100.2", "203.0.113.0-203.0.113.9", "2001:db8:1::2", "2001:db8:2::-2001:db8:2::9"))
	both(nstest.Open, e.Client1, 443)
	both(nstest.Open, e.Client2, 443)
	both(nstest.Filtered, e.Client1, 80)
	e.apply(list(443))
	both(nstest.Filtered, e.Client1, 443)
	// Of the other app nothing has changed.
	e.families(func(i int) {
		e.sees(anyone(a.shop), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Open)
	})
}

// What was found by name is reached from when Admit returns, for as long as it is said, on its port.
func segmentNames(e *env) {
	a := e.apps()
	for _, p := range []uint16{80, 443} {
		e.Client1.Serve(e.T, "tcp", p)
		e.Client2.Serve(e.T, "tcp", p)
	}
	e.apply(segmented(firewall.EgressList))
	names := func(port uint16, d time.Duration) *firewall.Ruleset {
		rs := segmented(firewall.EgressList)
		for i := range 2 {
			rs.Segments.List[0].Names = append(rs.Segments.List[0].Names,
				firewall.Admitted{Addr: e.Client1.Addrs()[i], Port: port, Until: time.Now().Add(d)})
		}
		return rs
	}
	admit := func(rs *firewall.Ruleset) {
		e.Helper()
		if err := e.d.(firewall.Admitter).Admit(e.Context(), rs); err != nil {
			e.Fatal(err)
		}
		e.agrees(rs)
	}
	see := func(want nstest.Result, n *nstest.NS, port uint16) {
		e.Helper()
		e.families(func(i int) { e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(n.Addrs()[i], port), want) })
	}
	see(nstest.Filtered, e.Client1, 443)
	admit(names(443, time.Hour))
	see(nstest.Open, e.Client1, 443)
	see(nstest.Filtered, e.Client1, 80)
	see(nstest.Filtered, e.Client2, 443)
	e.families(func(i int) { e.sees(anyone(a.shop), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 443), nstest.Open) })
	e.apply(names(443, time.Hour))
	see(nstest.Open, e.Client1, 443)
	e.apply(segmented(firewall.EgressList))
	see(nstest.Filtered, e.Client1, 443)
	soon := names(0, 3*time.Second)
	admit(soon)
	see(nstest.Open, e.Client1, 80)
	e.until("the kernel has let them end", func() bool {
		return anyone(a.blog).Dial(e.T, "tcp", netip.AddrPortFrom(e.Client1.V4, 80)) == nstest.Filtered &&
			anyone(a.blog).Dial(e.T, "tcp", netip.AddrPortFrom(e.Client1.V6, 80)) == nstest.Filtered
	})
	e.agrees(segmented(firewall.EgressList))
}

// Containers of one app reach of each other what is declared.
func segmentInside(e *env) {
	a := e.apps()
	for _, p := range []uint16{5432, 22} {
		a.addon.Serve(e.T, "tcp", p)
		a.blog.Serve(e.T, "tcp", p)
	}
	rs := segmented(firewall.EgressInternet)
	for i := range 2 {
		rs.Segments.List[0].Peers = append(rs.Segments.List[0].Peers, firewall.Peer{Addr: a.addon.Addrs()[i], Protocol: firewall.TCP, Port: 5432})
	}
	e.apply(rs)
	e.families(func(i int) { // this is why the daemon turns it on
		e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(a.addon.Addrs()[i], 22), nstest.Open)
	})
	e.filterBridges()
	e.families(func(i int) {
		e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(a.addon.Addrs()[i], 5432), nstest.Open)
		e.counts(firewall.ReasonEgress, func() {
			e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(a.addon.Addrs()[i], 22), nstest.Filtered)
		})
		e.sees(anyone(a.addon), "tcp", netip.AddrPortFrom(a.blog.Addrs()[i], 22), nstest.Filtered)
		e.sees(anyone(a.addon), "tcp", netip.AddrPortFrom(a.blog.Addrs()[i], 5432), nstest.Filtered)
		e.sees(anyone(a.shop), "tcp", netip.AddrPortFrom(a.addon.Addrs()[i], 5432), nstest.Filtered) // a peer of another
	})
	e.filterBridges()
	for _, n := range []*nstest.NS{a.blog, a.addon} {
		n.FlushNeighbours(e.T) // who they are must be found out through the filter
	}
	e.families(func(i int) {
		e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(a.addon.Addrs()[i], 5432), nstest.Open)
	})
}

// A limit of a peer counts all containers of the app together, and each app for itself.
func segmentLimits(e *env) {
	a := e.apps()
	e.filterBridges()
	second := e.AddContainer(e.T, "second", "br-app1", 3, blogNet[0], blogNet[1])
	a.addon.Serve(e.T, "tcp", 5432)
	other := e.AddContainer(e.T, "other", "br-app2", 4, shopNet[0], shopNet[1])
	other.Serve(e.T, "tcp", 5432)
	rs := segmented(firewall.EgressInternet)
	rs.Meters = []firewall.Meter{{Name: "database", Limit: ratelimit.Limit{Rate: 6, Per: time.Minute}, Sources: 1024}}
	for i := range 2 {
		for k, n := range []*nstest.NS{a.addon, other} {
			rs.Segments.List[k].Peers = append(rs.Segments.List[k].Peers, firewall.Peer{Addr: n.Addrs()[i], Protocol: firewall.TCP, Port: 5432, Meter: "database"})
		}
	}
	e.apply(rs)
	burst := func(from *nstest.NS, to netip.Addr, count, want int) {
		e.Helper()
		if got := anyone(from).Burst(e.T, netip.AddrPortFrom(to, 5432), count); got != want {
			e.Errorf("%s: %d of %d connections opened, want %d", from.Name, got, count, want)
		}
	}
	e.families(func(i int) {
		burst(a.blog, a.addon.Addrs()[i], 4, 4)
		e.counts(firewall.ReasonLimit.Of("database"), func() { burst(second, a.addon.Addrs()[i], 5, 2) })
		burst(a.shop, other.Addrs()[i], 8, 6)
	})
}

// Only the host itself and published ports lead into a segment.
func segmentIn(e *env) {
	a := e.apps()
	a.blog.Serve(e.T, "tcp", 80)
	a.orphan.Serve(e.T, "tcp", 80)
	e.Publish(e.T, "tcp", 9999, 80)
	for i, family := range []string{"ip", "ip6"} {
		e.PublishTo(e.T, family, "tcp", 8080, netip.AddrPortFrom(a.blog.Addrs()[i], 80))
	}
	web := service("web", firewall.TCP, 8080)
	for _, open := range []bool{false, true} {
		if open {
			e.filterBridges()
		}
		rs := segmented(firewall.EgressNone, web)
		rs.Forward.Open = open
		e.apply(rs)
		e.families(func(i int) {
			direct := netip.AddrPortFrom(a.blog.Addrs()[i], 80)
			e.counts(firewall.ReasonForward, func() { e.sees(anyone(e.Client1), "tcp", direct, nstest.Filtered) })
			e.sees(anyone(e.Container), "tcp", direct, nstest.Filtered)
			e.sees(anyone(e.Client1), "tcp", netip.AddrPortFrom(a.orphan.Addrs()[i], 80), nstest.Filtered)
			e.sees(anyone(e.Host), "tcp", direct, nstest.Open)
			k := anyone(e.Client1).Connect(e.T, e.host(i, 8080), 5*time.Second)
			if k.Source != e.Client1.Addrs()[i] {
				e.Errorf("the app sees source %v, want %v", k.Source, e.Client1.Addrs()[i])
			}
			e.sees(anyone(a.shop), "tcp", e.host(i, 8080), nstest.Filtered) // around the proxy, through the host
			e.sees(anyone(a.blog), "tcp", e.host(i, 8080), nstest.Filtered)
		})
	}
	e.apply(segmented(firewall.EgressNone))
	e.families(func(i int) { e.sees(anyone(e.Client1), "tcp", e.host(i, 8080), nstest.Filtered) })
	rs := segmented(firewall.EgressNone, web)
	rs.Output.Closed = true
	e.apply(rs)
	e.families(func(i int) {
		e.sees(anyone(e.Host), "tcp", netip.AddrPortFrom(a.blog.Addrs()[i], 80), nstest.Open)
	})
}

// Blocks, bans and feeds hold for apps as for everybody.
func segmentBlocks(e *env) {
	a := e.apps()
	e.Client1.Serve(e.T, "tcp", 80)
	one := []string{"198.51.100.2", "2001:db8:1::2"}
	for what, edit := range map[string]func(*firewall.Ruleset){
		"block": func(rs *firewall.Ruleset) { rs.Blocks = timed(one...) },
		"ban":   func(rs *firewall.Ruleset) { rs.Bans = timed(one[0], "2001:db8:1::/64") },
		"feed":  func(rs *firewall.Ruleset) { rs.Feeds = e.bigSet(one...) },
	} {
		rs := segmented(firewall.EgressInternet)
		edit(rs)
		e.apply(rs)
		e.families(func(i int) {
			e.Log(what)
			e.sees(anyone(a.blog), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Filtered)
		})
	}
}
