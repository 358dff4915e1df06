package probe

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/ratelimit"
)

func prefixes(in ...string) (out []netip.Prefix) {
	for _, s := range in {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func everybody(netip.Addr) bool { return true }

func TestChoose(t *testing.T) {
	v4, v6 := pools()
	for _, c := range []struct {
		name    string
		pools   []netip.Prefix
		bits    int
		taken   []netip.Prefix
		welcome func(netip.Addr) bool
		within  string
	}{
		{"first pool", v4, 30, nil, everybody, "198.18.0.0/15"},
		{"first pool taken", v4, 30, prefixes("198.18.0.0/15"), everybody, "10.0.0.0/8"},
		{"first two taken", v4, 30, prefixes("198.18.0.0/15", "10.0.0.0/8"), everybody, "172.16.0.0/12"},
		{"kept out", v4, 30, nil, func(a netip.Addr) bool { return netip.MustParsePrefix("192.168.0.0/16").Contains(a) }, "192.168.0.0/16"},
		{"kept out everywhere", v4, 30, prefixes("198.18.0.0/16"), func(netip.Addr) bool { return false }, "198.19.0.0/16"},
		{"IPv6", v6, 126, prefixes("fd00::/16"), everybody, "fd00::/8"},
	} {
		e, err := choose(c.pools, c.bits, c.taken, c.welcome, rand.Reader)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		net := netip.PrefixFrom(e.Host, e.Bits).Masked()
		if !netip.MustParsePrefix(c.within).Contains(e.Host) || !net.Contains(e.Probe) || e.Host == e.Probe || e.Host == net.Addr() || e.Bits != c.bits {
			t.Errorf("%s: got %+v, want two addresses within %s", c.name, e, c.within)
		}
		for _, p := range c.taken {
			if p.Overlaps(net) {
				t.Errorf("%s: %v overlaps %v", c.name, net, p)
			}
		}
	}
	if _, err := choose(v4, 30, prefixes("0.0.0.0/0"), everybody, rand.Reader); err == nil {
		t.Error("everything taken: got no error")
	}
	if _, err := choose(v4, 30, nil, everybody, &bytes.Buffer{}); err == nil {
		t.Error("no randomness: got no error")
	}
}

func TestReachable(t *testing.T) {
	w := Wire{V4: Ends{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2"), 30}}
	var own []netip.Addr
	for _, s := range []string{"127.0.0.1", "::1", "203.0.113.9", "::ffff:203.0.113.9", "fe80::1%eth0", "2001:db8::1", "198.18.0.1", "10.0.0.1"} {
		own = append(own, netip.MustParseAddr(s))
	}
	got, skipped := reachable(own, w)
	if len(got) != 2 || got[0].String() != "10.0.0.1" || got[1].String() != "203.0.113.9" || skipped != 0 {
		t.Errorf("got %v, %d skipped, want the two global IPv4 addresses", got, skipped)
	}
	own = nil
	for i := range 40 {
		own = append(own, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	if got, skipped := reachable(own, w); len(got) != maxAddresses || skipped != 40-maxAddresses {
		t.Errorf("got %d addresses, %d skipped", len(got), skipped)
	}
}

func TestTargets(t *testing.T) {
	rs := &firewall.Ruleset{Services: []firewall.Service{{Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 1, Last: 65535}}}, {Protocol: firewall.UDP, Ports: []firewall.PortRange{{First: 4000, Last: 4000}}}}}
	a := []netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::1")}
	seen := map[target]int{}
	list := targets(rs, []uint16{12345}, []uint16{5555}, a)
	for _, x := range list {
		seen[x]++
	}
	for _, want := range []struct {
		proto firewall.Protocol
		port  uint16
	}{{firewall.TCP, 1}, {firewall.TCP, 65535}, {firewall.TCP, 12345}, {firewall.TCP, 1024}, {firewall.TCP, 3306}, {firewall.UDP, 3999}, {firewall.UDP, 4000}, {firewall.UDP, 4001}, {firewall.UDP, 5555}} {
		for _, addr := range a {
			if got := seen[target{want.proto, netip.AddrPortFrom(addr, want.port)}]; got != 1 {
				t.Errorf("%s %d of %v: knocked at %d times, want once", want.proto, want.port, addr, got)
			}
		}
	}
	if len(list) != len(seen) || len(list) > 2*1300 {
		t.Errorf("got %d targets, %d different ones", len(list), len(seen))
	}
}

func TestDisagrees(t *testing.T) {
	for _, c := range []struct {
		proto    firewall.Protocol
		admitted bool
		got      Result
		want     bool
	}{
		{firewall.TCP, true, Open, false}, {firewall.TCP, true, Refused, false}, {firewall.TCP, true, Silent, true}, {firewall.TCP, true, Rejected, true},
		{firewall.TCP, false, Open, true}, {firewall.TCP, false, Refused, true}, {firewall.TCP, false, Silent, false}, {firewall.TCP, false, Rejected, false},
		{firewall.UDP, true, Open, false}, {firewall.UDP, true, Refused, false}, {firewall.UDP, true, Silent, false}, {firewall.UDP, true, Rejected, false},
		{firewall.UDP, false, Open, true}, {firewall.UDP, false, Refused, true}, {firewall.UDP, false, Silent, false}, {firewall.UDP, false, Rejected, false},
	} {
		if got := (expectation{proto: c.proto, admitted: c.admitted}).disagrees(c.got); got != c.want {
			t.Errorf("%s admitted=%v %s: got %v, want %v", c.proto, c.admitted, c.got, got, c.want)
		}
	}
}

// TestQueue: metered jobs wait, the others do not wait for them, and nothing is lost.
func TestQueue(t *testing.T) {
	rs := &firewall.Ruleset{Meters: []firewall.Meter{{Name: "ssh", Limit: ratelimit.Limit{Rate: 2, Per: 2 * time.Second}}, {Name: "one", Limit: ratelimit.Limit{Concurrent: 1}}}}
	to := func(a string, port uint16, meters ...string) job {
		return job{target{firewall.TCP, netip.AddrPortFrom(netip.MustParseAddr(a), port)}, expectation{meters: meters}}
	}
	p := newPace(rs)
	q := newQueue(p, []job{to("192.0.2.1", 1, "ssh"), to("192.0.2.1", 2, "ssh"), to("192.0.2.1", 3, "ssh"), to("192.0.2.1", 4, "ssh"),
		to("2001:db8::1", 5, "ssh"), to("192.0.2.1", 6), to("192.0.2.1", 7, "one"), to("192.0.2.1", 8, "one"), to("192.0.2.1", 9)})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	take := func() (ports []uint16, wait time.Duration) {
		for {
			j, ok, w := q.next(now)
			if !ok {
				return ports, w
			}
			ports = append(ports, j.target.to.Port())
			defer p.done(j)
		}
	}
	sum := func(in []uint16) (n int) {
		for _, x := range in {
			n += int(x)
		}
		return n
	}
	first, wait := take()
	if got, want := sum(first), 1+2+5+6+7+9; got != want || wait <= 0 || q.len() != 3 {
		t.Fatalf("at once: got %v, wait %v, %d left; want 1 2 5 6 7 9 in any order", first, wait, q.len())
	}
	if again, _ := take(); len(again) != 1 || again[0] != 8 {
		t.Fatalf("when those under way were done: got %v, want 8", again)
	}
	for want := uint16(3); want <= 4; want++ {
		now = now.Add(1100 * time.Millisecond)
		if got, _ := take(); len(got) != 1 || got[0] != want {
			t.Fatalf("a second later: got %v, want %d", got, want)
		}
	}
	if _, ok, wait := q.next(now); ok || wait != 0 || q.len() != 0 {
		t.Errorf("at the end: got %v, wait %v, %d left", ok, wait, q.len())
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Result
	}{{unix.ECONNREFUSED, Refused}, {unix.EHOSTUNREACH, Rejected}, {unix.EACCES, Rejected}, {unix.ETIMEDOUT, Silent}, {unix.EMFILE, ""}} {
		got, err := classify(c.err)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, c.err) {
			t.Errorf("%v: got %q, %v, want %q", c.err, got, err, c.want)
		}
	}
}
