package conformance

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/ratelimit"
)

func blockCases() []testCase {
	return []testCase{
		{"blocks", blocks},
		{"what was counted is kept", countsGoOn},
		{"blocks end in the kernel", blocksEnd},
		{"a time can be changed", timesChange},
		{"the whole family blocked", blockAll},
		{"bans", bans},
		{"allow wins over everything but opens nothing", allowWins},
	}
}

// checks probes TCP port 22 of the host from each address of client1, and the other way round TCP port 80.
func (e *env) checks(want map[string]nstest.Result, both bool) {
	e.Helper()
	for s, w := range want {
		from := e.again(s)
		e.sees(from, "tcp", e.host(family(from.Src), 22), w)
		if both {
			e.sees(e.Host.From(netip.Addr{}), "tcp", netip.AddrPortFrom(from.Src, 80), w)
		}
	}
}

// What was counted does not begin anew with each change of rules.
func countsGoOn(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(service("ssh", firewall.TCP, 22))
	rs.Bans = timed("192.0.2.7", "2001:db8:7::/64")
	e.apply(rs)
	for _, source := range []string{"192.0.2.7", "2001:db8:7::7"} {
		e.counts(firewall.ReasonBan, func() { e.checks(map[string]nstest.Result{source: nstest.Filtered}, false) })
		for port := range uint16(3) {
			before := e.refused(firewall.ReasonBan)
			rs.Services = append(rs.Services, service(fmt.Sprintf("more%d", len(rs.Services)), firewall.TCP, 9000+port))
			e.apply(rs)
			if got := e.refused(firewall.ReasonBan); got < before || before == 0 {
				e.Errorf("after a change of rules: got %d, want at least the %d from before", got, before)
			}
		}
	}
}

func blocks(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Client1.Serve(e.T, "tcp", 80)
	rs := closed(service("ssh", firewall.TCP, 22))
	rs.Blocks = timed("192.0.2.7", "192.0.2.64/26", "192.0.2.200-192.0.2.209", "2001:db8:7::7", "2001:db8:8::/64", "2001:db8:9::5-2001:db8:9::e")
	e.apply(rs)
	e.counts(firewall.ReasonBlock, func() { e.checks(map[string]nstest.Result{"192.0.2.7": nstest.Filtered}, false) })
	e.counts(firewall.ReasonBlock, func() {
		e.sees(e.Host.From(netip.Addr{}), "tcp", netip.MustParseAddrPort("192.0.2.7:80"), nstest.Filtered)
	})
	e.checks(map[string]nstest.Result{
		"192.0.2.7": nstest.Filtered, "192.0.2.6": nstest.Open, "192.0.2.8": nstest.Open,
		"192.0.2.63": nstest.Open, "192.0.2.64": nstest.Filtered, "192.0.2.127": nstest.Filtered, "192.0.2.128": nstest.Open,
		"192.0.2.199": nstest.Open, "192.0.2.200": nstest.Filtered, "192.0.2.209": nstest.Filtered, "192.0.2.210": nstest.Open,
		"2001:db8:7::7": nstest.Filtered, "2001:db8:7::8": nstest.Open, "2001:db8:8::1": nstest.Filtered,
		"2001:db8:9::4": nstest.Open, "2001:db8:9::5": nstest.Filtered, "2001:db8:9::e": nstest.Filtered, "2001:db8:9::f": nstest.Open,
	}, true)

	rs.Blocks = timed("192.0.2.0/24", "2001:db8:7::/64") // over what was there
	e.apply(rs)
	e.checks(map[string]nstest.Result{
		"192.0.2.7": nstest.Filtered, "192.0.2.6": nstest.Filtered, "192.0.2.210": nstest.Filtered,
		"2001:db8:7::7": nstest.Filtered, "2001:db8:7::8": nstest.Filtered, "2001:db8:8::1": nstest.Open,
	}, true)

	rs.Blocks = timed("192.0.2.0-192.0.2.6", "192.0.2.8-192.0.2.255", "2001:db8:7::-2001:db8:7::6", "2001:db8:7::8-2001:db8:7:0:ffff:ffff:ffff:ffff") // a piece taken out
	e.apply(rs)
	e.checks(map[string]nstest.Result{
		"192.0.2.7": nstest.Open, "192.0.2.6": nstest.Filtered, "192.0.2.8": nstest.Filtered,
		"2001:db8:7::7": nstest.Open, "2001:db8:7::6": nstest.Filtered, "2001:db8:7::8": nstest.Filtered,
	}, true)

	rs.Blocks = nil
	e.apply(rs)
	e.checks(map[string]nstest.Result{"192.0.2.6": nstest.Open, "2001:db8:7::8": nstest.Open}, true)
}

