package iptables_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/conformance"
	"github.com/platformd/platformd/firewall/iptables"
	"github.com/platformd/platformd/internal/nstest"
)

// variants calls f for each variant of the tools, in namespaces of its own.
func variants(t *testing.T, f func(t *testing.T, variant string)) {
	for _, v := range []string{"nft", "legacy"} {
		t.Run(v, func(t *testing.T) {
			nstest.Run(t, func(t *testing.T) { f(t, v) })
		})
	}
}

// host is a topology with a driver and shorthands for the tools of both families.
type host struct {
	*testing.T
	*nstest.Topology
	d       firewall.Driver
	variant string
}

func newHost(t *testing.T, variant string) *host {
	h := &host{T: t, Topology: nstest.NewTopology(t), variant: variant}
	d, err := iptables.New(iptables.Config{Variant: variant})
	if err != nil {
		t.Fatal(err)
	}
	h.d = d
	return h
}

// both runs iptables and ip6tables.
func (h *host) both(args string) {
	h.Helper()
	for _, tool := range []string{"iptables-", "ip6tables-"} {
		h.Exec(h.T, "", tool+h.variant, strings.Fields(args)...)
	}
}

// rules are the rules of a chain, of both families one after the other.
func (h *host) rules(chain string) string {
	h.Helper()
	var out []string
	for _, tool := range []string{"iptables-", "ip6tables-"} {
		for _, l := range strings.Split(h.Exec(h.T, "", tool+h.variant, "-S", chain), "\n") {
			if strings.HasPrefix(l, "-A") {
				out = append(out, strings.TrimPrefix(l, "-A "+chain+" "))
			}
		}
	}
	return strings.Join(out, "; ")
}

func (h *host) apply(rs *firewall.Ruleset) {
	h.Helper()
	if _, err := h.d.Apply(h.Context(), rs); err != nil {
		h.Fatal(err)
	}
	want, err := h.d.Render(rs)
	if err != nil {
		h.Fatal(err)
	}
	have, err := h.d.Observe(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for _, c := range firewall.Diff(want, have) {
		h.Errorf("after apply: %v", c)
	}
}

func (h *host) is(chain, want string) {
	h.Helper()
	want += "; " + want
	if got := h.rules(chain); got != want {
		h.Errorf("%s: got %q, want %q", chain, got, want)
	}
}

func closed() *firewall.Ruleset { return &firewall.Ruleset{Echo: firewall.EchoClosed} }

func TestJumpsComeFirst(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		h := newHost(t, variant)
		h.both("-A INPUT -j ACCEPT")
		h.both("-A FORWARD -j ACCEPT")
		h.apply(closed())
		h.is("INPUT", "-j PLATFORM; -j ACCEPT")
		h.is("FORWARD", "-j PLATFORM_FORWARD; -j ACCEPT")
		h.is("OUTPUT", "-j PLATFORM_OUTPUT")
		h.apply(&firewall.Ruleset{Off: true})
		h.is("INPUT", "-j ACCEPT")
		h.is("FORWARD", "-j ACCEPT")
	})
}

// A chain that is jumped to already keeps its position and its neighbours.
func TestJumpsKeepTheirPosition(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		h := newHost(t, variant)
		const before, after = "-p tcp -m tcp --dport 1", "-p tcp -m tcp --dport 2"
		for chain, ours := range map[string]string{"INPUT": "PLATFORM", "FORWARD": "PLATFORM_FORWARD", "OUTPUT": "PLATFORM_OUTPUT"} {
			h.both("-N " + ours)
			h.both("-A " + chain + " " + before)
			h.both("-A " + chain + " -m comment --comment here -j " + ours)
			h.both("-A " + chain + " " + after)
		}
		for _, rs := range []*firewall.Ruleset{closed(), {Echo: firewall.EchoOpen}, closed()} {
			h.apply(rs)
			h.is("INPUT", before+"; -m comment --comment here -j PLATFORM; "+after)
			h.is("FORWARD", before+"; -m comment --comment here -j PLATFORM_FORWARD; "+after)
			h.is("OUTPUT", before+"; -m comment --comment here -j PLATFORM_OUTPUT; "+after)
		}
		h.apply(&firewall.Ruleset{Off: true})
		h.is("INPUT", before+"; "+after)
	})
}

// A jump that packets do not reach, or that has a condition, is no hook.
func TestJumpsThatDoNotCount(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		h := newHost(t, variant)
		h.both("-N PLATFORM")
		h.both("-A INPUT -p tcp -j PLATFORM")
		h.both("-A INPUT -j ACCEPT")
		h.both("-A INPUT -j PLATFORM")
		h.apply(closed())
		h.is("INPUT", "-j PLATFORM; -p tcp -j PLATFORM; -j ACCEPT")
	})
}

