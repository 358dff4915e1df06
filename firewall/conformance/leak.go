package conformance

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/nstest"
)

func leakCases() []testCase {
	return []testCase{
		{"nothing leaks while policies change", leakPolicies},
		{"nothing leaks while a large set changes", leakSets},
		{"nothing leaks from segments while they change", leakSegments},
	}
}

// The blasted port, and the source that no ruleset of these cases lets reach it.
const blastPort = 9000

func (e *env) blast() (both [2]*nstest.Blast) {
	e.Helper()
	for i, s := range []string{"192.0.2.7", "2001:db8:7::7"} {
		both[i] = e.source(s).BlastUDP(e.T, e.Host, e.host(i, blastPort))
	}
	return both
}

func (e *env) leaked(blasts [2]*nstest.Blast, replacements int) {
	e.Helper()
	for i, b := range blasts {
		b.Stop()
		e.Logf("IPv%d: %d replacements, %v", 4+2*i, replacements, b)
		if b.Received.Load() != 0 {
			e.Errorf("IPv%d: %v during %d replacements, want none received", 4+2*i, b, replacements)
		}
		if b.Sent.Load() < 1000 {
			e.Errorf("IPv%d: only %d packets sent: this shows nothing", 4+2*i, b.Sent.Load())
		}
	}
}

// Each ruleset refuses the source at the port for another reason; what one of them closes, the next one opens.
func leakPolicies(e *env) {
	n, limit := 1000, 90*time.Second
	if testing.Short() { // an emulated machine, on which each takes a second
		n, limit = 100, 10*time.Minute
	}
	var rulesets []*firewall.Ruleset
	add := func(edit func(rs *firewall.Ruleset)) {
		rs := closed(service("blasted", firewall.UDP, blastPort))
		edit(rs)
		rulesets = append(rulesets, rs)
	}
	block := timed("192.0.2.7", "2001:db8:7::7")
	add(func(rs *firewall.Ruleset) { rs.Blocks = block })
	add(func(rs *firewall.Ruleset) { rs.Services = nil })
	add(func(rs *firewall.Ruleset) { rs.Blocks = timed("192.0.2.0/24", "2001:db8:7::/64") })
	add(func(rs *firewall.Ruleset) { rs.Feeds = e.bigSet("192.0.2.0/24", "2001:db8:7::/64") })
	add(func(rs *firewall.Ruleset) { rs.Services = nil; rs.Allow = rangesOf("192.0.2.7", "2001:db8:7::7") })
	add(func(rs *firewall.Ruleset) { rs.Bans = timed("192.0.2.7", "2001:db8:7::/64") })
	add(func(rs *firewall.Ruleset) { rs.Services[0].Sources = rangesOf("198.51.100.0/24", "2001:db8:1::/64") })
	add(func(rs *firewall.Ruleset) {
		rs.Geo = []firewall.GeoScope{{Name: "geo0", Refuse: "in", Set: e.bigSet("192.0.2.0/24", "2001:db8:7::/64")}}
	})
	add(func(rs *firewall.Ruleset) {
		rs.Geo = []firewall.GeoScope{{Name: "geo0", Refuse: "notin", Set: e.bigSet("198.51.100.0/24", "2001:db8:1::/64")}}
	})
	add(func(rs *firewall.Ruleset) {
		rs.Services = append(rs.Services, service("more", firewall.TCP, 22))
		rs.Blocks = timed("192.0.2.4-192.0.2.9", "2001:db8:7::-2001:db8:7::f")
		rs.Allow = rangesOf("192.0.2.8", "2001:db8:7::8")
	})
	e.apply(rulesets[0])
	blasts := e.blast()
	deadline := time.Now().Add(limit)
	done := 0
	for ; done < n && time.Now().Before(deadline); done++ {
		if _, err := e.d.Apply(e.Context(), rulesets[done*7%len(rulesets)]); err != nil {
			e.Fatalf("replacement %d: %v", done, err)
		}
	}
	if done < 100 {
		e.Errorf("%d replacements within %v, want at least 100", done, limit)
	}
	e.leaked(blasts, done)
}