// The driver is not asked between Apply and the end of the block.
func blocksEnd(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(service("ssh", firewall.TCP, 22))
	e.apply(rs)
	e.checks(map[string]nstest.Result{"192.0.2.7": nstest.Open, "2001:db8:7::7": nstest.Open, "192.0.2.9": nstest.Open, "2001:db8:9::9": nstest.Open}, false)
	until := time.Now().Add(2 * time.Second)
	rs.Blocks, rs.Bans = timed("192.0.2.7", "2001:db8:7::7"), timed("192.0.2.9", "2001:db8:9::/64")
	for i := range 2 {
		rs.Blocks[i].Until, rs.Bans[i].Until = until, until
	}
	if _, err := e.d.Apply(e.Context(), rs); err != nil {
		e.Fatal(err)
	}
	for _, s := range []string{"192.0.2.7", "2001:db8:7::7", "192.0.2.9", "2001:db8:9::9"} {
		from := e.again(s)
		if got := from.Dial(e.T, "tcp", e.host(family(from.Src), 22)); got != nstest.Filtered && time.Now().Before(until) {
			e.Errorf("%s before the end: got %s, want filtered", s, got)
		}
		e.sees(from, "tcp", e.host(family(from.Src), 22), nstest.Open)
		if time.Now().Before(until) {
			e.Errorf("%s: open %v before the end", s, time.Until(until))
		}
	}
}

// A block that is made longer lasts longer, one that is made shorter ends sooner, and both can become or stop being for ever. Two
// addresses that end early are the clock.
func timesChange(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(service("ssh", firewall.TCP, 22))
	hour, soon := time.Now().Add(time.Hour), time.Now().Add(3*time.Second)
	at := func(a, b, c time.Time) {
		rs.Blocks = timed("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8:7::1", "2001:db8:7::2", "2001:db8:7::3")
		for i, u := range []time.Time{a, b, c, a, b, c} {
			rs.Blocks[i].Until = u
		}
		if _, err := e.d.Apply(e.Context(), rs); err != nil {
			e.Fatal(err)
		}
	}
	at(soon, hour, time.Time{})
	at(hour, soon, soon)
	e.checks(map[string]nstest.Result{"192.0.2.2": nstest.Open, "192.0.2.3": nstest.Open, "2001:db8:7::2": nstest.Open, "2001:db8:7::3": nstest.Open}, false)
	e.checks(map[string]nstest.Result{"192.0.2.1": nstest.Filtered, "2001:db8:7::1": nstest.Filtered}, false)
	at(time.Time{}, hour, hour)
	e.agrees(rs)
	e.checks(map[string]nstest.Result{"192.0.2.1": nstest.Filtered, "2001:db8:7::1": nstest.Filtered, "192.0.2.2": nstest.Filtered, "2001:db8:7::3": nstest.Filtered}, false)
}

func blockAll(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(service("ssh", firewall.TCP, 22))
	rs.Blocks = timed("0.0.0.0/0", "::/0")
	rs.Allow = rangesOf("192.0.2.7", "2001:db8:7::7")
	e.apply(rs)
	e.checks(map[string]nstest.Result{
		"192.0.2.7": nstest.Open, "2001:db8:7::7": nstest.Open, "192.0.2.8": nstest.Filtered, "2001:db8:7::8": nstest.Filtered,
	}, false)
}

