package iptables

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
)

// memberChange adds a member to a set, with a time-out where it is not zero, or removes it.
type memberChange struct {
	set     string // as the kernel calls it
	prefix  netip.Prefix
	tuple   string // instead, in a set of several dimensions
	timed   bool
	timeout uint32 // seconds; 0 is never
	remove  bool
}

// String is the change as ipset restore reads it.
func (m memberChange) String() string {
	what := m.tuple
	if what == "" {
		what = m.prefix.String()
	}
	switch {
	case m.remove:
		return "del " + m.set + " " + what
	case m.timed:
		return fmt.Sprintf("add %s %s timeout %d", m.set, what, m.timeout)
	}
	return "add " + m.set + " " + what
}

// few is how many changes are made one by one: about as many as take as long as starting a program.
const few = 64

// alter changes members, in order. What is so already is no error.
func (d *Driver) alter(ctx context.Context, changes []memberChange) error {
	if len(changes) == 0 {
		return nil
	}
	if len(changes) > few || slices.ContainsFunc(changes, func(m memberChange) bool { return m.tuple != "" }) {
		return d.ipsetRestore(ctx, lines(changes))
	}
	c, err := dialIPSet()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, m := range changes {
		if err := m.make(c); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return nil
}

func lines(changes []memberChange) []string {
	out := make([]string, len(changes))
	for i, m := range changes {
		out[i] = m.String()
	}
	return out
}

func (m memberChange) make(c *netlink.Conn) error {
	cmd := uint16(cmdAdd)
	if m.remove {
		cmd = cmdDel
	}
	return element(c, cmd, m.set, m.prefix.Addr(), func(data *netlink.AttributeEncoder) {
		data.Uint8(dataCIDR, uint8(m.prefix.Bits()))
		if m.timed && !m.remove {
			data.Uint32(netlink.NetByteOrder|dataTimeout, m.timeout)
		}
	})
}

// fill adds all members to a new set.
func (s *set) fill(name string) []string {
	var out []memberChange
	for _, p := range s.sorted() {
		out = append(out, s.adding(name, p))
	}
	for _, t := range slices.Sorted(maps.Keys(s.tuples)) {
		out = append(out, s.addingTuple(name, t))
	}
	return lines(out)
}

func (s *set) sorted() []netip.Prefix {
	return slices.SortedFunc(maps.Keys(s.members), func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
}

func (s *set) adding(name string, p netip.Prefix) memberChange {
	m := memberChange{set: name, prefix: p, timed: s.timed()}
	if m.timed {
		m.timeout = seconds(s.members[p], s.now)
	}
	return m
}

// delta says what to do to the members that are there, apart by whether it makes the policy stricter or looser. A time
// that differs by no more than two seconds is the same: both sides round.
func (s *set) delta(name string, have *kernelSet) (stricter, looser []memberChange) {
	add, del := &stricter, &looser
	if s.kind == kindAllow {
		add, del = &looser, &stricter
	}
	switch s.kind {
	case kindMeter:
		return nil, nil
	case kindTuples, kindNames:
		return s.tupleDelta(name, have)
	}
	for _, p := range s.sorted() {
		left, there := have.members[p]
		want := seconds(s.members[p], s.now)
		switch {
		case !there:
			*add = append(*add, s.adding(name, p))
		case !s.timed() || want == left || (want != 0 && left != 0 && max(want, left)-min(want, left) <= 2):
		case want == 0 || (left != 0 && want > left):
			*add = append(*add, s.adding(name, p)) // lasts longer
		default:
			*del = append(*del, s.adding(name, p)) // ends sooner
		}
	}
	for p := range have.members {
		if _, wanted := s.members[p]; !wanted {
			*del = append(*del, memberChange{set: name, prefix: p, remove: true})
		}
	}
	return stricter, looser
}

func (s *set) addingTuple(name, t string) memberChange {
	m := memberChange{set: name, tuple: t, timed: s.timed()}
	if m.timed {
		m.timeout = seconds(s.tuples[t], s.now)
	}
	return m
}

// tupleDelta is delta for a set of several dimensions.
func (s *set) tupleDelta(name string, have *kernelSet) (stricter, looser []memberChange) {
	for _, t := range slices.Sorted(maps.Keys(s.tuples)) {
		left, there := have.tuples[t]
		want := seconds(s.tuples[t], s.now)
		switch {
		case there && (!s.timed() || max(want, left)-min(want, left) <= 2):
		case there && want < left:
			stricter = append(stricter, s.addingTuple(name, t))
		default:
			looser = append(looser, s.addingTuple(name, t))
		}
	}
	for t := range have.tuples {
		if _, wanted := s.tuples[t]; !wanted {
			stricter = append(stricter, memberChange{set: name, tuple: t, remove: true})
		}
	}
	return stricter, looser
}
