package nft

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/nftables/expr"

	"github.com/platformd/platformd/firewall"
)

// spec is the table as it should be: the same decisions as in the ruleset, spelled in chains, rules and sets.
type spec struct {
	chains   []*chain
	sets     []*set
	counters []string
}

type hook struct {
	name     string
	number   uint32
	priority int32
}

type chain struct {
	name  string
	doc   string // shown in the generated page
	hook  *hook  // nil for a chain that is only jumped to
	rules []rule
}

type rule struct {
	id    string // "030 blocks4": unique in its chain and ascending; stored in the kernel as the rule's comment
	text  string
	exprs []expr.Any
}

func (c *chain) add(id string, stmts ...stmt) {
	r := rule{id: fmt.Sprintf("%03d %s", 10*(len(c.rules)+1), id)}
	var words []string
	for _, s := range stmts {
		words = append(words, s.text)
		r.exprs = append(r.exprs, s.exprs...)
	}
	r.text = strings.Join(words, " ")
	c.rules = append(c.rules, r)
}

func (c *chain) addBoth(id string, stmts func(family) []stmt) {
	for _, f := range families() {
		c.add(id+f.digit, stmts(f)...)
	}
}

// word makes an nft identifier of one of our names: dashes are not allowed there, underscores are not allowed in ours.
func word(name string) string { return strings.NewReplacer("-", "_", ":", "_").Replace(name) }

func (s *spec) chain(name string, h *hook, doc string) *chain {
	c := &chain{name: name, hook: h, doc: doc}
	s.chains = append(s.chains, c)
	return c
}

// refuse makes the chain that ends packets for a reason, once, and gives its name.
func (s *spec) refuse(reason firewall.Reason) string {
	name := "drop_" + word(string(reason))
	for _, c := range s.chains {
		if c.name == name {
			return name
		}
	}
	c := s.chain(name, nil, "counts, logs and drops: "+string(reason))
	c.add("count", counter(word(string(reason))))
	if reason != firewall.ReasonBan { // a ban is an event already, and its drops must cost as little as possible
		c.add("log", logged(reason))
	}
	c.add("drop", drop())
	s.counters = append(s.counters, word(string(reason)))
	return name
}

// newSpec spells the ruleset.
func newSpec(rs *firewall.Ruleset) *spec {
	s := &spec{}
	if rs.Off {
		return s
	}
	s.listSets(rs)
	s.raw(rs)
	s.segments(rs)
	s.prerouting(rs)
	s.services(rs)
	s.destinations(rs)
	s.forward(rs)
	s.output(rs)
	return s
}

// rawChain has the one rule with a counter of its own, of bans.
const rawChain = "raw_pre"

// raw runs before connection tracking (priority -200) and before anything else of the host: what a banned source sends
// costs one lookup in a hash.
func (s *spec) raw(rs *firewall.Ruleset) {
	c := s.chain(rawChain, &hook{"prerouting", 0, -310}, "bans and the limit on new TCP connections, before connection tracking")
	ban := s.refuse(firewall.ReasonBan)
	// Without a jump to the chain that v6 goes to, and with a counter of its own, because one with a name costs 2 % of such a
	// packet: what a banned source sends must cost as little as possible.
	c.add("bans4", source64(ip4, "bans"), counterHere(), drop())
	c.add("bans6", source64(ip6, "bans"), goTo("banned6"))
	// The /64 of a ban may be the one that the host itself is in: its router must stay reachable.
	b := s.chain("banned6", nil, "neighbours stay neighbours")
	b.add("neighbours", icmp6("133-136", 133, 136), hopLimit255(), accept())
	b.add("drop", goTo(ban))
	m := rs.MeterOf(rs.SYN)
	if rs.SYN == "" || m == nil {
		return
	}
	limit := s.chain("syn", nil, "new TCP connections of one source to all ports")
	c.add("syn", synOnly(), jump(limit.name))
	limit.add("loopback", iifname("lo"), leave())
	limit.addBoth("allow", func(f family) []stmt { return []stmt{saddr(f, "allow"), leave()} })
	s.meter(limit, *m, firewall.ReasonSYN, leave())
}

