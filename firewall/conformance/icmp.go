package conformance

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/ratelimit"
)

func icmpCases() []testCase {
	return []testCase{
		{"echo", echo},
		{"neighbour discovery on a closed host", neighbours},
		{"packet too big reaches an existing flow", tooBig},
	}
}

func echo(e *env) {
	for _, echo := range []firewall.Echo{firewall.EchoOpen, firewall.EchoClosed, firewall.EchoLimited} {
		rs := closed()
		rs.Echo = echo
		if echo == firewall.EchoLimited {
			rs.Meters = []firewall.Meter{{Name: "ping", Limit: ratelimit.Limit{Rate: 6, Per: time.Minute, Burst: 6}, Sources: 1024}}
		}
		e.apply(rs)
		e.families(func(i int) {
			want := map[firewall.Echo]int{firewall.EchoOpen: 10, firewall.EchoClosed: 0, firewall.EchoLimited: 6}[echo]
			if got := e.Client1.From(netip.Addr{}).Pings(e.T, e.Host1[i], 10); got != want {
				e.Errorf("echo %s, IPv%d: %d of 10 answered, want %d", echo, 4+2*i, got, want)
			}
			if !e.Host.Ping(e.T, e.Client1.Addrs()[i]) {
				e.Errorf("echo %s, IPv%d: the host's own ping is not answered", echo, 4+2*i)
			}
		})
	}
}

// The neighbour caches are emptied after the host was closed, so that both sides must ask again.
func neighbours(e *env) {
	e.Client1.Serve(e.T, "tcp", 80)
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(service("ssh", firewall.TCP, 22))
	rs.Output.Closed = true
	rs.Output.Services = []firewall.Service{service("web", firewall.TCP, 80)}
	e.apply(rs)
	e.families(func(i int) {
		e.Host.FlushNeighbours(e.T)
		e.Client1.FlushNeighbours(e.T)
		e.sees(e.Client1.From(netip.Addr{}), "tcp", e.host(i, 22), nstest.Open)
		e.Host.FlushNeighbours(e.T)
		e.Client1.FlushNeighbours(e.T)
		e.sees(e.Host.From(netip.Addr{}), "tcp", netip.AddrPortFrom(e.Client1.Addrs()[i], 80), nstest.Open)
	})
}

func tooBig(e *env) {
	e.apply(closed())
	e.families(func(i int) {
		to := netip.AddrPortFrom(e.Client1.Addrs()[i], 9)
		var c *net.UDPConn
		if err := e.Host.Do(func() error {
			k, err := net.Dial("udp", to.String())
			if err == nil {
				c = k.(*net.UDPConn)
				_, err = c.Write([]byte("x"))
			}
			return err
		}); err != nil {
			e.Fatal(err)
		}
		defer c.Close()
		mtu := func() int {
			raw, err := c.SyscallConn()
			if err != nil {
				e.Fatal(err)
			}
			return pathMTU(raw, i == 1)
		}
		if got := mtu(); got != 1500 {
			e.Errorf("path MTU before: got %d, want 1500", got)
		}
		src := netip.MustParseAddrPort(c.LocalAddr().String())
		e.Client1.TooBig(e.T, src, to, 1400)
		e.until("path MTU is 1400", func() bool { return mtu() == 1400 })
	})
}

func pathMTU(c syscall.RawConn, v6 bool) (mtu int) {
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	_ = c.Control(func(fd uintptr) { mtu, _ = unix.GetsockoptInt(int(fd), level, option) })
	return mtu
}
