package nft

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"

	"github.com/platformd/platformd/firewall"
)

// services decides about new flows to this host and to published ports: chain "ports", one chain per service that has
// conditions, one per limit, and the map from protocol and port to one of them.
func (s *spec) services(rs *firewall.Ruleset) {
	c := s.chain("ports", nil, "what services admit; everything else is dropped")
	c.add("forwarded", toOthers(), accept())
	c.add("services", services("services")) // before the others: most new flows are for a service; no other protocol is in the map
	s.echo(c, rs)
	c.add("errors", icmp4("3", 3, 3), accept()) // destination unreachable, with it path MTU discovery (RFC 1191)
	c.add("errors2", icmp4("11-12", 11, 12), accept())
	c.add("errors6", icmp6("1-4", 1, 4), accept()) // RFC 4890, section 4.4.1: must not be dropped
	c.add("igmp", iponly(ip4), l4proto("igmp", 2), accept())
	c.add("closed", goTo(s.refuse(firewall.ReasonClosed)))

	m := &set{name: "services", kind: kindServices, generations: true}
	s.sets = append(s.sets, m)
	verdicts := map[string]*expr.Verdict{}
	for _, x := range rs.Services {
		verdicts[x.Name] = s.service(rs, x)
	}
	for _, seg := range segments(rs.Services) {
		v := verdicts[seg.services[0]]
		if len(seg.services) > 1 {
			v = s.shared(rs, seg, verdicts)
		}
		m.services = append(m.services, servicePort{seg.protocol, seg.ports, v})
	}
}

// service gives the verdict for packets to a port of x: accept, or a jump to where its conditions are.
func (s *spec) service(rs *firewall.Ruleset, x firewall.Service) *expr.Verdict {
	within := &expr.Verdict{Kind: expr.VerdictAccept}
	if m := rs.MeterOf(x.Meter); m != nil {
		within = &expr.Verdict{Kind: expr.VerdictJump, Chain: s.limit(*m)}
	}
	if len(x.Sources) == 0 && len(x.Interfaces) == 0 {
		return within
	}
	admit := stmt{verdictText(within), []expr.Any{within}}
	c := s.chain("svc_"+word(x.Name), nil, "conditions of service "+x.Name)
	from := "s_" + word(x.Name) + "_"
	s.smallSets(from, x.Sources)
	interfaces := x.Interfaces
	if len(interfaces) == 0 {
		interfaces = []string{""}
	}
	for _, name := range interfaces {
		var in []stmt
		if name != "" {
			in = []stmt{iifname(name)}
		}
		if len(x.Sources) == 0 {
			c.add("admit "+name, append(in, admit)...)
			continue
		}
		s.eachFamily(from, func(f family) {
			c.add("admit "+name+" "+f.digit, append(slices.Clone(in), saddr(f, from), admit)...)
		})
	}
	return &expr.Verdict{Kind: expr.VerdictJump, Chain: c.name}
}

// limit makes the chain of a meter, once. It always ends the packet, and never meters an always-allowed source.
func (s *spec) limit(m firewall.Meter) string {
	name := "limit_" + word(m.Name)
	for _, c := range s.chains {
		if c.name == name {
			return name
		}
	}
	c := s.chain(name, nil, "limit "+m.Name+": "+m.Limit.String()+" per source")
	c.addBoth("allow", func(f family) []stmt { return []stmt{saddr(f, "allow"), accept()} })
	s.meter(c, m, firewall.ReasonLimit.Of(m.Name), accept())
	return name
}

// shared makes the chain for a port that several services name: each is asked in turn, those without a limit first,
// because what one service admits is not refused by the limit of another.
func (s *spec) shared(rs *firewall.Ruleset, seg segment, verdicts map[string]*expr.Verdict) *expr.Verdict {
	name := fmt.Sprintf("shared_%s_%d", seg.protocol, seg.ports.First)
	c := s.chain(name, nil, "a port that several services name")
	for _, metered := range []bool{false, true} {
		for _, x := range rs.Services {
			if slices.Contains(seg.services, x.Name) && (x.Meter != "") == metered {
				v := verdicts[x.Name]
				c.add(x.Name, stmt{verdictText(v), []expr.Any{v}})
			}
		}
	}
	return &expr.Verdict{Kind: expr.VerdictJump, Chain: name}
}

// echo admits echo requests, as any service does.
func (s *spec) echo(c *chain, rs *firewall.Ruleset) {
	if rs.Echo == firewall.EchoClosed {
		return
	}
	c.add("echo4", icmp4("echo-request", 8, 8), accept())
	c.add("echo6", icmp6("echo-request", 128, 128), accept())
}

// echoLimit counts echo requests before anything else, because all but the first of a ping belong to an established flow.
// What is within the limit goes on.
func (s *spec) echoLimit(c *chain, rs *firewall.Ruleset) {
	m := rs.MeterOf("ping")
	if m == nil || rs.Echo != firewall.EchoLimited {
		return
	}
	l := s.chain("ping", nil, "limit ping: "+m.Limit.String()+" per source")
	c.add("echo4", icmp4("echo-request", 8, 8), jump(l.name))
	c.add("echo6", icmp6("echo-request", 128, 128), jump(l.name))
	l.add("loopback", iifname("lo"), leave())
	l.add("forwarded", toOthers(), leave())
	l.addBoth("allow", func(f family) []stmt { return []stmt{saddr(f, "allow"), leave()} })
	s.meter(l, *m, firewall.ReasonLimit.Of(m.Name), leave())
}

func verdictText(v *expr.Verdict) string {
	if v.Kind == expr.VerdictAccept {
		return "accept"
	}
	return "jump " + v.Chain
}

// A segment is a range of ports for which the same services stand.
type segment struct {
	protocol firewall.Protocol
	ports    firewall.PortRange
	services []string // sorted
}

// segments cuts the port ranges of all services into disjoint ones, because a map cannot hold overlapping keys.
func segments(services []firewall.Service) []segment {
	var out []segment
	for _, p := range protocolsOf("") {
		var cuts []int
		for _, x := range services {
			for _, r := range x.Ports {
				if x.Protocol == p {
					cuts = append(cuts, int(r.First), int(r.Last)+1)
				}
			}
		}
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
		for i := 0; i+1 < len(cuts); i++ {
			seg := segment{protocol: p, ports: firewall.PortRange{First: uint16(cuts[i]), Last: uint16(cuts[i+1] - 1)}}
			for _, x := range services {
				if x.Protocol == p && slices.ContainsFunc(x.Ports, func(r firewall.PortRange) bool {
					return r.First <= seg.ports.First && seg.ports.Last <= r.Last
				}) {
					seg.services = append(seg.services, x.Name)
				}
			}
			if len(seg.services) == 0 {
				continue
			}
			slices.Sort(seg.services)
			if n := len(out); n > 0 && out[n-1].protocol == p && out[n-1].ports.Last+1 == seg.ports.First && slices.Equal(out[n-1].services, seg.services) {
				out[n-1].ports.Last = seg.ports.Last
				continue
			}
			out = append(out, seg)
		}
	}
	slices.SortFunc(out, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.ports.First, b.ports.First))
	})
	return out
}
