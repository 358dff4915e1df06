package conformance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/ratelimit"
)

func convergeCases() []testCase {
	return []testCase{
		{"applying twice changes nothing", twice},
		{"apply says what it found", found},
		{"every step between rulesets reads back", steps},
		{"off leaves no trace, others stay", off},
		{"foreign rules keep their meaning", foreignRules},
		{"probe", probe},
		{"a driver that is made anew knows what is there", anew},
		{"bad rulesets", badRulesets},
	}
}

// full uses everything a ruleset has.
func (e *env) full() *firewall.Ruleset {
	e.Helper()
	both := e.bigSet("192.0.2.64/26", "192.0.2.140-192.0.2.150", "2001:db8:7::/64", "2001:db8:9::1-2001:db8:9::9")
	sources := service("admin", firewall.TCP, 9090)
	sources.Sources, sources.Interfaces = rangesOf("192.0.2.1-192.0.2.9", "2001:db8:1::/64"), []string{nstest.Dev1, "eth*"}
	web := metered(service("web", firewall.TCP, 80, 443), "web")
	web.Ports = append(web.Ports, firewall.PortRange{First: 8000, Last: 8100})
	out := service("mirror", firewall.TCP, 443)
	out.Sources = rangesOf("203.0.113.0/24", "2001:db8:2::/64")
	rs := &firewall.Ruleset{
		Allow: rangesOf("192.0.2.5", "198.51.100.0/28", "2001:db8:5::5"),
		Bans:  timed("192.0.2.66", "192.0.2.67", "2001:db8:66::/64"),
		Blocks: timed("192.0.2.7", "192.0.2.16/28", "192.0.2.33-192.0.2.44", "2001:db8:17::/64",
			"2001:db8:18::1-2001:db8:18::7"),
		Feeds: both,
		Geo: []firewall.GeoScope{
			{Name: "geo0", Refuse: "in", Set: e.bigSet("198.18.0.0/15", "2001:db8:b::/48")},
			{Name: "geo1", Refuse: "notin", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 9090, Last: 9090}}, Set: e.bigSet("192.0.2.0/24", "2001:db8::/32")},
		},
		Services: []firewall.Service{sources, metered(service("a-name-of-thirty-two-characters0", firewall.UDP, 53), "a-limit-of-thirty-two-characters"), metered(service("ssh", firewall.TCP, 22), "ssh"), web},
		Meters: []firewall.Meter{
			{Name: "a-limit-of-thirty-two-characters", Limit: ratelimit.Limit{Rate: 7, Per: time.Minute}, Sources: 4096},
			{Name: "ping", Limit: ratelimit.Limit{Rate: 10, Per: time.Second, Burst: 20}, Sources: 4096},
			sshLimit(),
			{Name: "syn", Limit: ratelimit.Limit{Rate: 200, Per: time.Second}, Sources: 4096, AdmitWhenFull: true},
			{Name: "web", Limit: ratelimit.Limit{Rate: 4999, Per: time.Second, Concurrent: 200}, Sources: 65536, AdmitWhenFull: true},
		},
		Echo: firewall.EchoLimited, SYN: "syn",
		Forward: firewall.ForwardRuleset{Bridges: []string{"br-*", "docker*"}},
		Output:  firewall.OutputRuleset{Closed: true, Services: []firewall.Service{out, service("web", firewall.TCP, 80)}},
	}
	hour := time.Now().Add(time.Hour)
	rs.Segments = firewall.Segments{Bridges: []string{"br-app*"}, List: []firewall.Segment{
		{Name: "blog", Bridge: "br-app1", V4: blogNet[0], V6: blogNet[1], Egress: firewall.EgressList,
			Reach: []firewall.Reach{{Range: rangesOf("203.0.113.0/24")[0]}, {Range: rangesOf("203.0.114.1-203.0.114.9")[0], Port: 443}, {Range: rangesOf("2001:db8:2::/64")[0], Port: 443}},
			Names: []firewall.Admitted{{Addr: blogNet[0].Addr(), Until: hour}, {Addr: blogNet[1].Addr(), Port: 443, Until: hour}},
			Peers: []firewall.Peer{{Addr: nth(blogNet, 0, 1), Protocol: firewall.UDP, Port: 53}, {Addr: nth(blogNet, 1, 4), Protocol: firewall.TCP, Port: 5432, Meter: "web"}}},
		{Name: "shop", Bridge: "br-app2", V4: shopNet[0], V6: shopNet[1], Egress: firewall.EgressInternet},
		{Name: "wiki", Bridge: "br-app30", V4: orphanNet[0], V6: orphanNet[1], Egress: firewall.EgressNone},
	}}
	rs.Bans[0].Until, rs.Blocks[0].Until, rs.Blocks[3].Until = hour, hour, hour.Add(10*365*24*time.Hour)
	return rs
}