// Two feeds of 50,000 ranges that both have the source take turns; then they become a country set and back.
func leakSets(e *env) {
	var sets []firewall.BigSet
	for k := range 2 {
		rs := rangesOf("192.0.2.7", "2001:db8:7::7")
		for i := range 25_000 {
			a := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(k)})
			b := netip.MustParseAddr(fmt.Sprintf("2001:db8:1000:%x::%x", i, k))
			rs = append(rs, ranges.Single(a), ranges.Single(b))
		}
		sets = append(sets, e.bigSetOf(rs))
	}
	open := closed(service("blasted", firewall.UDP, blastPort))
	with := func(k int) *firewall.Ruleset { rs := *open; rs.Feeds = sets[k%2]; return &rs }
	e.apply(with(0))
	blasts := e.blast()
	n := 16
	if testing.Short() {
		n = 6
	}
	for k := range n {
		rs := with(k + 1)
		if k%4 == 3 {
			rs.Geo, rs.Feeds = []firewall.GeoScope{{Name: "geo0", Refuse: "in", Set: rs.Feeds}}, firewall.BigSet{}
		}
		if _, err := e.d.Apply(e.Context(), rs); err != nil {
			e.Fatalf("replacement %d: %v", k, err)
		}
	}
	e.leaked(blasts, n)
}

// What an app does not reach by any of these rulesets, each for another reason, it does not reach between two of them.
func leakSegments(e *env) {
	n, limit := 200, 60*time.Second
	if testing.Short() {
		n, limit = 60, 10*time.Minute
	}
	a := e.apps()
	var rulesets []*firewall.Ruleset
	add := func(egress firewall.Egress, edit func(rs *firewall.Ruleset, blog *firewall.Segment)) {
		rs := segmented(egress)
		edit(rs, &rs.Segments.List[0])
		rulesets = append(rulesets, rs)
	}
	target := []string{"198.51.100.2", "2001:db8:1::2"}
	reach := func(port uint16, to ...string) (out []firewall.Reach) {
		for _, r := range rangesOf(to...) {
			out = append(out, firewall.Reach{Range: r, Port: port})
		}
		return out
	}
	add(firewall.EgressNone, func(*firewall.Ruleset, *firewall.Segment) {})
	add(firewall.EgressInternet, func(rs *firewall.Ruleset, _ *firewall.Segment) { rs.Blocks = timed(target...) })
	add(firewall.EgressList, func(_ *firewall.Ruleset, x *firewall.Segment) { x.Reach = reach(443, target...) })
	add(firewall.EgressInternet, func(rs *firewall.Ruleset, _ *firewall.Segment) { rs.Segments.List = rs.Segments.List[1:] })
	add(firewall.EgressList, func(_ *firewall.Ruleset, x *firewall.Segment) {
		x.Reach = reach(0, "203.0.113.0/24", "2001:db8:2::/64")
	})
	add(firewall.EgressInternet, func(rs *firewall.Ruleset, _ *firewall.Segment) { rs.Bans = timed(target[0], "2001:db8:1::/64") })
	add(firewall.EgressInternet, func(_ *firewall.Ruleset, x *firewall.Segment) { x.Bridge = "br-app7" })
	add(firewall.EgressInternet, func(rs *firewall.Ruleset, _ *firewall.Segment) { rs.Feeds = e.bigSet(target...) })
	e.apply(rulesets[0])
	var blasts [2]*nstest.Blast
	for i := range blasts {
		blasts[i] = a.blog.From(a.blog.Addrs()[i]).BlastUDP(e.T, e.Client1, netip.AddrPortFrom(e.Client1.Addrs()[i], blastPort))
	}
	deadline := time.Now().Add(limit)
	done := 0
	for ; done < n && time.Now().Before(deadline); done++ {
		if _, err := e.d.Apply(e.Context(), rulesets[done*3%len(rulesets)]); err != nil {
			e.Fatalf("replacement %d: %v", done, err)
		}
	}
	if done < 50 {
		e.Errorf("%d replacements within %v, want at least 50", done, limit)
	}
	e.leaked(blasts, done)
}
