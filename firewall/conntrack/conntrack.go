// Package conntrack ends the open connections of addresses that have just been blocked.
//
// A firewall that admits established flows without asking again, which is what makes it cheap, goes on admitting the flows
// that a new block should end. Cut removes their entries from the kernel's connection tracking table, so that the next
// packet in either direction is a new flow and meets the block. The rules must be in force before Cut is called; without
// the rule for outgoing packets the host's own next packet would simply make the entry again.
//
// Cut reads the whole table once for all addresses: at 180,000 entries that takes most of a second, so callers batch.
package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall/ranges"
)

// Cut removes the entries with an end in one of the ranges and reports how many there were.
func Cut(ctx context.Context, targets []ranges.Range) (int, error) {
	m := &within{ranges.Normalize(targets)}
	n := 0
	for _, f := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if !m.concerns(f) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return n, err
		}
		deleted, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f, m)
		n += int(deleted)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return n, fmt.Errorf("end connections of %d ranges: %w", len(m.targets), err)
		}
	}
	return n, nil
}

// within matches flows that have an end in one of the sorted, disjoint targets.
type within struct{ targets []ranges.Range }

func (w *within) concerns(f netlink.InetFamily) bool {
	return slices.ContainsFunc(w.targets, func(r ranges.Range) bool { return r.Is4() == (f == unix.AF_INET) })
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter. The reverse tuple has the real end of a flow whose address
// was translated.
func (w *within) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	return w.holds(flow.Forward.SrcIP) || w.holds(flow.Forward.DstIP) || w.holds(flow.Reverse.SrcIP)
}

func (w *within) holds(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	a = a.Unmap()
	_, found := slices.BinarySearchFunc(w.targets, a, func(r ranges.Range, a netip.Addr) int {
		switch {
		case r.Contains(a):
			return 0
		case r.To.Less(a):
			return -1
		}
		return 1
	})
	return found
}
