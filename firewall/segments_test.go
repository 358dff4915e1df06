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

// Each question that a packet of an app is asked has its answer.
func TestExplainSegment(t *testing.T) {
	until := time.Unix(5000, 0)
	addr := netip.MustParseAddr
	seg := func(name string, n string, e Egress) Segment {
		return Segment{Name: name, Bridge: "br-app" + n, V4: netip.MustParsePrefix("10.212.0." + n + "/28"), V6: netip.MustParsePrefix("fd00:" + n + "::/64"), Egress: e}
	}
	blog, shop, quiet := seg("blog", "16", EgressList), seg("shop", "32", EgressInternet), seg("quiet", "48", EgressNone)
	blog.Reach = []Reach{{Range: ranges.Of(netip.MustParsePrefix("198.51.100.0/24")), Port: 443}}
	blog.Names = []Admitted{{Addr: addr("203.0.113.7"), Until: until}}
	blog.Peers = []Peer{{Addr: addr("10.212.0.20"), Protocol: TCP, Port: 5432, Meter: "database"}}
	rs, err := Compile(&Policy{Blocks: []Block{{Target: ranges.Of(netip.MustParsePrefix("203.0.113.8/32"))}}},
		Source{Now: time.Unix(1000, 0), Segments: Segments{Bridges: []string{"br-app*"}, List: []Segment{blog, shop, quiet}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		app, to  string
		port     uint16
		here     bool
		admitted bool
		rule     string
	}{
		{"blog", "10.0.0.5", 443, false, false, "not a public address: private"},
		{"blog", "169.254.169.254", 80, false, false, "not a public address: link-local"},
		{"shop", "fd00:ec2::254", 80, false, false, "not a public address: private"},
		{"shop", "10.212.0.20", 5432, false, false, "the network of app blog"},
		{"shop", "198.51.100.1", 22, true, false, "an address of this host"},
		{"blog", "10.212.0.20", 5432, false, true, "peer 10.212.0.20 tcp port 5432"},
		{"blog", "10.212.0.20", 22, false, false, "not declared as a peer"},
		{"blog", "198.51.100.9", 443, false, true, "egress list of app blog: 198.51.100.0/24"},
		{"blog", "198.51.100.9", 80, false, false, "egress list of app blog"},
		{"blog", "203.0.113.7", 80, false, true, "egress list of app blog: found by a name of the list"},
		{"shop", "203.0.113.7", 80, false, true, "egress internet of app shop"},
		{"shop", "203.0.113.8", 80, false, false, "block 203.0.113.8"},
		{"quiet", "203.0.113.7", 80, false, false, "egress none of app quiet"},
		{"gone", "203.0.113.7", 80, false, false, "app gone has no network"},
	} {
		v, err := Explain(rs, Query{App: c.app, Source: addr(c.to), Protocol: TCP, Port: c.port, Here: c.here}, nil)
		if err != nil || v.Admitted != c.admitted || v.Rule != c.rule || (v.Reason == "") != c.admitted {
			t.Errorf("%s to %s port %d: got %+v, %v; want %v by %s", c.app, c.to, c.port, v, err, c.admitted, c.rule)
		}
	}
}
