package firewall

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Flatten turns overlapping ranges with their own ends into disjoint ones that mean the same: an address is refused until
// the last of the entries that cover it ends. The kernel cannot hold overlapping intervals, and its own merging corrupts
// intervals with timeouts, so this is done here. The result is sorted; adjacent ranges with the same end are joined.
func Flatten(in []Timed) []Timed {
	type edge struct {
		at    netip.Addr // first address for which the entry counts, or no longer counts
		end   bool
		past  bool // the address after the last one of the family
		until time.Time
	}
	var out []Timed
	for _, v6 := range []bool{false, true} {
		var edges []edge
		for _, t := range in {
			if t.Range.IsValid() && t.Range.Is4() != v6 {
				next := t.Range.To.Next()
				edges = append(edges, edge{at: t.Range.From, until: t.Until}, edge{at: next, end: true, past: !next.IsValid(), until: t.Until})
			}
		}
		slices.SortFunc(edges, func(a, b edge) int {
			if a.past != b.past {
				return cmp.Compare(boolInt(a.past), boolInt(b.past))
			}
			return a.at.Compare(b.at)
		})
		active := untils{}
		for i, e := range edges {
			if e.end {
				active.remove(e.until)
			} else {
				active.add(e.until)
			}
			if len(active) == 0 || (i+1 < len(edges) && edges[i+1].at == e.at) {
				continue
			}
			next := edges[i+1] // an active entry has its end edge still to come
			seg := Timed{Until: active.latest()}
			seg.Range.From = e.at
			if next.past {
				seg.Range.To = lastOf(v6)
			} else {
				seg.Range.To = next.at.Prev()
			}
			if n := len(out); n > 0 && out[n-1].Range.To.Next() == seg.Range.From && out[n-1].Until.Equal(seg.Until) {
				out[n-1].Range.To = seg.Range.To
			} else {
				out = append(out, seg)
			}
		}
	}
	return out
}

func lastOf(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	}
	return netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// untils counts the ends of the entries that cover the current address, sorted, "never" (zero) last.
type untils []untilCount

type untilCount struct {
	until time.Time
	n     int
}

func compareUntil(a untilCount, t time.Time) int {
	switch {
	case a.until.Equal(t):
		return 0
	case a.until.IsZero():
		return 1
	case t.IsZero():
		return -1
	}
	return a.until.Compare(t)
}

func (u *untils) add(t time.Time) {
	i, found := slices.BinarySearchFunc(*u, t, compareUntil)
	if found {
		(*u)[i].n++
		return
	}
	*u = slices.Insert(*u, i, untilCount{t, 1})
}

func (u *untils) remove(t time.Time) {
	i, _ := slices.BinarySearchFunc(*u, t, compareUntil)
	if (*u)[i].n--; (*u)[i].n == 0 {
		*u = slices.Delete(*u, i, i+1)
	}
}

func (u untils) latest() time.Time { return u[len(u)-1].until }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
