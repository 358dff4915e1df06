package conformance

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/nstest"
)

// env is what a case works with.
type env struct {
	*testing.T
	*nstest.Topology
	d    firewall.Driver
	make New
}

func newEnv(t *testing.T, newDriver New) *env {
	e := &env{T: t, Topology: nstest.NewTopology(t), make: newDriver}
	e.d = newDriver(t)
	return e
}

// apply applies rs and reads back.
func (e *env) apply(rs *firewall.Ruleset) {
	e.Helper()
	if _, err := e.d.Apply(e.Context(), rs); err != nil {
		e.Fatalf("apply: %v", err)
	}
	e.agrees(rs)
}

// agrees checks that what is in the kernel is what rs renders to.
func (e *env) agrees(rs *firewall.Ruleset) {
	e.Helper()
	for i, c := range e.diff(rs) {
		e.Errorf("after apply: %v", c)
		if i == 9 {
			e.Fatal("and more")
		}
	}
}

func (e *env) diff(rs *firewall.Ruleset) []firewall.Change {
	e.Helper()
	want, err := e.d.Render(rs)
	if err != nil {
		e.Fatalf("render: %v", err)
	}
	return firewall.Diff(want, e.observe())
}

func (e *env) observe() firewall.Listing {
	e.Helper()
	have, err := e.d.Observe(e.Context())
	if err != nil {
		e.Fatalf("observe: %v", err)
	}
	return have
}

// families calls f with the index of each family: 0 for IPv4, 1 for IPv6.
func (e *env) families(f func(i int)) {
	e.Helper()
	for i := range 2 {
		f(i)
	}
}

// host is the host's address that client1 talks to.
func (e *env) host(i int, port uint16) netip.AddrPort { return netip.AddrPortFrom(e.Host1[i], port) }

// source gives client1 another address.
func (e *env) source(s string) nstest.From {
	e.Helper()
	a := netip.MustParseAddr(s)
	e.AddSource(e.T, e.Client1, a)
	return e.Client1.From(a)
}

// sees probes and compares. "open" is tried again for a while, because it may come late on a busy machine; the others
// must be the answer to the first try.
func (e *env) sees(from nstest.From, proto string, to netip.AddrPort, want nstest.Result) {
	e.Helper()
	var got nstest.Result
	if want == nstest.Open {
		got = from.Eventually(e.T, proto, to, want)
	} else {
		got = from.Dial(e.T, proto, to)
	}
	if got != want {
		e.Errorf("%s %v: %s %v: got %s, want %s", from.Name, from.Src, proto, to, got, want)
	}
}

// until waits for a condition, for at most ten seconds.
func (e *env) until(what string, ok func() bool) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), 10*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			e.Errorf("after 10 s still not: %s", what)
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// refused is the driver's counter for a reason.
func (e *env) refused(r firewall.Reason) uint64 {
	e.Helper()
	cs, err := e.d.Counters(e.Context())
	if err != nil {
		e.Fatalf("counters: %v", err)
	}
	for _, c := range cs {
		if c.Reason == r {
			return c.Packets
		}
	}
	return 0
}

// counts checks that f makes the counter of r grow, by at least one.
func (e *env) counts(r firewall.Reason, f func()) {
	e.Helper()
	before := e.refused(r)
	f()
	if after := e.refused(r); after <= before {
		e.Errorf("counter %q: got %d before and %d after, want more", r, before, after)
	}
}

// bigSet writes a file of ranges.
func (e *env) bigSet(rs ...string) firewall.BigSet {
	e.Helper()
	return e.bigSetOf(rangesOf(rs...))
}

func (e *env) bigSetOf(rs []ranges.Range) firewall.BigSet {
	e.Helper()
	info, err := ranges.Write(e.TempDir(), ranges.FromSlice(ranges.Normalize(rs)))
	if err != nil {
		e.Fatalf("write ranges: %v", err)
	}
	return firewall.BigSet{Path: info.Path, Digest: info.Digest, V4: info.V4, V6: info.V6}
}

// kernel lists everything there is in the kernel's packet filters, with every tool that is installed, without what
// changes by itself: counters, remaining time, and the name and date lines of iptables-save.
func (e *env) kernel() string {
	e.Helper()
	var out strings.Builder
	for _, c := range [][]string{
		{"nft", "-a", "list", "ruleset"},
		{"iptables-legacy-save"}, {"ip6tables-legacy-save"}, {"iptables-nft-save"}, {"ip6tables-nft-save"},
		{"ipset", "save", "-sorted"},
	} {
		if _, err := exec.LookPath(c[0]); err == nil {
			fmt.Fprintf(&out, "== %s\n%s\n", strings.Join(c, " "), volatile.ReplaceAllString(e.Exec(e.T, "", c[0], c[1:]...), "#"))
		}
	}
	return out.String()
}

var volatile = regexp.MustCompile(`(?m)packets \d+ bytes \d+|expires \S+|\[\d+:\d+\]|timeout \d+|initval \S+|# (Generated|Completed|Warning).*|, last \S+`)

// Short forms for rulesets.

// closed admits nothing but what containers open.
func closed(services ...firewall.Service) *firewall.Ruleset {
	return &firewall.Ruleset{
		Echo: firewall.EchoClosed, Services: services,
		Forward: firewall.ForwardRuleset{Bridges: []string{nstest.Bridge}},
	}
}

func service(name string, proto firewall.Protocol, ports ...uint16) firewall.Service {
	s := firewall.Service{Name: name, Protocol: proto}
	for _, p := range ports {
		s.Ports = append(s.Ports, firewall.PortRange{First: p, Last: p})
	}
	return s
}

func rangesOf(ss ...string) []ranges.Range {
	var out []ranges.Range
	for _, s := range ss {
		r, err := ranges.Parse(s)
		if err != nil {
			panic(err)
		}
		out = append(out, r)
	}
	return out
}

func timed(ss ...string) []firewall.Timed {
	var out []firewall.Timed
	for _, r := range rangesOf(ss...) {
		out = append(out, firewall.Timed{Range: r})
	}
	return out
}
