package probe_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/iptables"
	"github.com/platformd/platformd/firewall/nft"
	"github.com/platformd/platformd/internal/doctor/probe"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/ratelimit"
)

func drivers() map[string]func() (firewall.Driver, error) {
	return map[string]func() (firewall.Driver, error){
		"nft":      func() (firewall.Driver, error) { return nft.New() },
		"iptables": func() (firewall.Driver, error) { return iptables.New(iptables.Config{}) },
	}
}

// host is the machine under test with a policy in force.
type host struct {
	*testing.T
	*nstest.Topology
	rs *firewall.Ruleset
}

// each runs f with either driver, in namespaces of its own, with p in force.
func each(t *testing.T, p firewall.Policy, f func(h host)) {
	for _, name := range []string{"nft", "iptables"} {
		t.Run(name, func(t *testing.T) {
			nstest.Run(t, func(t *testing.T) {
				h := host{T: t, Topology: nstest.NewTopology(t)}
				d, err := drivers()[name]()
				if err != nil {
					t.Fatal(err)
				}
				if h.rs, err = firewall.Compile(&p, firewall.Source{Now: time.Now()}); err != nil {
					t.Fatal(err)
				}
				if _, err := d.Apply(t.Context(), h.rs); err != nil {
					t.Fatal(err)
				}
				f(h)
			})
		})
	}
}

func port(name string, proto firewall.Protocol, n uint16, limit string) firewall.Port {
	return firewall.Port{Name: name, Protocol: proto, Ports: []firewall.PortRange{{First: n, Last: n}}, Limit: limit}
}

func policy() firewall.Policy {
	return firewall.Policy{Ports: []firewall.Port{port("ssh", firewall.TCP, 22, "ssh"), port("ssh-alt", firewall.TCP, 202, "ssh"),
		port("http", firewall.TCP, 80, "http"), port("dns", firewall.UDP, 53, "")}}
}

func (h host) addresses() []netip.Addr {
	return []netip.Addr{h.Host1[0], h.Host1[1], h.Host2[0], h.Host2[1], netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::1")}
}

func (h host) config(tcp ...uint16) probe.Config {
	return probe.Config{Ruleset: func() (*firewall.Ruleset, error) { return h.rs, nil }, Addresses: h.addresses(), TCP: tcp}
}

// probe runs a probe and checks that it left nothing behind.
func (h host) probe(cfg probe.Config) probe.Report {
	h.Helper()
	before := h.world()
	r, err := probe.Run(h.Context(), cfg)
	if err != nil {
		h.Fatalf("probe: %v", err)
	}
	if got := h.world(); got != before {
		h.Errorf("links, addresses, routes and neighbours after the probe: got\n%s\nwant\n%s", got, before)
	}
	return r
}

// world is what a probe must leave as it was.
func (h host) world() string {
	h.Helper()
	var out []string
	links, err := netlink.LinkList()
	if err != nil {
		h.Fatal(err)
	}
	for _, l := range links {
		out = append(out, l.Attrs().Name)
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			h.Fatal(err)
		}
		for _, a := range addrs {
			out = append(out, "  "+a.IPNet.String())
		}
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		h.Fatal(err)
	}
	for _, r := range routes {
		out = append(out, fmt.Sprint("route ", r.Dst, r.LinkIndex))
	}
	return strings.Join(out, "\n")
}

func (h host) found(r probe.Report) []string {
	var out []string
	for _, d := range r.Disagreements {
		out = append(out, fmt.Sprintf("%s %v %s admitted=%v", d.Protocol, d.To, d.Got, d.Admitted))
	}
	slices.Sort(out)
	return out
}

