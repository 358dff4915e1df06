package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// Chains for networks of containers; see firewall.Segments. How many there are does not depend on how many segments there
// are: what belongs to which is said by sets.
//
//	own       source net, interface           what a segment may send from
//	p_X       address, port                   what segments may use, by limit class
//	anywhere  source net                      segments that reach all that is public
//	rN        destination net, interface      what the others reach on port N; on every port where N is 0
//	names     destination net, interface      the same, found by name, on every port
//	nports    destination, port, source net   and on one
const (
	chainSegment = "PLATFORM_SEGMENT" // may it be sent at all?
	chainInside  = "PLATFORM_INSIDE"  // to peers within a network
	chainOutside = "PLATFORM_OUTSIDE" // to the world
	peerPrefix   = "PLATFORM_PEER_"   // one for each meter of peers
)

// segments is asked about every packet that comes from a network of containers, to this host and through it. What is
// admitted returns.
func (b *builder) segments() {
	if len(b.rs.Segments.Bridges) == 0 {
		return
	}
	refuse := b.refuse(firewall.ReasonEgress)
	c := b.chain(chainSegment)
	local := m("-m addrtype ! --dst-type UNICAST")
	if b.v6 {
		for _, t := range []int{133, 135, 136} {
			c.add(fmt.Sprint("neighbours-", t), m("-p ipv6-icmp -m icmp6 --icmpv6-type %d -m hl --hl-eq 255", t), "-j", "RETURN")
		}
		for _, t := range []int{130, 131, 132, 143} {
			c.add(fmt.Sprint("listeners-", t), m("-s fe80::/10 -p ipv6-icmp -m icmp6 --icmpv6-type %d", t), "-j", "RETURN")
		}
		local = m("-m addrtype --dst-type LOCAL") // of IPv6, these are unicast too
	}
	c.add("own", b.notSet("own", "src,src"), "-g", b.refuse(firewall.ReasonSpoof))
	c.add("established", m("-m conntrack --ctstate RELATED,ESTABLISHED"), "-j", "RETURN")
	c.add("invalid", m("-m conntrack --ctstate INVALID"), "-g", b.refuse(firewall.ReasonInvalid))
	c.add("published", m("-m conntrack --ctstate DNAT"), "-g", refuse) // a port of the host, before it was translated
	c.add("inside", b.set("own", "dst,src"), "-g", chainInside)
	c.add("local", local, "-g", refuse)
	c.add("outside", nil, "-g", chainOutside)

	inside := b.chain(chainInside)
	for _, class := range peerClasses(b.rs) {
		if !b.has(peerSet(class)) {
			continue
		}
		within := m("-j RETURN")
		if mt := b.meter(class); mt != nil {
			within = []string{"-g", b.peerLimit(*mt)}
		}
		inside.add("peers-"+class, b.set(peerSet(class), "dst,dst"), within...)
	}
	inside.add("refuse", nil, "-g", refuse)

	outside := b.chain(chainOutside)
	outside.add("special", b.set("special", "dst"), "-g", refuse)
	outside.add("anywhere", b.set("anywhere", "src"), "-j", "RETURN")
	for _, p := range []firewall.Protocol{firewall.TCP, firewall.UDP} {
		is := m("-p %s", p)
		outside.add("names-"+string(p), append(is[:2:2], b.set("names", "dst,src")...), "-j", "RETURN")
		outside.add("nports-"+string(p), append(is[:2:2], b.set("nports", "dst,dst,src")...), "-j", "RETURN")
		for _, port := range reachPorts(b.rs) {
			if !b.has(reachSet(port)) {
				continue
			}
			to := is[:2:2]
			if port != 0 {
				to = append(to, m("-m %s --dport %d", p, port)...)
			}
			outside.add(fmt.Sprintf("reach-%s-%d", p, port), append(to, b.set(reachSet(port), "dst,src")...), "-j", "RETURN")
		}
	}
	outside.add("refuse", nil, "-g", refuse)
}

// fromSegments adds a rule for each kind of interface that segments have.
func (b *builder) fromSegments(c *chain, id, flag string, target ...string) {
	for _, name := range b.rs.Segments.Bridges {
		c.add(id+"-"+name, m("%s %s", flag, wildcard(name)), target...)
	}
}

func reachSet(port uint16) string { return fmt.Sprintf("r%d_", port) }