// What Apply found is what Observe showed before, also where the ruleset changes.
func found(e *env) {
	rs := e.full()
	if got, err := e.d.Apply(e.Context(), rs); err != nil || len(got) != 0 {
		e.Fatalf("on an empty table: got %v, %v", got, err)
	}
	for _, next := range []*firewall.Ruleset{rs, closed(service("ssh", firewall.TCP, 22)), rs, {Off: true}} {
		before := e.observe()
		got, err := e.d.Apply(e.Context(), next)
		if err != nil {
			e.Fatal(err)
		}
		for _, c := range firewall.Diff(before, got) {
			e.Errorf("apply found something else than was there: %v", c)
		}
	}
}

func twice(e *env) {
	rs := e.full()
	e.apply(rs)
	seen, listed := e.kernel(), e.observe()
	if len(listed) == 0 {
		e.Error("observe: nothing, want the ruleset")
	}
	e.apply(rs)
	if d := difference(seen, e.kernel()); d != "" {
		e.Errorf("kernel after the second apply:\n%s", d)
	}
	if !slices.Equal(listed, e.observe()) {
		e.Error("observe after the second apply: differs")
	}
}

// steps walks through rulesets that add, change and remove one thing after the other, and back.
func steps(e *env) {
	full := e.full()
	edits := []func(rs *firewall.Ruleset){
		func(rs *firewall.Ruleset) { rs.Allow = nil },
		func(rs *firewall.Ruleset) { rs.Bans = nil },
		func(rs *firewall.Ruleset) { rs.Blocks = timed("192.0.2.0/24", "2001:db8::/32") },
		func(rs *firewall.Ruleset) { rs.Feeds = e.bigSet("192.0.2.7") },
		func(rs *firewall.Ruleset) { rs.Feeds = firewall.BigSet{} },
		func(rs *firewall.Ruleset) { rs.Geo = rs.Geo[1:] },
		func(rs *firewall.Ruleset) { rs.Geo = nil },
		func(rs *firewall.Ruleset) { rs.Meters = slices.Clone(rs.Meters); rs.Meters[2].Limit.Rate = 6 },
		func(rs *firewall.Ruleset) { rs.SYN = "" },
		func(rs *firewall.Ruleset) { rs.Echo = firewall.EchoOpen },
		func(rs *firewall.Ruleset) { rs.Services = rs.Services[:1] },
		func(rs *firewall.Ruleset) { rs.Services = nil },
		func(rs *firewall.Ruleset) { rs.Forward = firewall.ForwardRuleset{Open: true} },
		func(rs *firewall.Ruleset) { rs.Output = firewall.OutputRuleset{} },
		func(rs *firewall.Ruleset) { *rs = firewall.Ruleset{Echo: firewall.EchoClosed} },
		func(rs *firewall.Ruleset) { *rs = firewall.Ruleset{Off: true, Echo: firewall.EchoLimited} },
	}
	for i, edit := range edits {
		rs := *full
		edit(&rs)
		e.apply(&rs)
		if e.Failed() {
			e.Fatalf("at step %d", i)
		}
		e.apply(full)
		if e.Failed() {
			e.Fatalf("at step %d, back", i)
		}
	}
}

