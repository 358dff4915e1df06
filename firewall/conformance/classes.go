package conformance

import (
	"net"
	"net/netip"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
)

// The classes of the web and of mail, as they are without configuration: a source that sends as fast as it can gets its
// burst and then the rate, neither less nor more.
func defaultClasses(e *env) {
	for i, name := range []string{"mail", "http"} {
		port := uint16(7000 + i)
		server := e.Host.Serve(e.T, "udp", port)
		var meter firewall.Meter
		for _, c := range firewall.DefaultLimits() {
			if c.Name == name {
				meter = firewall.Meter{Name: name, Limit: c.Limit, Sources: c.Sources, AdmitWhenFull: c.AdmitWhenFull}
			}
		}
		rs := closed(metered(service("classed", firewall.UDP, port), name))
		rs.Meters = []firewall.Meter{meter}
		e.apply(rs)
		for k, s := range [][]string{{"192.0.2.7", "2001:db8:7::1"}, {"192.0.2.8", "2001:db8:8::1"}}[i] {
			from := e.source(s)
			if got := from.Dial(e.T, "udp", e.host(k, port)); got != "open" {
				e.Fatalf("%s from %s: the first is %s", name, s, got)
			}
			before := server.Accepted.Load()
			burst := meter.Limit.Tokens()
			start := time.Now()
			e.newFlows(from, e.host(k, port), 3*burst)
			took := time.Since(start)
			e.until("what was admitted has arrived", func() bool { return server.Accepted.Load()-before >= int64(burst)*9/10 })
			e.until("nothing more arrives", e.steady(func() int64 { return server.Accepted.Load() }))
			// Within took the bucket gets that much more; a few per cent are the sender's and the scheduler's.
			most := int64(float64(burst) + took.Seconds()*float64(meter.Limit.Rate)/meter.Limit.Per.Seconds()*1.05 + 5)
			least := min(int64(3*burst), int64(burst)) * 95 / 100
			if got := server.Accepted.Load() - before; got < least || got > most {
				e.Errorf("%s from %s: %d of %d within %v admitted, want %d to %d", name, s, got, 3*burst, took, least, most)
			}
			if e.refused(firewall.ReasonLimit.Of(name)) == 0 && took < time.Duration(2*burst)*meter.Limit.Per/time.Duration(meter.Limit.Rate) {
				e.Errorf("%s from %s: nothing was counted as refused", name, s)
			}
		}
	}
}

// The classes that count an app as a whole, as they are without configuration.
func segmentClasses(e *env) {
	a := e.apps()
	e.filterBridges()
	for i, name := range []string{"database", "mail-relay", "mail-receive", "auth"} {
		port, k := uint16(7100+i), i%2
		server := a.addon.Serve(e.T, "udp", port)
		rs := segmented(firewall.EgressNone)
		rs.Segments.List[0].Peers = []firewall.Peer{{Addr: a.addon.Addrs()[k], Protocol: firewall.UDP, Port: port, Meter: name}}
		for _, c := range firewall.DefaultLimits() {
			if c.Name == name && c.PerApp {
				rs.Meters = []firewall.Meter{{Name: name, Limit: c.Limit, Sources: firewall.DefaultSources}}
			}
		}
		e.apply(rs)
		to, burst := netip.AddrPortFrom(a.addon.Addrs()[k], port), rs.Meters[0].Limit.Tokens()
		start := time.Now()
		e.newFlows(a.blog.From(a.blog.Addrs()[k]), to, 3*burst)
		took := time.Since(start)
		e.until("what was admitted arrives", func() bool { return server.Accepted.Load() >= int64(burst)/2 }) // a socket's buffer is small
		limit := firewall.ReasonLimit.Of(name)
		e.until("nothing more is refused", e.steady(func() int64 { return int64(e.refused(limit)) }))
		most := int64(float64(burst) + took.Seconds()*float64(burst)*1.05 + 5)
		if got := int64(3*burst) - int64(e.refused(limit)); got < int64(burst)*95/100 || got > most {
			e.Errorf("%s: %d of %d within %v admitted, want %d to %d", name, got, 3*burst, took, burst, most)
		}
	}
}

// newFlows sends n datagrams, each from a port of its own.
func (e *env) newFlows(from nstest.From, to netip.AddrPort, n int) {
	e.Helper()
	err := from.Do(func() error {
		for i := range n {
			c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from.Src, uint16(10_000+i))), net.UDPAddrFromAddrPort(to))
			if err != nil {
				return err
			}
			_, err = c.Write([]byte("?"))
			c.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		e.Fatal(err)
	}
}

// steady reports true when a number has stayed the same for ten looks.
func (e *env) steady(number func() int64) func() bool {
	last, same := int64(-1), 0
	return func() bool {
		if n := number(); n != last {
			last, same = n, 0
		}
		same++
		return same > 10
	}
}
