package conformance

import (
	"net/netip"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
)

func portCases() []testCase {
	return []testCase{
		{"closed by default", closedByDefault},
		{"open ports and ranges", openPorts},
		{"restricted by source and interface", restrictedPorts},
		{"established flows survive", establishedSurvive},
		{"loopback", loopback},
		{"output closed", outputClosed},
		{"invalid", invalid},
	}
}

// A host that serves a port and admits nothing: dropped, not refused, and counted; going out works.
func closedByDefault(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Host.Serve(e.T, "udp", 53)
	e.Client1.Serve(e.T, "tcp", 80)
	e.apply(closed())
	e.families(func(i int) {
		e.counts(firewall.ReasonClosed, func() {
			e.sees(e.Client1.From(netip.Addr{}), "tcp", e.host(i, 22), nstest.Filtered)
		})
		e.counts(firewall.ReasonClosed, func() {
			e.sees(e.Client1.From(netip.Addr{}), "udp", e.host(i, 53), nstest.Filtered)
		})
		e.sees(e.Client1.From(netip.Addr{}), "tcp", e.host(i, 23), nstest.Filtered)
		e.sees(e.Client1.From(netip.Addr{}), "udp", e.host(i, 54), nstest.Filtered)
		e.sees(e.Host.From(netip.Addr{}), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Open)
		e.sees(e.Host.From(netip.Addr{}), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 81), nstest.Refused)
	})
}

func openPorts(e *env) {
	for _, p := range []uint16{22, 8000, 8005, 8010, 8011, 7999, 443} {
		e.Host.Serve(e.T, "tcp", p)
	}
	for _, p := range []uint16{53, 22, 60000, 60010} {
		e.Host.Serve(e.T, "udp", p)
	}
	web := service("web", firewall.TCP, 22)
	web.Ports = append(web.Ports, firewall.PortRange{First: 8000, Last: 8010})
	dns := service("dns", firewall.UDP, 53)
	dns.Ports = append(dns.Ports, firewall.PortRange{First: 60000, Last: 60009})
	e.apply(closed(dns, web))
	e.families(func(i int) {
		for _, c := range []struct {
			proto string
			port  uint16
			want  nstest.Result
		}{
			{"tcp", 22, nstest.Open}, {"tcp", 8000, nstest.Open}, {"tcp", 8005, nstest.Open}, {"tcp", 8010, nstest.Open},
			{"tcp", 8001, nstest.Refused}, // admitted, but nobody listens
			{"tcp", 7999, nstest.Filtered}, {"tcp", 8011, nstest.Filtered}, {"tcp", 443, nstest.Filtered},
			{"udp", 53, nstest.Open}, {"udp", 60000, nstest.Open}, {"udp", 60005, nstest.Refused},
			{"udp", 60010, nstest.Filtered}, {"udp", 22, nstest.Filtered}, {"tcp", 53, nstest.Filtered},
		} {
			e.sees(e.Client1.From(netip.Addr{}), c.proto, e.host(i, c.port), c.want)
		}
	})
	e.apply(closed(dns))
	e.families(func(i int) {
		e.sees(e.Client1.From(netip.Addr{}), "tcp", e.host(i, 22), nstest.Filtered)
		e.sees(e.Client1.From(netip.Addr{}), "udp", e.host(i, 53), nstest.Open)
	})
}

func restrictedPorts(e *env) {
	for _, p := range []uint16{22, 80, 81, 82} {
		e.Host.Serve(e.T, "tcp", p)
	}
	sources := service("by-source", firewall.TCP, 22)
	sources.Sources = rangesOf("192.0.2.5-192.0.2.9", "192.0.2.128/25", "2001:db8:5::/64", "2001:db8:6::7")
	iface := service("by-interface", firewall.TCP, 80)
	iface.Interfaces = []string{nstest.Dev2}
	both := service("by-both", firewall.TCP, 81)
	both.Interfaces, both.Sources = []string{nstest.Dev1, nstest.Dev2}, rangesOf("192.0.2.5", "2001:db8:5::5")
	only4 := service("only-ipv4-sources", firewall.TCP, 82)
	only4.Sources = rangesOf("192.0.2.0/24")
	e.apply(closed(both, iface, sources, only4))
	for _, c := range []struct {
		source string
		port   uint16
		want   nstest.Result
	}{
		{"192.0.2.4", 22, nstest.Filtered}, {"192.0.2.5", 22, nstest.Open}, {"192.0.2.9", 22, nstest.Open},
		{"192.0.2.10", 22, nstest.Filtered}, {"192.0.2.128", 22, nstest.Open}, {"192.0.2.255", 22, nstest.Open},
		{"2001:db8:5::5", 22, nstest.Open}, {"2001:db8:5:1::5", 22, nstest.Filtered},
		{"2001:db8:6::7", 22, nstest.Open}, {"2001:db8:6::8", 22, nstest.Filtered},
		{"192.0.2.5", 80, nstest.Filtered}, {"192.0.2.5", 81, nstest.Open}, {"192.0.2.6", 81, nstest.Filtered},
		{"2001:db8:5::5", 81, nstest.Open}, {"2001:db8:5::6", 81, nstest.Filtered},
		{"192.0.2.4", 82, nstest.Open}, {"2001:db8:5::5", 82, nstest.Filtered},
	} {
		from := e.again(c.source)
		e.sees(from, "tcp", e.host(family(from.Src), c.port), c.want)
	}
	e.families(func(i int) {
		e.sees(e.Client2.From(netip.Addr{}), "tcp", netip.AddrPortFrom(e.Host2[i], 80), nstest.Open)
		e.sees(e.Client1.From(netip.Addr{}), "tcp", e.host(i, 80), nstest.Filtered)
	})
}