// prerouting runs after connection tracking (-200) and before destination NAT (-100), so that a published container port
// is seen as the port that the packet was sent to.
func (s *spec) prerouting(rs *firewall.Ruleset) {
	c := s.chain("pre", &hook{"prerouting", 0, -150}, "the policy for what comes in, for the host and for published ports alike")
	s.echoLimit(c, rs)
	c.add("established", ctState("established", "related"), accept())
	c.add("loopback", iifname("lo"), accept())
	c.add("invalid", ctState("invalid"), goTo(s.refuse(firewall.ReasonInvalid)))
	for _, b := range rs.Segments.Bridges {
		c.add("segments "+b, iifname(b), goTo("segment"))
	}
	c.add("neighbours", icmp6("133-136", 133, 136), hopLimit255(), accept())
	c.add("listeners", icmp6("130-132", 130, 132), fromLinkLocal(), accept())
	c.add("listeners2", icmp6("143", 143, 143), fromLinkLocal(), accept())
	c.add("dhcp4", iponly(ip4), l4proto("udp", proto(firewall.UDP)), sport(single(67)), dport(single(68)), accept())
	c.add("dhcp6", fromLinkLocal(), l4proto("udp", proto(firewall.UDP)), sport(single(547)), dport(single(546)), accept())
	c.addBoth("allow", func(f family) []stmt { return []stmt{saddr(f, "allow"), goTo("ports")} })
	block := s.refuse(firewall.ReasonBlock)
	c.addBoth("blocks", func(f family) []stmt { return []stmt{saddr(f, "blocks"), goTo(block)} })
	if s.has("feeds4") || s.has("feeds6") || len(rs.Geo) > 0 {
		// What containers send outwards has the container's address as its source; no list of others knows it.
		for _, b := range rs.Forward.Bridges {
			c.add("bridge "+b, iifname(b), goTo("ports"))
		}
	}
	s.eachFamily("pages", func(f family) { c.add("pages"+f.digit, outsidePages(f, f.src), goTo("ports")) })
	s.eachFamily("feeds", func(f family) {
		c.add("feeds"+f.digit, saddr(f, "feeds"), goTo(s.refuse(firewall.ReasonFeed)))
	})
	for _, g := range rs.Geo {
		s.geo(c, g)
	}
	c.add("ports", goTo("ports"))
}

func (s *spec) geo(c *chain, g firewall.GeoScope) {
	reason := s.refuse(firewall.ReasonGeo.Of(g.Name))
	match := func(f family) []stmt {
		m := saddr(f, g.Name+"_")
		if g.Refuse == "notin" {
			l := m.exprs[len(m.exprs)-1].(*expr.Lookup)
			l.Invert = true
			m.text = strings.Replace(m.text, "@", "!= @", 1)
		}
		return []stmt{m}
	}
	for _, f := range families() {
		if g.Refuse != "notin" && !s.has(g.Name+"_"+f.digit) {
			continue
		}
		if len(g.Ports) == 0 {
			c.add(g.Name+" "+f.digit, append(match(f), goTo(reason))...)
			continue
		}
		for _, p := range protocolsOf(g.Protocol) {
			for _, r := range g.Ports {
				stmts := append([]stmt{l4proto(string(p), proto(p)), dport(r)}, match(f)...)
				c.add(fmt.Sprintf("%s %s %s %s", g.Name, p, r, f.digit), append(stmts, goTo(reason))...)
			}
		}
	}
}

func protocolsOf(p firewall.Protocol) []firewall.Protocol {
	if p == "" {
		return []firewall.Protocol{firewall.TCP, firewall.UDP}
	}
	return []firewall.Protocol{p}
}

// destinations drops new flows to what is blocked; jumped to from forward and output. Without it a peer that the host
// itself is sending to would stay connected, because its outgoing packets make a new entry in connection tracking.
func (s *spec) destinations(*firewall.Ruleset) {
	c := s.chain("destinations", nil, "new flows to what is blocked")
	c.add("neighbours", icmp6("133-136", 133, 136), leave()) // a router in a blocked range must stay reachable
	c.addBoth("allow", func(f family) []stmt { return []stmt{daddr(f, "allow"), leave()} })
	ban, block := s.refuse(firewall.ReasonBan), s.refuse(firewall.ReasonBlock)
	c.add("bans4", daddr(ip4, "bans"), goTo(ban))
	c.add("bans6", destination64("bans"), goTo(ban))
	c.addBoth("blocks", func(f family) []stmt { return []stmt{daddr(f, "blocks"), goTo(block)} })
	s.eachFamily("pages", func(f family) { c.add("pages"+f.digit, outsidePages(f, f.dst), leave()) })
	s.eachFamily("feeds", func(f family) {
		c.add("feeds"+f.digit, daddr(f, "feeds"), goTo(s.refuse(firewall.ReasonFeed)))
	})
}

