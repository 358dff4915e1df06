package firewall

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"go4.org/netipx"

	"github.com/platformd/platformd/firewall/ranges"
)

// Segments are networks of containers that reach nothing but what is said here, and that nobody but the host reaches. A
// packet that comes from one of Bridges is asked, in this order: has it a source of its own segment? does it belong to an
// established flow? is it for a peer, inside of the segment or on the host? else, is its destination public, and does the
// egress of the segment admit it? Blocks, bans and feeds hold as for everybody. Whatever goes to one of Bridges must be
// opened by the host itself, or come in through a published port.
//
// An interface that matches Bridges and belongs to no segment reaches nothing at all. So a segment may come and go at any
// moment: where there is none yet, or none any more, there is nothing to close.
type Segments struct {
	Bridges []string  `json:"bridges,omitempty"` // names, * at the end matches any suffix; without one there are no segments
	List    []Segment `json:"list,omitempty"`    // by name
}

// Segment is one network.
type Segment struct {
	Name   string       `json:"name"`
	Bridge string       `json:"bridge"`
	V4     netip.Prefix `json:"v4"`
	V6     netip.Prefix `json:"v6"`
	Egress Egress       `json:"egress"`
	// Reach is for EgressList: what is known by its address. Names is what was found by name, single addresses that end by
	// themselves. Private addresses are not reached in either way.
	Reach []Reach    `json:"reach,omitempty"`
	Names []Admitted `json:"names,omitempty"`
	// Peers are what containers of the segment may talk to inside of its prefixes: addons, and services of the host on the
	// bridge's own addresses.
	Peers []Peer `json:"peers,omitempty"`
}

// Egress is whom a segment may open flows to outside.
type Egress string

// A segment reaches every public address, none, or some by TCP and UDP.
const (
	EgressInternet Egress = "internet"
	EgressNone     Egress = "none"
	EgressList     Egress = "list"
)

// Reach is a destination; port 0 is every port.
type Reach struct {
	Range ranges.Range `json:"range"`
	Port  uint16       `json:"port,omitempty"`
}

// Admitted is a single address that is reached until then.
type Admitted struct {
	Addr  netip.Addr `json:"addr"`
	Port  uint16     `json:"port,omitempty"`
	Until time.Time  `json:"until"`
}

// Peer is a service that a segment may use. Meter names a limit class that counts all of the segment together, for each
// address of the peer; empty is none.
type Peer struct {
	Addr     netip.Addr `json:"addr"`
	Protocol Protocol   `json:"protocol"`
	Port     uint16     `json:"port"`
	Meter    string     `json:"meter,omitempty"`
}

// Admitter is a driver that can let segments reach what Names newly says, without a whole Apply, which does all of it again.
type Admitter interface {
	Admit(ctx context.Context, rs *Ruleset) error
}

// Holds reports whether the address is one of the segment's.
func (s *Segment) Holds(a netip.Addr) bool { return s.V4.Contains(a) || s.V6.Contains(a) }

// Of finds the segment that an address belongs to; nil where there is none.
func (s *Segments) Of(a netip.Addr) *Segment {
	a = a.Unmap().WithZone("")
	for i := range s.List {
		if s.List[i].Holds(a) {
			return &s.List[i]
		}
	}
	return nil
}

// Named finds a segment by its name; nil where there is none.
func (s *Segments) Named(name string) *Segment {
	i := slices.IndexFunc(s.List, func(x Segment) bool { return x.Name == name })
	if i < 0 {
		return nil
	}
	return &s.List[i]
}

// WithNames is rs with other names found for its segments, by segment.
func (rs *Ruleset) WithNames(names map[string][]Admitted, now time.Time) *Ruleset {
	out := *rs
	out.Segments.List = slices.Clone(rs.Segments.List)
	for i := range out.Segments.List {
		if x := &out.Segments.List[i]; x.Egress == EgressList {
			x.Names = liveNames(names[x.Name], now)
		}
	}
	return &out
}

// normalize is a copy in which equal meanings are equal values: sorted, disjoint, and without names that have ended.
func (s Segments) normalize(now time.Time) Segments {
	out := Segments{Bridges: sortedCopy(s.Bridges), List: slices.Clone(s.List)}
	for i := range out.List {
		x := &out.List[i]
		x.Reach, x.Names = disjointReach(x.Reach), liveNames(x.Names, now)
		x.Peers = slices.Clone(x.Peers)
		slices.SortFunc(x.Peers, comparePeers)
		x.Peers = slices.Compact(x.Peers)
		if x.Egress != EgressList {
			x.Reach, x.Names = nil, nil
		}
	}
	slices.SortFunc(out.List, func(a, b Segment) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func comparePeers(a, b Peer) int {
	return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Meter, b.Meter))
}

// disjointReach joins ranges of each port, and leaves out of a port's what is reached on every port.
func disjointReach(in []Reach) []Reach {
	by := map[uint16]*netipx.IPSetBuilder{}
	for _, r := range in {
		if by[r.Port] == nil {
			by[r.Port] = &netipx.IPSetBuilder{}
		}
		by[r.Port].AddRange(netipx.IPRangeFrom(r.Range.From, r.Range.To))
	}
	var everywhere *netipx.IPSet
	var out []Reach
	for _, port := range sortedKeys(by) { // 0 comes first
		if port != 0 && everywhere != nil {
			by[port].RemoveSet(everywhere)
		}
		set, err := by[port].IPSet()
		if err != nil {
			continue // a range that is none
		}
		if port == 0 {
			everywhere = set
		}
		for _, r := range set.Ranges() {
			out = append(out, Reach{Range: ranges.Range{From: r.From(), To: r.To()}, Port: port})
		}
	}
	return out
}

// liveNames keeps the entry that lasts longest for each address and port.
func liveNames(in []Admitted, now time.Time) []Admitted {
	in = slices.DeleteFunc(slices.Clone(in), func(a Admitted) bool { return !a.Until.After(now) })
	slices.SortFunc(in, func(a, b Admitted) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Port, b.Port), b.Until.Compare(a.Until))
	})
	return slices.CompactFunc(in, func(a, b Admitted) bool { return a.Addr == b.Addr && a.Port == b.Port })
}