// A flow that was admitted goes on when its port is closed, in both directions; a new one does not begin.
func establishedSurvive(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Client1.Serve(e.T, "tcp", 80)
	e.apply(closed(service("ssh", firewall.TCP, 22)))
	e.families(func(i int) {
		in := e.Client1.From(netip.Addr{}).Connect(e.T, e.host(i, 22), 5*time.Second)
		out := e.Host.From(netip.Addr{}).Connect(e.T, netip.AddrPortFrom(e.Client1.Addrs()[i], 80), 5*time.Second)
		rs := closed()
		rs.Output.Closed = true
		e.apply(rs)
		e.sees(e.Client1.From(netip.Addr{}), "tcp", e.host(i, 22), nstest.Filtered)
		for what, c := range map[string]*nstest.Conn{"in": in, "out": out} {
			if err := c.Echo("still here"); err != nil {
				e.Errorf("established flow %s: %v", what, err)
			}
		}
		e.apply(closed(service("ssh", firewall.TCP, 22)))
	})
}

func loopback(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed()
	rs.Output.Closed = true
	rs.Blocks = timed("127.0.0.0/8", "::1", "198.51.100.1", "2001:db8:1::1")
	e.apply(rs)
	for _, a := range []string{"127.0.0.1", "::1", "198.51.100.1", "2001:db8:1::1"} {
		e.sees(e.Host.From(netip.Addr{}), "tcp", netip.AddrPortFrom(netip.MustParseAddr(a), 22), nstest.Open)
	}
}

func outputClosed(e *env) {
	for _, p := range []uint16{25, 53, 80, 443} {
		e.Client1.Serve(e.T, "tcp", p)
		e.Client1.Serve(e.T, "udp", p)
		e.Client2.Serve(e.T, "tcp", p)
	}
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(service("ssh", firewall.TCP, 22))
	to := service("only-client1", firewall.TCP, 443)
	to.Sources = rangesOf("198.51.100.2", "2001:db8:1::/64")
	rs.Output = firewall.OutputRuleset{Closed: true, Services: []firewall.Service{to, service("web", firewall.TCP, 80)}}
	e.apply(rs)
	e.families(func(i int) {
		one, two := e.Client1.Addrs()[i], e.Client2.Addrs()[i]
		for _, c := range []struct {
			proto string
			to    netip.AddrPort
			want  nstest.Result
		}{
			{"tcp", netip.AddrPortFrom(one, 80), nstest.Open}, {"tcp", netip.AddrPortFrom(two, 80), nstest.Open},
			{"tcp", netip.AddrPortFrom(one, 443), nstest.Open},
			{"udp", netip.AddrPortFrom(one, 53), nstest.Open}, {"tcp", netip.AddrPortFrom(one, 53), nstest.Open},
		} {
			e.sees(e.Host.From(netip.Addr{}), c.proto, c.to, c.want)
		}
		for _, c := range []struct {
			proto string
			to    netip.AddrPort
		}{{"tcp", netip.AddrPortFrom(two, 443)}, {"tcp", netip.AddrPortFrom(one, 25)}, {"udp", netip.AddrPortFrom(one, 80)}} {
			e.counts(firewall.ReasonOutput, func() { e.blockedOut(c.proto, c.to) })
		}
		e.sees(e.Client1.From(netip.Addr{}), "tcp", e.host(i, 22), nstest.Open) // answers to admitted flows go out
		if !e.Host.Ping(e.T, one) {
			e.Errorf("ping %v: no answer, want one: ICMP goes out", one)
		}
	})
}

// invalid: what connection tracking cannot place is dropped even on an open port, and counted.
func invalid(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Host.Sysctl(e.T, "net/netfilter/nf_conntrack_tcp_loose", "0")
	e.apply(closed(service("ssh", firewall.TCP, 22)))
	e.families(func(i int) {
		e.sees(e.Client1.From(netip.Addr{}), "tcp", e.host(i, 22), nstest.Open)
		e.counts(firewall.ReasonInvalid, func() {
			before := e.refused(firewall.ReasonInvalid)
			e.Client1.SendACK(e.T, netip.AddrPortFrom(e.Client1.Addrs()[i], 4321), e.host(i, 22))
			e.until("a stray ACK is counted as invalid", func() bool { return e.refused(firewall.ReasonInvalid) > before })
		})
	})
}

// blockedOut checks that the host cannot reach to. A dropped outgoing packet shows as a time-out or as EPERM.
func (e *env) blockedOut(proto string, to netip.AddrPort) {
	e.Helper()
	e.sees(e.Host.From(netip.Addr{}), proto, to, nstest.Filtered)
}

// again is source for addresses that a case uses more than once.
func (e *env) again(s string) nstest.From {
	e.Helper()
	a := netip.MustParseAddr(s)
	if !e.Client1.Has(e.T, a) {
		return e.source(s)
	}
	return e.Client1.From(a)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