// foreign fills the kernel with things of others, in every facility there is.
func (e *env) foreign() {
	e.Helper()
	e.Nft(e.T, `
table inet other {
	set s { type ipv4_addr; elements = { 192.0.2.1 }; }
	chain c {
		type filter hook input priority 5;
		ip saddr @s counter drop
	}
}
table ip platformx {
	chain platform {
		counter
	}
}
`)
	for _, family := range []string{"", "6"} {
		for _, variant := range []string{"nft", "legacy"} {
			e.Exec(e.T, `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:MINE - [0:0]
:PLATFORMX - [0:0]
-A INPUT -p tcp -m tcp --dport 1111 -j MINE
-A FORWARD -p tcp -m tcp --dport 2222 -j DROP
-A OUTPUT -p tcp -m tcp --dport 3333 -j MINE
-A MINE -j RETURN
-A PLATFORMX -j RETURN
COMMIT
`, "ip"+family+"tables-"+variant+"-restore", "--noflush")
		}
	}
	e.Exec(e.T, "create mine hash:ip\nadd mine 192.0.2.9\ncreate platformx hash:ip\n", "ipset", "restore")
}

func off(e *env) {
	e.foreign()
	before := e.kernel()
	if l := e.observe(); len(l) != 0 {
		e.Errorf("observe before anything: got %v, want nothing", l)
	}
	e.apply(&firewall.Ruleset{Off: true})
	if d := difference(before, e.kernel()); d != "" {
		e.Errorf("off on a host without anything of ours:\n%s", d)
	}
	e.apply(e.full())
	during := e.kernel()
	for _, line := range strings.Split(before, "\n") {
		if !strings.Contains(during, strings.TrimSpace(line)) {
			e.Errorf("of others, gone while a ruleset is in force: %s", line)
		}
	}
	e.apply(&firewall.Ruleset{Off: true})
	if d := difference(before, e.kernel()); d != "" {
		e.Errorf("after off:\n%s", d)
	}
	if l := e.observe(); len(l) != 0 {
		e.Errorf("observe after off: got %v, want nothing", l)
	}
}

// What others drop stays dropped although a service admits it.
func foreignRules(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Host.Serve(e.T, "tcp", 1111)
	e.foreign()
	for _, tool := range []string{"iptables-nft", "ip6tables-nft"} {
		e.Exec(e.T, "", tool, "-A", "MINE", "-j", "DROP")
		e.Exec(e.T, "", tool, "-D", "MINE", "-j", "RETURN")
	}
	e.apply(closed(service("both", firewall.TCP, 22, 1111)))
	e.families(func(i int) {
		e.sees(anyone(e.Client1), "tcp", e.host(i, 22), nstest.Open)
		e.sees(anyone(e.Client1), "tcp", e.host(i, 1111), nstest.Filtered)
	})
	e.sees(e.source("192.0.2.1"), "tcp", e.host(0, 22), nstest.Filtered)
}

func probe(e *env) {
	rs := e.full()
	e.probesNothing()
	e.apply(rs)
	e.probes("allow", []string{"192.0.2.5", "198.51.100.15", "2001:db8:5::5"}, []string{"192.0.2.6", "198.51.100.16", "2001:db8:5::6"})
	e.probes("bans", []string{"192.0.2.66", "2001:db8:66::1", "2001:db8:66:0:ffff::"}, []string{"192.0.2.65", "2001:db8:66:1::"})
	e.probes("blocks", []string{"192.0.2.7", "192.0.2.31", "192.0.2.44", "2001:db8:17::1", "2001:db8:18::7"}, []string{"192.0.2.8", "192.0.2.45", "2001:db8:18::8"})
	e.probes("feeds", []string{"192.0.2.64", "192.0.2.150", "2001:db8:9::9"}, []string{"192.0.2.151", "2001:db8:9::a"})
	e.probes("geo0", []string{"198.18.0.0", "198.19.255.255", "2001:db8:b:ffff::"}, []string{"198.20.0.0", "2001:db8:c::"})
	e.probes("geo1", []string{"192.0.2.255", "2001:db8::"}, []string{"192.0.3.0", "2001:db9::"})
	e.apply(&firewall.Ruleset{Off: true})
	e.probesNothing()
}