func (h host) wants(r probe.Report, want ...string) {
	h.Helper()
	slices.Sort(want)
	if got := h.found(r); !slices.Equal(got, want) || r.More != 0 {
		h.Errorf("disagreements: got %d more than\n%s\nwant\n%s", r.More, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAgrees: a host that does as its policy says, with listeners behind open and closed ports, and without. The limit on
// SSH, which four addresses exceed together, does not look like a closed port.
func TestAgrees(t *testing.T) {
	each(t, policy(), func(h host) {
		for _, p := range []uint16{22, 80, 8080} {
			h.Host.Serve(h, "tcp", p)
		}
		h.Host.Serve(h, "udp", 53)
		r := h.probe(h.config(22, 80, 8080))
		h.wants(r)
		// IPv4 and IPv6 have five connections each: both ports at both addresses.
		if got, want := r.Knocks[probe.Open], 4+4; got < want {
			h.Errorf("open: got %d, want at least %d: 22 and 80 at each address", got, want)
		}
		if got, want := r.Knocks[probe.Refused], 4; got != want {
			h.Errorf("refused: got %d, want %d: 202 at each address", got, want)
		}
		if r.Left != 0 || len(r.Addresses) != 4 || r.Knocks[probe.Silent] < 4*1020 {
			h.Errorf("got %d ports left, addresses %v, %v", r.Left, r.Addresses, r.Knocks)
		}
		if !netip.MustParsePrefix("198.18.0.0/15").Contains(r.Wire.V4.Probe) || !netip.MustParsePrefix("fd00::/8").Contains(r.Wire.V6.Probe) {
			h.Errorf("wire: got %+v", r.Wire)
		}
	})
}

// TestLimits: more knocks at metered ports than the limits let through.
func TestLimits(t *testing.T) {
	p := policy()
	p.Limits = map[string]ratelimit.Limit{"ssh": {Rate: 2, Per: time.Second, Burst: 2}, "http": {Concurrent: 1}}
	p.SYN = ratelimit.Limit{Rate: 400, Per: time.Second, Burst: 50}
	each(t, p, func(h host) {
		h.Host.Serve(h, "tcp", 80)
		r := h.probe(h.config(80))
		h.wants(r)
		if r.Knocks[probe.Open] != 4 || r.Knocks[probe.Refused] != 12 {
			h.Errorf("got %v, want port 80 open and 22, 202 and 53 refused at 4 addresses", r.Knocks)
		}
	})
}

// TestForeignDrop: another program's table closes what the policy opens.
func TestForeignDrop(t *testing.T) {
	each(t, policy(), func(h host) {
		h.Host.Serve(h, "tcp", 80)
		foreign(h, nftables.ChainHookInput, nftables.ChainPolicyDrop)
		cfg := h.config(80)
		r := h.probe(cfg)
		got := h.found(r)
		for _, a := range h.addresses()[:4] {
			if want := fmt.Sprintf("tcp %v silent admitted=true", netip.AddrPortFrom(a, 80)); !slices.Contains(got, want) {
				h.Errorf("disagreements: want %q in\n%s", want, strings.Join(got, "\n"))
			}
		}
		if len(got) != 12 {
			h.Errorf("disagreements: got %d, want 22, 80 and 202 at 4 addresses:\n%s", len(got), strings.Join(got, "\n"))
		}
	})
}

// foreign makes a base chain of somebody else.
func foreign(h host, hook *nftables.ChainHook, policy nftables.ChainPolicy) {
	h.Helper()
	c, err := nftables.New()
	if err != nil {
		h.Fatal(err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "x"})
	chain := c.AddChain(&nftables.Chain{Name: "c", Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}})
	if err := c.Flush(); err != nil {
		h.Fatal(err)
	}
}

// TestHole: the kernel has another policy than the document.
func TestHole(t *testing.T) {
	each(t, func() firewall.Policy {
		p := policy()
		p.Ports = append(p.Ports, port("hole", firewall.TCP, 8080, ""), port("hole2", firewall.TCP, 999, ""), port("hole3", firewall.UDP, 161, ""))
		return p
	}(), func(h host) {
		h.Host.Serve(h, "tcp", 8080)
		p := policy()
		var err error
		if h.rs, err = firewall.Compile(&p, firewall.Source{Now: time.Now()}); err != nil {
			h.Fatal(err)
		}
		r := h.probe(h.config())
		var want []string
		for _, a := range h.addresses()[:4] {
			want = append(want, fmt.Sprintf("tcp %v open admitted=false", netip.AddrPortFrom(a, 8080)),
				fmt.Sprintf("tcp %v refused admitted=false", netip.AddrPortFrom(a, 999)),
				fmt.Sprintf("udp %v refused admitted=false", netip.AddrPortFrom(a, 161)))
		}
		h.wants(r, want...)
	})
}

// TestChangesMeanwhile: what disagreed with the policy of the beginning, and does not with that of the end, is no news.
func TestChangesMeanwhile(t *testing.T) {
	p := policy()
	p.Ports = append(p.Ports, port("new", firewall.TCP, 8080, ""))
	each(t, p, func(h host) {
		old := policy()
		before, err := firewall.Compile(&old, firewall.Source{Now: time.Now()})
		if err != nil {
			h.Fatal(err)
		}
		asked := 0
		cfg := h.config()
		cfg.Ruleset = func() (*firewall.Ruleset, error) {
			if asked++; asked == 1 {
				return before, nil
			}
			return h.rs, nil
		}
		h.wants(h.probe(cfg))
		if asked < 2 {
			h.Errorf("the policy was asked for %d times; port 8080 should have been doubted", asked)
		}
	})
}

// TestWithoutIPv6: a host with IPv4 alone, and one where new interfaces have no IPv6.
func TestWithoutIPv6(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		h := host{T: t, Topology: nstest.NewTopology(t)}
		h.Host.Serve(t, "tcp", 80)
		p := policy()
		var err error
		if h.rs, err = firewall.Compile(&p, firewall.Source{Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
		d, err := nft.New()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Apply(t.Context(), h.rs); err != nil {
			t.Fatal(err)
		}
		h.Host.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
		r := h.probe(h.config(80))
		h.wants(r)
		if r.Wire.V6.Host.IsValid() || len(r.Addresses) != 2 {
			t.Errorf("with IPv6 off for new interfaces: got %+v, %v, want IPv4 alone", r.Wire, r.Addresses)
		}
		cfg := h.config(80)
		cfg.Addresses = []netip.Addr{h.Host1[0]}
		if r := h.probe(cfg); r.Wire.V6.Host.IsValid() || r.Knocks[probe.Open] != 1 {
			t.Errorf("IPv4 alone: got %+v, %v", r.Wire, r.Knocks)
		}
	})
}

// TestStopped: a probe that is cancelled, or cannot begin, leaves nothing, and neither does one before it that was killed.
func TestStopped(t *testing.T) {
	each(t, policy(), func(h host) {
		before := h.world()
		ctx, cancel := context.WithCancel(h.Context())
		cfg := h.config()
		cfg.Starting = func(probe.Wire) { cancel() }
		if _, err := probe.Run(ctx, cfg); err == nil {
			h.Error("a cancelled probe: got no error")
		}
		if got := h.world(); got != before {
			h.Errorf("after a cancelled probe: got\n%s\nwant\n%s", got, before)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = probe.Link
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "left-over"}); err != nil {
			h.Fatal(err)
		}
		if err := probe.RemoveLeftover(); err != nil {
			h.Error(err)
		}
		if got := h.world(); got != before {
			h.Errorf("after removing a leftover: got\n%s\nwant\n%s", got, before)
		}
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			h.Fatal(err)
		}
		if _, err := probe.Run(h.Context(), h.config()); err == nil || !strings.Contains(err.Error(), "rename it") {
			h.Errorf("an interface of somebody else: got %v", err)
		}
		if _, err := netlink.LinkByName(probe.Link); err != nil {
			h.Errorf("somebody else's interface is gone: %v", err)
		}
	})
}
