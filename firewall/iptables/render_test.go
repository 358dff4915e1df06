package iptables

import (
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/ratelimit"
)

func update() bool {
	return flag.Lookup("update") != nil && flag.Lookup("update").Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the goldens in testdata")
	flag.Parse()
	os.Exit(m.Run())
}

func parse(t *testing.T, ss ...string) []ranges.Range {
	t.Helper()
	var out []ranges.Range
	for _, s := range ss {
		r, err := ranges.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// The rendered chains of both families, as iptables-save prints them.
func TestRenderGolden(t *testing.T) {
	ssh := firewall.Service{Name: "ssh", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 22, Last: 22}}, Meter: "ssh"}
	web := firewall.Service{Name: "web", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 80, Last: 80}, {First: 8000, Last: 8010}}}
	admin := firewall.Service{Name: "admin", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 9090, Last: 9090}}, Sources: parse(t, "192.0.2.0/24"), Interfaces: []string{"eth0", "wg*"}}
	meters := []firewall.Meter{
		{Name: "ping", Limit: ratelimit.Limit{Rate: 10, Per: time.Second, Burst: 20}, Sources: 65536},
		{Name: "ssh", Limit: ratelimit.Limit{Rate: 5, Per: 10 * time.Second, Concurrent: 20}, Sources: 65536},
	}
	for name, rs := range map[string]*firewall.Ruleset{
		"closed": {Echo: firewall.EchoClosed},
		"full": {
			Services: []firewall.Service{admin, ssh, web},
			Meters:   append(meters, firewall.Meter{Name: "syn", Limit: ratelimit.Limit{Rate: 200, Per: time.Second}, Sources: 262144, AdmitWhenFull: true}),
			Echo:     firewall.EchoLimited, SYN: "syn",
			Feeds: firewall.BigSet{Path: "feeds", Digest: "abc", V4: 7, V6: 7},
			Geo: []firewall.GeoScope{
				{Name: "geo0", Refuse: "in", Set: firewall.BigSet{Path: "geo0", Digest: "def", V4: 7, V6: 7}},
				{Name: "geo1", Refuse: "notin", Ports: []firewall.PortRange{{First: 22, Last: 22}}, Set: firewall.BigSet{Path: "geo1", Digest: "fed", V4: 7}},
			},
			Forward: firewall.ForwardRuleset{Bridges: firewall.DefaultBridges()},
			Output:  firewall.OutputRuleset{Closed: true, Services: []firewall.Service{web}},
			Segments: firewall.Segments{Bridges: []string{"br-app*"}, List: []firewall.Segment{{Name: "blog", Bridge: "br-app1", Egress: firewall.EgressList,
				V4: netip.MustParsePrefix("10.212.0.16/28"), V6: netip.MustParsePrefix("fd70:6c61:7466:1::/64"), Reach: []firewall.Reach{{Range: parse(t, "203.0.113.0/24")[0], Port: 443}},
				Peers: []firewall.Peer{{Addr: netip.MustParseAddr("10.212.0.17"), Protocol: firewall.UDP, Port: 53}, {Addr: netip.MustParseAddr("10.212.0.20"), Protocol: firewall.TCP, Port: 5432, Meter: "ssh"}}}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := newSpec(rs, time.Unix(0, 0))
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for i, tab := range s.tables {
				b.WriteString([]string{"# iptables\n", "\n# ip6tables\n"}[i] + "*filter\n")
				for _, c := range tab.chains {
					b.WriteString(":" + c.name + " - [0:0]\n")
				}
				for _, h := range hooks() {
					b.WriteString("-A " + h.from + " -j " + h.to + "\n")
				}
				for _, c := range tab.chains {
					for _, r := range c.rules {
						b.WriteString("-A " + c.name + " " + r.String() + "\n")
					}
				}
				b.WriteString("COMMIT\n")
			}
			path := "testdata/" + name + ".rules"
			if update() {
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != string(want) {
				t.Errorf("%s differs from what is rendered (go test ./firewall/iptables -update writes it):\n%s", path, got)
			}
		})
	}
}

func TestRenderLeavesOutWhatHasEnded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	rs := &firewall.Ruleset{Blocks: []firewall.Timed{
		{Range: parse(t, "192.0.2.1")[0], Until: now}, {Range: parse(t, "192.0.2.2")[0], Until: now.Add(time.Second)}, {Range: parse(t, "192.0.2.3")[0]},
	}}
	s, err := newSpec(rs, now)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.sets, func(x *set) bool { return x.name == "blocks4" })
	got := s.sets[i].fill("x")
	if want := []string{"add x 192.0.2.2/32 timeout 1", "add x 192.0.2.3/32 timeout 0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSeconds(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		until time.Time
		want  uint32
	}{
		{time.Time{}, 0}, {now.Add(time.Millisecond), 1}, {now.Add(1500 * time.Millisecond), 2},
		{now.Add(time.Hour), 3600}, {now.Add(1000 * time.Hour * 24), 2_147_483},
	} {
		if got := seconds(c.until, now); got != c.want {
			t.Errorf("seconds(%v): got %d, want %d", c.until.Sub(now), got, c.want)
		}
	}
}