// probesNothing checks that a set that is not there holds nothing, which is no error.
func (e *env) probesNothing() {
	e.Helper()
	for _, set := range []string{"allow", "bans", "blocks", "feeds", "geo0"} {
		e.probes(set, nil, []string{"192.0.2.5", "2001:db8:5::5"})
	}
}

func anew(e *env) {
	rs := e.full()
	e.apply(rs)
	seen := e.kernel()
	e.d = e.make(e.T)
	e.agrees(rs)
	e.apply(rs)
	if d := difference(seen, e.kernel()); d != "" {
		e.Errorf("a new driver's apply changed the kernel:\n%s", d)
	}
}

// A ruleset that cannot be put into the kernel changes nothing.
func badRulesets(e *env) {
	e.apply(e.full())
	seen := e.kernel()
	for name, edit := range map[string]func(rs *firewall.Ruleset){
		"file is missing": func(rs *firewall.Ruleset) {
			rs.Feeds.Path = "/nonexistent.ranges"
			rs.Feeds.Digest = strings.Repeat("0", 64)
		},
		"digest is another": func(rs *firewall.Ruleset) { rs.Feeds.Digest = strings.Repeat("0", 64) },
	} {
		rs := e.full()
		rs.Services = nil
		edit(rs)
		if _, err := e.d.Apply(e.Context(), rs); err == nil {
			e.Errorf("%s: got no error", name)
		}
		if d := difference(seen, e.kernel()); d != "" {
			e.Errorf("%s: the kernel has changed:\n%s", name, d)
		}
	}
}

// difference shows the lines that only one of two texts has.
func difference(a, b string) string {
	if a == b {
		return ""
	}
	count := map[string]int{}
	for _, l := range strings.Split(a, "\n") {
		count[l]--
	}
	for _, l := range strings.Split(b, "\n") {
		count[l]++
	}
	var out []string
	for l, n := range count {
		if n < 0 {
			out = append(out, "- "+l)
		} else if n > 0 {
			out = append(out, "+ "+l)
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		return "the same lines in another order"
	}
	return strings.Join(out, "\n")
}

// Tamper is what another program does to the kernel. It runs in the host.
type Tamper struct {
	Name string
	Do   func(t testing.TB, tp *nstest.Topology)
}

// RunRepairs shows that each tampering is seen by Observe and undone by the next Apply. It finds a ruleset that uses
// everything; among others the bans 192.0.2.67 and 2001:db8:66::/64, the allowed 192.0.2.5, the feed range 192.0.2.64/26, and
// service ssh on TCP port 22.
func RunRepairs(t *testing.T, newDriver New, tampers []Tamper) {
	for _, c := range tampers {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			nstest.Run(t, func(t *testing.T) {
				e := newEnv(t, newDriver)
				e.Host.Serve(e.T, "tcp", 22)
				e.Host.Serve(e.T, "tcp", 23)
				rs := e.full()
				e.apply(rs)
				c.Do(t, e.Topology)
				if d := e.diff(rs); len(d) == 0 {
					e.Error("after the tampering: no difference, want one")
				}
				e.apply(rs)
				e.families(func(i int) {
					e.sees(anyone(e.Client1), "tcp", e.host(i, 23), nstest.Filtered)
					e.sees(e.source([]string{"192.0.2.67", "2001:db8:66::1"}[i]), "tcp", e.host(i, 22), nstest.Filtered)
					e.sees(e.source([]string{"192.0.2.130", "2001:db8:99::1"}[i]), "tcp", e.host(i, 22), nstest.Open)
				})
			})
		})
	}
}