// reachPorts are those that lists of addresses name.
func reachPorts(rs *firewall.Ruleset) []uint16 {
	var out []uint16
	for _, x := range rs.Segments.List {
		for _, r := range x.Reach {
			out = append(out, r.Port)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func peerSet(class string) string { return "p_" + hash("peers", class) + "_" }

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

// peerLimit makes the chain of a meter that counts by the peer's address. There are few peers, so hashlimit's own memory
// does, which refuses what does not fit.
func (b *builder) peerLimit(mt firewall.Meter) string {
	name := chainName(peerPrefix, mt.Name)
	c := b.chain(name)
	to := b.refuse(firewall.ReasonLimit.Of(mt.Name))
	if mt.Limit.Concurrent > 0 {
		mask := 32
		if b.v6 {
			mask = 128
		}
		c.add("concurrent", m("-m connlimit --connlimit-above %d --connlimit-mask %d --connlimit-daddr", mt.Limit.Concurrent, mask), "-g", to)
	}
	if mt.Limit.Rate > 0 {
		rate, ok := limitRate(mt.Limit)
		if !ok && b.err == nil {
			b.err = fmt.Errorf("meter %q: limit %v cannot be said in events per second, minute, hour or day", mt.Name, mt.Limit)
		}
		c.add("rate", m("-m hashlimit --hashlimit-above %s --hashlimit-burst %d --hashlimit-mode dstip --hashlimit-name %sp_%s_%s --hashlimit-htable-size %d --hashlimit-htable-max %d --hashlimit-htable-expire %d",
			rate, mt.Limit.Tokens(), setPrefix, hash(mt.Name, mt.Limit.String()), b.digit, buckets(mt.Sources), min(4*mt.Sources+1024, 1<<20), refill(mt.Limit).Milliseconds()+1001), "-g", to)
	}
	return name
}

// segmentSets makes the sets of a ruleset's segments.
func (s *spec) segmentSets(rs *firewall.Ruleset, now time.Time) {
	if len(rs.Segments.Bridges) == 0 {
		return
	}
	for _, v6 := range []bool{false, true} {
		digit := digitOf(v6)
		own, names, nports := map[string]time.Time{}, map[string]time.Time{}, map[string]time.Time{}
		reach, peers := map[uint16]map[string]time.Time{}, map[string]map[string]time.Time{}
		var anywhere []ranges.Range
		for _, x := range rs.Segments.List {
			net := x.V4
			if v6 {
				net = x.V6
			}
			if !net.IsValid() {
				continue
			}
			net = net.Masked()
			own[net.String()+","+x.Bridge] = time.Time{}
			if x.Egress == firewall.EgressInternet {
				anywhere = append(anywhere, ranges.Of(net))
			}
			for _, r := range x.Reach {
				if r.Range.Is4() != net.Addr().Is4() {
					continue
				}
				if reach[r.Port] == nil {
					reach[r.Port] = map[string]time.Time{}
				}
				for _, p := range prefixes(r.Range) {
					reach[r.Port][p.String()+","+x.Bridge] = time.Time{}
				}
			}
			for _, a := range x.Names {
				switch {
				case a.Addr.Is4() != net.Addr().Is4() || !a.Until.After(now):
				case a.Port == 0:
					names[netip.PrefixFrom(a.Addr, a.Addr.BitLen()).String()+","+x.Bridge] = a.Until
				default:
					nports[fmt.Sprintf("%v,tcp:%d,%v", a.Addr, a.Port, net)] = a.Until
					nports[fmt.Sprintf("%v,udp:%d,%v", a.Addr, a.Port, net)] = a.Until
				}
			}
			for _, p := range x.Peers {
				if p.Addr.Is4() == net.Addr().Is4() {
					if peers[p.Meter] == nil {
						peers[p.Meter] = map[string]time.Time{}
					}
					peers[p.Meter][fmt.Sprintf("%v,%s:%d", p.Addr, p.Protocol, p.Port)] = time.Time{}
				}
			}
		}
		s.add(&set{name: "special" + digit, kind: kindAllow, v6: v6, members: untimed(ranges.Reserved(), v6)})
		s.add(&set{name: "anywhere" + digit, kind: kindAllow, v6: v6, members: untimed(anywhere, v6)})
		s.add(&set{name: "own" + digit, kind: kindTuples, v6: v6, dimensions: "hash:net,iface", tuples: own})
		s.add(&set{name: "names" + digit, kind: kindNames, v6: v6, max: maxNames, dimensions: "hash:net,iface", tuples: names})
		s.add(&set{name: "nports" + digit, kind: kindNames, v6: v6, max: maxNames, dimensions: "hash:ip,port,net", tuples: nports})
		for port, entries := range reach {
			s.add(&set{name: reachSet(port) + digit, kind: kindTuples, v6: v6, dimensions: "hash:net,iface", tuples: entries})
		}
		for class, entries := range peers {
			s.add(&set{name: peerSet(class) + digit, kind: kindTuples, v6: v6, dimensions: "hash:ip,port", tuples: entries})
		}
	}
}

// maxNames is how many addresses can be reached by name at once, by all segments together.
const maxNames = 1 << 16