func (s *spec) forward(rs *firewall.Ruleset) {
	c := s.chain("forward", &hook{"forward", 2, -10}, "only drops: what an engine's own chains admit later must also pass here")
	c.add("established", ctState("established", "related"), accept())
	c.add("destinations", jump("destinations"))
	for _, b := range rs.Segments.Bridges {
		c.add("from segments "+b, iifname(b), accept()) // "segment" has been asked
	}
	for _, b := range rs.Segments.Bridges {
		c.add("to segments "+b, oifname(b), goTo("to_segment"))
	}
	if len(rs.Segments.Bridges) > 0 {
		to := s.chain("to_segment", nil, "into networks of containers: only through published ports")
		to.add("published", ctDNAT(), accept())
		to.add("refuse", goTo(s.refuse(firewall.ReasonForward)))
	}
	if rs.Forward.Open {
		return
	}
	c.add("published", ctDNAT(), accept())
	for _, b := range rs.Forward.Bridges {
		c.add("bridge "+b, iifname(b), accept())
	}
	c.add("refuse", goTo(s.refuse(firewall.ReasonForward)))
}

func (s *spec) output(rs *firewall.Ruleset) {
	c := s.chain("out", &hook{"output", 3, -10}, "flows that the host opens")
	c.add("established", ctState("established", "related"), accept())
	c.add("loopback", oifname("lo"), accept())
	c.add("destinations", jump("destinations"))
	if !rs.Output.Closed {
		return
	}
	for _, b := range rs.Segments.Bridges {
		c.add("segments "+b, oifname(b), accept()) // the proxy
	}
	c.add("icmp", l4proto("icmp", 1), accept())
	c.add("icmpv6", l4proto("ipv6-icmp", 58), accept())
	for _, p := range protocolsOf("") {
		c.add("dns "+string(p), l4proto(string(p), proto(p)), dport(single(53)), accept())
	}
	c.add("dhcp", l4proto("udp", proto(firewall.UDP)), dport(single(67)), accept())
	c.add("dhcp6", l4proto("udp", proto(firewall.UDP)), dport(single(547)), accept())
	for _, x := range rs.Output.Services {
		for _, r := range x.Ports {
			to := []stmt{l4proto(string(x.Protocol), proto(x.Protocol)), dport(r)}
			if len(x.Sources) == 0 {
				c.add("open "+x.Name+" "+r.String(), append(to, accept())...)
				continue
			}
			s.eachFamily("to_"+word(x.Name)+"_", func(f family) {
				c.add("open "+x.Name+" "+r.String()+" "+f.digit, append(to[:2:2], daddr(f, "to_"+word(x.Name)+"_"), accept())...)
			})
		}
	}
	c.add("refuse", goTo(s.refuse(firewall.ReasonOutput)))
}

// meter ends what goes beyond m for a reason, and ends the rest with within.
func (s *spec) meter(c *chain, m firewall.Meter, reason firewall.Reason, within stmt) {
	s.meterBy(c, m, family.source, reason, within)
}

// meterBy is meter for something else than the source.
func (s *spec) meterBy(c *chain, m firewall.Meter, by counted, reason firewall.Reason, within stmt) {
	beyond := goTo(s.refuse(reason))
	if m.Limit.Concurrent > 0 {
		s.meterSet("c_"+word(m.Name)+"_", m, 0)
		c.addBoth("concurrent", func(f family) []stmt {
			return []stmt{countMeter(f, by, "c_"+word(m.Name)+"_", m.Limit.Concurrent), beyond}
		})
	}
	if m.Limit.Rate > 0 {
		// A source is forgotten when its bucket has been full again for a while, which changes nothing for it.
		refill := time.Duration(m.Limit.Tokens()) * m.Limit.Per / time.Duration(m.Limit.Rate)
		s.meterSet("m_"+word(m.Name)+"_", m, max(refill+refill/4, 10*time.Second).Round(time.Second))
		c.addBoth("rate", func(f family) []stmt {
			st := rateMeter(f, by, "m_"+word(m.Name)+"_", m.Limit, m.AdmitWhenFull)
			if m.AdmitWhenFull {
				return []stmt{st, beyond}
			}
			return []stmt{st, within}
		})
		if !m.AdmitWhenFull {
			c.add("refuse", beyond)
			return
		}
	}
	c.add("within", within)
}

func iponly(f family) stmt {
	return stmt{"meta nfproto " + map[string]string{"4": "ipv4", "6": "ipv6"}[f.digit], f.only()}
}

func single(p uint16) firewall.PortRange { return firewall.PortRange{First: p, Last: p} }

// destination64 matches the /64 of an IPv6 destination.
func destination64(set string) stmt {
	exprs := append(ip6.addr(ip6.dst), &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: ip6.len, Mask: ip6.mask, Xor: make([]byte, 16)}, lookup(set+"6"))
	return stmt{"ip6 daddr & ffff:ffff:ffff:ffff:: @" + set + "6", exprs}
}