// A ban ends flows that are open, and holds for all of an IPv6 /64.
func bans(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(service("ssh", firewall.TCP, 22))
	e.apply(rs)
	for _, c := range []struct{ banned, ban, sibling, other string }{
		{"192.0.2.7", "192.0.2.7", "", "192.0.2.8"},
		{"2001:db8:7::7", "2001:db8:7::/64", "2001:db8:7:0:ffff::1", "2001:db8:7:1::7"},
	} {
		from, other := e.source(c.banned), e.source(c.other)
		to := e.host(family(from.Src), 22)
		conn, spared := from.Connect(e.T, to, time.Minute), other.Connect(e.T, to, time.Minute)
		if err := conn.Echo("before"); err != nil {
			e.Fatalf("%s before the ban: %v", c.banned, err)
		}
		rs.Bans = timed(c.ban)
		e.apply(rs)
		e.counts(firewall.ReasonBan, func() {
			_ = conn.SetDeadline(time.Now().Add(nstest.Patience))
			if err := conn.Echo("after"); err == nil {
				e.Errorf("%s: an open connection outlives the ban", c.banned)
			}
		})
		e.counts(firewall.ReasonBan, func() { e.sees(from, "tcp", to, nstest.Filtered) })
		if c.sibling != "" {
			e.sees(e.source(c.sibling), "tcp", to, nstest.Filtered)
		}
		if err := spared.Echo("after"); err != nil {
			e.Errorf("%s, which is not banned: %v", c.other, err)
		}
		e.counts(firewall.ReasonBan, func() {
			e.sees(e.Host.From(netip.Addr{}), "tcp", netip.AddrPortFrom(from.Src, 80), nstest.Filtered)
		})
		rs.Bans = nil
		e.apply(rs)
		e.sees(from, "tcp", to, nstest.Open)
	}
}

func allowWins(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Host.Serve(e.T, "tcp", 23)
	e.Client1.Serve(e.T, "tcp", 80)
	p := &firewall.Policy{
		Ports: []firewall.Port{{Name: "ssh", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 22, Last: 22}}, Limit: "tiny"}},
		Allow: []firewall.Allow{{Target: rangesOf("192.0.2.7")[0]}, {Target: rangesOf("2001:db8:7::7")[0]}},
		Blocks: []firewall.Block{
			{Target: rangesOf("192.0.2.0/24")[0]}, {Target: rangesOf("2001:db8:7::/64")[0]},
		},
		Geo:    []firewall.GeoRule{{Action: firewall.GeoBlock, Countries: []string{"XX"}}, {Action: firewall.GeoAllow, Countries: []string{"YY"}}},
		Limits: map[string]ratelimit.Limit{"tiny": {Rate: 1, Per: time.Hour}},
		SYN:    ratelimit.Limit{Rate: 1, Per: time.Hour},
	}
	everybody := e.bigSet("192.0.2.0/24", "2001:db8:7::/64")
	rs, err := firewall.Compile(p, firewall.Source{
		Now: time.Now(), Bans: timed("192.0.2.7", "2001:db8:7::/64"), Feeds: everybody,
		Geo: []firewall.BigSet{everybody, e.bigSet("203.0.113.0/24", "2001:db8:2::/64")},
	})
	if err != nil {
		e.Fatal(err)
	}
	e.apply(rs)
	for _, s := range []string{"192.0.2.7", "2001:db8:7::7"} {
		from := e.source(s)
		to := e.host(family(from.Src), 22)
		if got := from.Burst(e.T, to, 8); got != 8 {
			e.Errorf("allowed %s: %d of 8 connections, want all", s, got)
		}
		e.sees(from, "tcp", e.host(family(from.Src), 23), nstest.Filtered)
		e.sees(e.Host.From(netip.Addr{}), "tcp", netip.AddrPortFrom(from.Src, 80), nstest.Open)
	}
	e.checks(map[string]nstest.Result{"192.0.2.8": nstest.Filtered, "2001:db8:7::8": nstest.Filtered}, false)
}
