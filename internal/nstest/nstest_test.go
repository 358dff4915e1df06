package nstest_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/nstest"
)

func TestTopology(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		tp := nstest.NewTopology(t)
		s := tp.Host.Serve(t, "tcp", 7)
		tp.Host.Serve(t, "udp", 7)
		tp.Container.Serve(t, "tcp", 80)
		tp.Publish(t, "tcp", 8080, 80)
		for i, a := range tp.Host1 {
			echo := netip.AddrPortFrom(a, 7)
			for _, proto := range []string{"tcp", "udp"} {
				if got := tp.Client1.Dial(t, proto, echo); got != nstest.Open {
					t.Errorf("%s %v: got %s, want open", proto, echo, got)
				}
				if got := tp.Client1.Dial(t, proto, netip.AddrPortFrom(a, 9)); got != nstest.Refused {
					t.Errorf("%s port 9 of %v: got %s, want refused", proto, a, got)
				}
			}
			if !tp.Client1.Ping(t, a) || !tp.Client1.Ping(t, tp.Client2.Addrs()[i]) || !tp.Container.Ping(t, tp.Client2.Addrs()[i]) {
				t.Errorf("ping %v, or through it: no answer", a)
			}
			c := tp.Client1.From(netip.Addr{}).Connect(t, netip.AddrPortFrom(a, 8080), time.Second)
			if c.Source != tp.Client1.Addrs()[i] {
				t.Errorf("published port: container sees %v, want %v", c.Source, tp.Client1.Addrs()[i])
			}
		}
		if got := s.Accepted.Load(); got != 2 {
			t.Errorf("accepted: got %d, want 2", got)
		}
	})
}

func TestSourcesAndFilter(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		tp := nstest.NewTopology(t)
		tp.Host.Serve(t, "tcp", 7)
		tp.Nft(t, `table inet x { chain in { type filter hook input priority 0; ip saddr 192.0.2.7 drop; meta l4proto { tcp, udp } ip6 saddr 2001:db8:ffff::7 drop; }; }`)
		for i, s := range []string{"192.0.2.7", "2001:db8:ffff::7", "192.0.2.8", "2001:db8:ffff::8"} {
			src := netip.MustParseAddr(s)
			tp.AddSource(t, tp.Client1, src)
			host := tp.Host1[0]
			if src.Is6() {
				host = tp.Host1[1]
			}
			want := nstest.Filtered
			if i > 1 {
				want = nstest.Open
			}
			from := tp.Client1.From(src)
			if got := from.Dial(t, "tcp", netip.AddrPortFrom(host, 7)); got != want {
				t.Errorf("from %v: got %s, want %s", src, got, want)
			}
			n := from.Burst(t, netip.AddrPortFrom(host, 7), 8)
			b, syn := from.BlastUDP(t, tp.Host, netip.AddrPortFrom(host, 9000)), from.BlastSYN(t, netip.AddrPortFrom(host, 7))
			tick := time.NewTicker(time.Millisecond)
			for end := time.Now().Add(time.Minute); b.Sent.Load() < 5000 || syn.Sent.Load() < 100; <-tick.C {
				if time.Now().After(end) {
					t.Fatalf("from %v: sent %d datagrams and %d SYNs in a minute, want 5000 and 100", src, b.Sent.Load(), syn.Sent.Load())
				}
			}
			tick.Stop()
			b.Stop()
			syn.Stop()
			if want == nstest.Open && (n != 8 || b.Received.Load() == 0 || syn.Received.Load() == 0) {
				t.Errorf("from %v: burst %d, udp %v, syn %v; want all", src, n, b, syn)
			}
			if want == nstest.Filtered && (n != 0 || b.Received.Load() != 0 || syn.Received.Load() != 0) {
				t.Errorf("from %v: burst %d, udp %v, syn %v; want none", src, n, b, syn)
			}
		}
	})
}

// TestIsolation is the promise on which every kernel test relies.
func TestIsolation(t *testing.T) {
	if os.Getenv("NSTEST_CHILD") == "" {
		if err := nstest.Check(); err == nil {
			t.Error("Check in the namespace of go test: got nil, want an error")
		}
		t.Run("forged", func(t *testing.T) {
			f, err := os.Open("/proc/self/ns/net")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, v := range []string{"0 x", "x", "99 x"} {
				t.Setenv("NSTEST_CHILD", v)
				if err := nstest.Check(); err == nil {
					t.Errorf("NSTEST_CHILD=%q: got nil, want an error", v)
				}
			}
			t.Setenv("NSTEST_CHILD", fmt.Sprintf("%d x", f.Fd()))
			if err := nstest.Check(); err == nil || !strings.Contains(err.Error(), "parent's") {
				t.Errorf("own namespace as the parent's: got %v, want an error that says so", err)
			}
		})
	}
	nstest.Run(t, func(t *testing.T) {
		if err := nstest.Check(); err != nil {
			t.Errorf("Check inside: got %v, want nil", err)
		}
		if os.Getpid() != 1 {
			t.Errorf("pid: got %d, want 1", os.Getpid())
		}
	})
}
