package conformance

import (
	"net"
	"net/netip"
	"time"

	"github.com/platformd/platformd/firewall"
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
			e.newFlows(from.Src, e.host(k, port), 3*burst)
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

// newFlows sends n datagrams, each from a port of its own.
func (e *env) newFlows(from netip.Addr, to netip.AddrPort, n int) {
	e.Helper()
	err := e.Client1.Do(func() error {
		for i := range n {
			c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, uint16(10_000+i))), net.UDPAddrFromAddrPort(to))
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
