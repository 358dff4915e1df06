package firewall

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/platformd/platformd/firewall/ranges"
)

// Equal meanings are equal values, and no two entries of a list overlap, which a set could not hold.
func TestSegmentsAreNormal(t *testing.T) {
	r := func(s string) ranges.Range {
		out, err := ranges.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	now := time.Unix(1000, 0)
	a := netip.MustParseAddr("192.0.2.1")
	in := Segments{Bridges: []string{"br-app*"}, List: []Segment{
		{Name: "shop", Egress: EgressInternet, Reach: []Reach{{Range: r("192.0.2.1")}}},
		{Name: "blog", Egress: EgressList,
			Reach: []Reach{{r("192.0.2.0/24"), 443}, {r("192.0.2.128/25"), 443}, {r("192.0.2.8/29"), 0}, {r("192.0.2.16/29"), 0}, {r("192.0.2.0/24"), 80}},
			Names: []Admitted{{a, 443, now.Add(time.Minute)}, {a, 443, now.Add(time.Hour)}, {a, 0, now}},
			Peers: []Peer{{Addr: a, Protocol: UDP, Port: 53}, {Addr: a, Protocol: TCP, Port: 53}, {Addr: a, Protocol: UDP, Port: 53}}},
	}}
	want := Segments{Bridges: []string{"br-app*"}, List: []Segment{
		{Name: "blog", Egress: EgressList,
			Reach: []Reach{{r("192.0.2.8-192.0.2.23"), 0},
				{r("192.0.2.0-192.0.2.7"), 80}, {r("192.0.2.24-192.0.2.255"), 80}, {r("192.0.2.0-192.0.2.7"), 443}, {r("192.0.2.24-192.0.2.255"), 443}},
			Names: []Admitted{{a, 443, now.Add(time.Hour)}},
			Peers: []Peer{{Addr: a, Protocol: TCP, Port: 53}, {Addr: a, Protocol: UDP, Port: 53}}},
		{Name: "shop", Egress: EgressInternet},
	}}
	opt := cmp.Comparer(func(a, b ranges.Range) bool { return a == b })
	addr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	prefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if d := cmp.Diff(want, in.normalize(now), opt, addr, prefix); d != "" {
		t.Error(d)
	}
	for i, x := range want.List[0].Reach {
		for _, y := range want.List[0].Reach[i+1:] {
			if (x.Port == y.Port || x.Port == 0 || y.Port == 0) && x.Range.Overlaps(y.Range) {
				t.Errorf("%v and %v overlap", x, y)
			}
		}
	}
}

// A peer's class is a meter of the ruleset, unless it is off.
func TestPeersHaveMeters(t *testing.T) {
	a := netip.MustParseAddr("10.212.0.20")
	src := Source{Segments: Segments{Bridges: []string{"br-app*"}, List: []Segment{{Name: "blog", Egress: EgressNone,
		Peers: []Peer{{Addr: a, Protocol: TCP, Port: 5432, Meter: "database"}, {Addr: a, Protocol: TCP, Port: 25, Meter: "mail-relay"}}}}}}
	rs, err := Compile(&Policy{}, src)
	if err != nil {
		t.Fatal(err)
	}
	if m := rs.MeterOf("database"); m == nil || m.Limit.String() != "5000/s" || m.Sources != DefaultSources {
		t.Errorf("database: got %+v", m)
	}
	if m := rs.MeterOf("mail-relay"); m == nil || m.Limit.String() != "500/s" {
		t.Errorf("mail-relay: got %+v", m)
	}
}
