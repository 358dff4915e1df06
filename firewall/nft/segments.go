package nft

import (
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// How many rules there are does not depend on how many segments there are: what belongs to which is said by sets.
//
//	own       interface . source          what a segment may send from
//	peers_X   address . protocol . port   what segments may use, by limit class
//	anywhere  source                      segments that reach all that is public
//	reach     source . address . port     what the others reach
//	names     interface . address         the same, found by name, on every port
//	nports    interface . address . port  and on one

// segments adds the chains and sets for networks of containers; see firewall.Segments.
func (s *spec) segments(rs *firewall.Ruleset) {
	if len(rs.Segments.Bridges) == 0 {
		return
	}
	s.segmentSets(rs)
	s.sender(rs)
	c := s.chain("segment", nil, "new flows from networks of containers")
	c.add("neighbours", icmp6("133", 133, 133), hopLimit255(), accept())
	c.add("neighbours2", icmp6("135-136", 135, 136), hopLimit255(), accept())
	c.add("listeners", icmp6("130-132", 130, 132), fromLinkLocal(), accept())
	c.add("listeners2", icmp6("143", 143, 143), fromLinkLocal(), accept())
	c.addBoth("inside", func(f family) []stmt { return []stmt{fromTo(f, "own"), goTo("segment_inside")} })
	c.add("outside", toOthers(), goTo("segment_outside"))
	refuse := goTo(s.refuse(firewall.ReasonEgress))
	c.add("refuse", refuse)

	inside := s.chain("segment_inside", nil, "to peers within a network of containers")
	for _, class := range peerClasses(rs) {
		within := accept()
		if m := rs.MeterOf(class); m != nil {
			within = goTo(s.peerLimit(*m))
		}
		s.eachFamily(peerSet(class), func(f family) {
			inside.add(peerSet(class)+f.digit, peer(f, peerSet(class)), within)
		})
	}
	inside.add("refuse", refuse)

	outside := s.chain("segment_outside", nil, "from networks of containers to the world")
	outside.addBoth("special", func(f family) []stmt { return []stmt{daddr(f, "special"), refuse} })
	s.eachFamily("anywhere", func(f family) { outside.add("anywhere"+f.digit, saddr(f, "anywhere"), accept()) })
	for _, p := range protocolsOf("") {
		is := l4proto(string(p), proto(p))
		outside.addBoth("names "+string(p)+" ", func(f family) []stmt { return []stmt{is, fromTo(f, "names"), accept()} })
		outside.addBoth("nports "+string(p)+" ", func(f family) []stmt { return []stmt{is, fromToPort(f, "nports"), accept()} })
		s.eachFamily("reach", func(f family) {
			outside.add("reach "+string(p)+" "+f.digit, is, reaches(f, "reach"), accept())
		})
	}
	outside.add("refuse", refuse)
}

// sender adds the check of sources to the earliest chain: what is forged must not reach connection tracking.
func (s *spec) sender(rs *firewall.Ruleset) {
	c := s.chain("sender", nil, "what networks of containers send must have a source of their own")
	c.addBoth("own", func(f family) []stmt { return []stmt{fromOwn(f, "own"), leave()} })
	c.add("neighbours", icmp6("133", 133, 133), hopLimit255(), leave())
	c.add("neighbours2", icmp6("135-136", 135, 136), hopLimit255(), leave())
	c.add("listeners", icmp6("130-132", 130, 132), fromLinkLocal(), leave())
	c.add("listeners2", icmp6("143", 143, 143), fromLinkLocal(), leave())
	c.add("refuse", goTo(s.refuse(firewall.ReasonSpoof)))
	for _, x := range s.chains {
		if x.name != rawChain {
			continue
		}
		for _, b := range rs.Segments.Bridges {
			x.add("sender "+b, iifname(b), jump(c.name))
		}
	}
}

func peerSet(class string) string { return "peers_" + word(class) + "_" }

// peerClasses are the limit classes that peers have, with "" for those that have none.
func peerClasses(rs *firewall.Ruleset) []string {
	var out []string
	for _, x := range rs.Segments.List {
		for _, p := range x.Peers {
			out = append(out, p.Meter)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// peerLimit makes the chain of a meter that counts by the peer's address.
func (s *spec) peerLimit(m firewall.Meter) string {
	c := s.chain("peer_"+word(m.Name), nil, "limit "+m.Name+": "+m.Limit.String()+" per app")
	s.meterBy(c, m, family.target, firewall.ReasonLimit.Of(m.Name), accept())
	return c.name
}

// target is what a meter of peers counts by.
func (f family) target() (text string, exprs []expr.Any) { return f.word + " daddr", f.addr(f.dst) }

func (s *spec) segmentSets(rs *firewall.Ruleset) {
	for _, f := range families() {
		var own, reach []tuple
		var anywhere []ranges.Range
		var names, ports []tuple
		peers := map[string][]tuple{}
		for _, x := range rs.Segments.List {
			net := x.V4
			if f.digit == "6" {
				net = x.V6
			}
			if !net.IsValid() {
				continue
			}
			whole := ranges.Of(net.Masked())
			own = append(own, tuple{from: concat(interfaceKey(x.Bridge), whole.From.AsSlice()), to: concat(interfaceKey(x.Bridge), whole.To.AsSlice())})
			if x.Egress == firewall.EgressInternet {
				anywhere = append(anywhere, whole)
			}
			for _, r := range x.Reach {
				first, last := r.Port, r.Port
				if r.Port == 0 {
					last = 65535
				}
				if r.Range.Is4() == net.Addr().Is4() {
					reach = append(reach, tuple{from: concat(whole.From.AsSlice(), r.Range.From.AsSlice(), be16(first)),
						to: concat(whole.To.AsSlice(), r.Range.To.AsSlice(), be16(last))})
				}
			}
			for _, a := range x.Names {
				switch {
				case a.Addr.Is4() != net.Addr().Is4():
				case a.Port == 0:
					names = append(names, tuple{from: concat(interfaceKey(x.Bridge), a.Addr.AsSlice()), until: a.Until})
				default:
					ports = append(ports, tuple{from: concat(interfaceKey(x.Bridge), a.Addr.AsSlice(), be16(a.Port)), until: a.Until})
				}
			}
			for _, p := range x.Peers {
				if p.Addr.Is4() == net.Addr().Is4() {
					k := concat(p.Addr.AsSlice(), []byte{proto(p.Protocol)}, be16(p.Port))
					peers[p.Meter] = append(peers[p.Meter], tuple{from: k, to: k})
				}
			}
		}
		v6 := f.digit == "6"
		s.sets = append(s.sets,
			tuples("own"+f.digit, ownKey(f), own),
			&set{name: "special" + f.digit, kind: kindRanges, v6: v6, generations: true, small: ofFamily(untimed(ranges.Reserved()), v6)},
			&set{name: "names" + f.digit, kind: kindNames, v6: v6, key: ownKey(f), tuples: names},
			&set{name: "nports" + f.digit, kind: kindNames, v6: v6, key: namedPortKey(f), tuples: ports})
		s.smallFamily("anywhere", anywhere, v6)
		if len(reach) > 0 {
			s.sets = append(s.sets, tuples("reach"+f.digit, reachKey(f), reach))
		}
		for _, class := range peerClasses(rs) {
			if len(peers[class]) > 0 {
				s.sets = append(s.sets, tuples(peerSet(class)+f.digit, peerKey(f), peers[class]))
			}
		}
	}
}

// interfaceKey is the name as a set has it: IFNAMSIZ bytes (linux/if.h).
func interfaceKey(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b[:unix.IFNAMSIZ-1], name)
	return b
}

// concat joins the fields of a key, each padded to the next register.
func concat(fields ...[]byte) []byte {
	var out []byte
	for _, f := range fields {
		out = append(out, f...)
		out = append(out, make([]byte, (4-len(f)%4)%4)...)
	}
	return out
}