// Docker comes after us, puts its chain first, and goes again.
func TestDockerUser(t *testing.T) {
	variants(t, func(t *testing.T, variant string) {
		h := newHost(t, variant)
		h.apply(closed())
		h.both("-N DOCKER-USER")
		h.both("-A DOCKER-USER -j RETURN")
		h.is("FORWARD", "-j PLATFORM_FORWARD")
		h.both("-I FORWARD 1 -j DOCKER-USER")
		have, err := h.d.Observe(h.Context())
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(have, func(o firewall.Object) bool { return o.Kind == "jump" && o.Name == "v4 FORWARD" }) {
			t.Error("observe: the jump behind Docker's chain still counts")
		}
		for range 2 {
			h.apply(closed())
			h.is("FORWARD", "-j DOCKER-USER")
			h.is("DOCKER-USER", "-j PLATFORM_FORWARD; -j RETURN")
		}
		h.both("-D FORWARD -j DOCKER-USER")
		h.apply(closed())
		h.is("FORWARD", "-j PLATFORM_FORWARD")
		h.is("DOCKER-USER", "-j RETURN")
		h.both("-A FORWARD -j DOCKER-USER") // behind ours: ours is asked first and stays
		h.apply(closed())
		h.is("FORWARD", "-j PLATFORM_FORWARD; -j DOCKER-USER")
		h.is("DOCKER-USER", "-j RETURN")
		h.apply(&firewall.Ruleset{Off: true})
		h.is("FORWARD", "-j DOCKER-USER")
	})
}

func TestRepairsNft(t *testing.T) { conformance.RunRepairs(t, newDriver("nft"), tampers("nft")) }
func TestRepairsLegacy(t *testing.T) {
	conformance.RunRepairs(t, newDriver("legacy"), tampers("legacy"))
}

func tampers(variant string) []conformance.Tamper {
	run := func(name string, commands ...string) conformance.Tamper {
		return conformance.Tamper{Name: name, Do: func(t testing.TB, tp *nstest.Topology) {
			for _, c := range commands {
				args := strings.Fields(c)
				tp.Exec(t, "", args[0], args[1:]...)
			}
		}}
	}
	ipt, ipt6 := "iptables-"+variant+" ", "ip6tables-"+variant+" "
	return []conformance.Tamper{
		run("rule deleted", ipt+"-D PLATFORM 3", ipt6+"-D PLATFORM_RATELIMIT 1"),
		run("rule inserted", ipt+"-I PLATFORM 1 -j RETURN", ipt6+"-A PLATFORM_SERVICES -p tcp -j RETURN"),
		run("rule moved", ipt+"-D PLATFORM_RATELIMIT -m comment --comment closed -g PLATFORM_DROP_closed", ipt+"-I PLATFORM_RATELIMIT 1 -m comment --comment closed -g PLATFORM_DROP_closed"),
		run("rule changed", ipt+"-R PLATFORM_DROP_closed 2 -m comment --comment platform:closed -j RETURN"),
		run("chain flushed", ipt+"-F PLATFORM", ipt6+"-F PLATFORM_DROP_closed"),
		run("table flushed", ipt+"-F", ipt6+"-F"),
		run("table flushed and chains deleted", ipt+"-F", ipt+"-X", ipt6+"-F", ipt6+"-X"),
		run("jump deleted", ipt+"-D INPUT -j PLATFORM"),
		run("jump made useless", ipt6+"-I INPUT 1 -j ACCEPT"),
		run("foreign chain with our prefix", ipt+"-N PLATFORM_XYZ"),
		run("element deleted", "ipset del platform-bans4 192.0.2.67", "ipset del platform-bans6 2001:db8:66::/64"),
		run("element added", "ipset add platform-allow4 192.0.2.130", "ipset add platform-allow6 2001:db8::/32"),
		{Name: "big set damaged", Do: func(t testing.TB, tp *nstest.Topology) {
			for _, name := range strings.Fields(tp.Exec(t, "", "ipset", "list", "-n")) {
				if strings.HasPrefix(name, "platform-feeds4-") {
					tp.Exec(t, "", "ipset", "del", name, "192.0.2.64/26")
				}
			}
		}},
		run("set flushed", "ipset flush platform-bans4"),
		run("sets flushed", "ipset flush"),
		run("everything deleted", ipt+"-F", ipt+"-X", ipt6+"-F", ipt6+"-X", "ipset destroy"),
		run("set with another type", ipt+"-F", ipt+"-X", ipt6+"-F", ipt6+"-X", "ipset destroy platform-bans4", "ipset create platform-bans4 hash:net maxelem 17"),
		run("leftovers of a killed apply", "ipset create platform-load4 hash:net", "ipset create platform-feeds4-abcdefgh-1 hash:net", "ipset create platform-bans4~ hash:net"),
	}
}
