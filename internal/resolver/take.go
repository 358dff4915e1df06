package resolver

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/platformd/platformd/firewall/ranges"
)

// take puts into reply what of an answer belongs to the question: the aliases that lead from its name, and the records of its type
// at their end. Addresses that are not public are left out, and so is what can carry addresses beside them (SVCB, HTTPS). It
// gives the addresses, and how long they hold.
func (r *Resolver) take(reply, up *dns.Msg, name string, qtype uint16) (addrs []netip.Addr, ttl uint32) {
	ttl = maxTTL
	at := name
	for range maxAliases {
		i := slices.IndexFunc(up.Answer, func(rr dns.RR) bool {
			c, is := rr.(*dns.CNAME)
			return is && qtype != dns.TypeCNAME && strings.EqualFold(c.Hdr.Name, at) && c.Hdr.Class == dns.ClassINET
		})
		if i < 0 {
			break
		}
		c := up.Answer[i].(*dns.CNAME)
		reply.Answer = append(reply.Answer, held(c, &ttl))
		at = c.Target
	}
	for _, rr := range up.Answer {
		h := rr.Header()
		if !strings.EqualFold(h.Name, at) || h.Rrtype != qtype || h.Class != dns.ClassINET || len(reply.Answer) >= maxAliases+maxAddrs {
			continue
		}
		switch x := rr.(type) {
		case *dns.A:
			a, ok := netip.AddrFromSlice(x.A.To4())
			if !ok || !r.public(a) {
				continue
			}
			addrs = append(addrs, a)
		case *dns.AAAA:
			a, ok := netip.AddrFromSlice(x.AAAA.To16())
			if !ok || a.Is4In6() || !r.public(a) {
				continue
			}
			addrs = append(addrs, a)
		case *dns.SVCB, *dns.HTTPS, *dns.RFC3597, *dns.APL:
			continue
		}
		reply.Answer = append(reply.Answer, held(rr, &ttl))
	}
	for _, rr := range up.Ns { // says how long there is no such thing
		if soa, is := rr.(*dns.SOA); is && len(addrs) == 0 && len(reply.Ns) == 0 {
			reply.Ns = append(reply.Ns, held(soa, new(uint32)))
		}
	}
	for _, rr := range reply.Answer { // one time for all of them, that of the shortest
		rr.Header().Ttl = ttl
	}
	return addrs, ttl
}

// held is a copy of a record that lives no longer than maxTTL, and lowers ttl to its time.
func held(rr dns.RR, ttl *uint32) dns.RR {
	out := dns.Copy(rr)
	out.Header().Ttl = min(out.Header().Ttl, maxTTL)
	*ttl = min(*ttl, out.Header().Ttl)
	return out
}

func (r *Resolver) public(a netip.Addr) bool {
	return !slices.ContainsFunc(r.special, func(s ranges.Range) bool { return s.Contains(a) })
}