// TestOrder is the promise that no intermediate state is looser than both rulesets: longer block lists and shorter allow
// lists before the rules, the opposite after them.
func TestOrder(t *testing.T) {
	p := netip.MustParsePrefix
	have := &kernelSet{members: map[netip.Prefix]uint32{p("192.0.2.1/32"): 0, p("192.0.2.2/32"): 100}}
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		kind             setKind
		members          map[netip.Prefix]time.Time
		stricter, looser []string
	}{
		{kindDeny, map[netip.Prefix]time.Time{p("192.0.2.1/32"): {}, p("192.0.2.3/32"): {}}, []string{"add x 192.0.2.3/32 timeout 0"}, []string{"del x 192.0.2.2/32"}},
		{kindDeny, map[netip.Prefix]time.Time{p("192.0.2.1/32"): now.Add(9 * time.Second), p("192.0.2.2/32"): {}}, []string{"add x 192.0.2.2/32 timeout 0"}, []string{"add x 192.0.2.1/32 timeout 9"}},
		{kindDeny, map[netip.Prefix]time.Time{p("192.0.2.1/32"): {}, p("192.0.2.2/32"): now.Add(99 * time.Second)}, nil, nil},
		{kindAllow, map[netip.Prefix]time.Time{p("192.0.2.1/32"): {}, p("192.0.2.3/32"): {}}, []string{"del x 192.0.2.2/32"}, []string{"add x 192.0.2.3/32"}},
	} {
		s := &set{kind: c.kind, members: c.members, now: now}
		more, less := s.delta("x", have)
		stricter, looser := lines(more), lines(less)
		if !slices.Equal(stricter, c.stricter) || !slices.Equal(looser, c.looser) {
			t.Errorf("%v: got %q and %q, want %q and %q", c.members, stricter, looser, c.stricter, c.looser)
		}
	}
}

func TestLimitRate(t *testing.T) {
	for _, c := range []struct{ limit, want string }{
		{"5/10s", "30/min"}, {"60/m", "1/sec"}, {"4999/s", "5000/sec"}, {"7/m", "7/min"}, {"90/m", "90/min"}, {"1/h", "1/hour"}, {"1/d", "1/day"}, {"1000000/s", "1000000/sec"}, {"24/d", "1/hour"},
	} {
		l, err := ratelimit.Parse(c.limit)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := limitRate(l); got != c.want || !ok {
			t.Errorf("%s: got %s, %v; want %s", c.limit, got, ok, c.want)
		}
	}
}

func TestNamesFit(t *testing.T) {
	long := strings.Repeat("x", 32)
	for _, c := range []struct{ prefix, name string }{{dropPrefix, "limit:" + long}, {limitPrefix, long}, {dropPrefix, "ban"}} {
		if got := chainName(c.prefix, c.name); len(got) > 28 || !ours(got) {
			t.Errorf("chain %q: %d characters, want at most 28 and our prefix", got, len(got))
		}
	}
	a, b := chainName(limitPrefix, long), chainName(limitPrefix, long[:31]+"y")
	if a == b {
		t.Errorf("two limits have one chain %s", a)
	}
	s := &set{name: "geo99_6", kind: kindBig, content: hash("x")}
	kernel := s.kernelName(20_000_000)
	if len(kernel) > 31 {
		t.Errorf("set %q: %d characters, want at most 31", kernel, len(kernel))
	}
	if name, content, elements, big := splitName(kernel); name != "geo99_6" || content != hash("x") || elements != 20_000_000 || !big {
		t.Errorf("splitName(%q): got %q %q %d %v", kernel, name, content, elements, big)
	}
}
