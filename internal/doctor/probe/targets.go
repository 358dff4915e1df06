package probe

import (
	"net/netip"
	"slices"

	"github.com/platformd/platformd/firewall"
)

// Ports that are knocked at beside those of the policy and those where somebody listens.
const (
	sampleFirst, sampleLast = 1, 1024
	// maxOfRange is how many ports of one range of the policy are knocked at.
	maxOfRange = 64
)

// sampleTCP are ports above the well-known ones on which programs listen that were not meant for everybody.
func sampleTCP() []uint16 {
	return []uint16{1433, 1521, 2049, 2375, 2376, 2377, 3000, 3306, 3389, 4000, 4190, 4243, 5000, 5432, 5601, 5672, 5900, 5984, 6379, 6443,
		7000, 7001, 8000, 8008, 8080, 8081, 8086, 8088, 8443, 8500, 8888, 9000, 9090, 9092, 9100, 9200, 9443, 10000, 10250, 11211, 15672, 27017, 50000}
}

// sampleUDP are the ports of programs that answer to anybody.
func sampleUDP() []uint16 {
	return []uint16{19, 53, 67, 69, 111, 123, 137, 161, 389, 443, 500, 514, 1194, 1900, 3478, 4500, 5353, 11211, 51820}
}

// target is one port to knock at.
type target struct {
	proto firewall.Protocol
	to    netip.AddrPort
}

// reachable are the own addresses that are knocked at: global ones, in a family that the wire has, at most maxAddresses.
func reachable(own []netip.Addr, w Wire) (out []netip.Addr, skipped int) {
	for _, a := range own {
		a = a.Unmap().WithZone("")
		if a.IsGlobalUnicast() && w.of(a).Host.IsValid() && !w.Contains(a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	if len(out) <= maxAddresses {
		return out, 0
	}
	return out[:maxAddresses], len(out) - maxAddresses
}

// targets lists what is knocked at, the most telling first, in case that time runs out: what the policy names and where
// somebody listens, then samples. Each port is tried at every address before the next one is.
func targets(rs *firewall.Ruleset, tcp, udp []uint16, addresses []netip.Addr) []target {
	type port struct {
		proto  firewall.Protocol
		number uint16
	}
	var ports []port
	known := map[port]bool{}
	add := func(proto firewall.Protocol, numbers ...uint16) {
		for _, n := range numbers {
			if p := (port{proto, n}); n != 0 && !known[p] {
				known[p] = true
				ports = append(ports, p)
			}
		}
	}
	for _, s := range rs.Services {
		for _, r := range s.Ports {
			add(s.Protocol, spread(r)...)
		}
	}
	add(firewall.TCP, tcp...)
	add(firewall.UDP, udp...)
	add(firewall.TCP, sampleTCP()...)
	add(firewall.UDP, sampleUDP()...)
	for n := sampleFirst; n <= sampleLast; n++ {
		add(firewall.TCP, uint16(n))
	}
	out := make([]target, 0, len(ports)*len(addresses))
	for _, p := range ports {
		for _, a := range addresses {
			out = append(out, target{p.proto, netip.AddrPortFrom(a, p.number)})
		}
	}
	return out
}

// spread is a range's first port, its last, those just outside of it, and as many between as there is room for.
func spread(r firewall.PortRange) []uint16 {
	out := []uint16{r.First, r.Last}
	span := int(r.Last) - int(r.First)
	for i := 1; i < min(span, maxOfRange); i++ {
		out = append(out, uint16(int(r.First)+i*span/min(span, maxOfRange)))
	}
	if r.First > 1 {
		out = append(out, r.First-1)
	}
	if r.Last < 65535 {
		out = append(out, r.Last+1)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// expectation is what the policy says about a target.
type expectation struct {
	proto    firewall.Protocol
	admitted bool
	rule     string
	// meters are those that a knock counts for.
	meters []string
}

// judged reports whether any answer could disagree.
func (e expectation) judged() bool { return !e.admitted || e.proto == firewall.TCP }

// disagrees compares with what came back. A port that is closed may be rejected by somebody else: it is closed all the
// same. One that is open must answer itself.
func (e expectation) disagrees(got Result) bool {
	if !e.admitted {
		return got == Open || got == Refused
	}
	return e.proto == firewall.TCP && (got == Silent || got == Rejected)
}

// expect asks the policy about a knock from the far end of the wire.
func expect(rs *firewall.Ruleset, lookup firewall.Lookup, w Wire, t target) (expectation, error) {
	v, err := firewall.Explain(rs, firewall.Query{Source: w.of(t.to.Addr()).Probe, Protocol: t.proto, Port: t.to.Port(), Interface: Link}, lookup)
	e := expectation{proto: t.proto, admitted: v.Admitted, rule: v.Rule}
	if rs.SYN != "" && t.proto == firewall.TCP {
		e.meters = append(e.meters, rs.SYN)
	}
	if v.Meter != "" {
		e.meters = append(e.meters, v.Meter)
	}
	return e, err
}
