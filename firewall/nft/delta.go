package nft

import (
	"slices"
	"time"

	"github.com/google/nftables"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

// delta changes members of a set in place.
type delta struct {
	set         *nftables.Set
	intervals   bool
	remove, add []firewall.Timed
	renew       []firewall.Timed // members whose end changes
	tuples      struct{ remove, add, renew []tuple }
}

func (d *delta) empty() bool {
	return len(d.remove)+len(d.add)+len(d.renew)+len(d.tuples.remove)+len(d.tuples.add)+len(d.tuples.renew) == 0
}

// added, renewed and removed are elements for the kernel; those that go need no end.
func (d *delta) added(now time.Time) []nftables.SetElement {
	return append(elements(slices.Concat(d.renew, d.add), d.intervals, now), tupleElements(slices.Concat(d.tuples.renew, d.tuples.add), now)...)
}

func (d *delta) renewed() []nftables.SetElement {
	return append(elements(d.renew, d.intervals, time.Time{}), tupleElements(d.tuples.renew, time.Time{})...)
}

func (d *delta) removed() []nftables.SetElement {
	return append(elements(d.remove, d.intervals, time.Time{}), tupleElements(d.tuples.remove, time.Time{})...)
}

// expirySlack is how much an end in the kernel may differ from the wanted one before it is set again: reading, writing
// and the kernel's ticks take time.
const expirySlack = 2 * time.Second

// difference is what to take from have and to add to it to get want, and what has another end by more than the slack.
func difference(have, want []firewall.Timed, now time.Time) (remove, renew, add []firewall.Timed) {
	old := make(map[ranges.Range]time.Time, len(have))
	for _, t := range have {
		old[t.Range] = t.Until
	}
	for _, t := range want {
		if _, ok := remaining(t, now); !ok {
			continue
		}
		until, there := old[t.Range]
		delete(old, t.Range)
		switch {
		case !there:
			add = append(add, t)
		case until.IsZero() != t.Until.IsZero() || until.Sub(t.Until).Abs() > expirySlack:
			renew = append(renew, t)
		}
	}
	for _, t := range have {
		if _, gone := old[t.Range]; gone {
			remove = append(remove, t)
		}
	}
	return remove, renew, add
}

func overlap(a, b []firewall.Timed) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	byRange := func(x, y firewall.Timed) int { return x.Range.Compare(y.Range) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, byRange)
	slices.SortFunc(b, byRange)
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].Range.Overlaps(b[j].Range):
			return true
		case a[i].Range.Compare(b[j].Range) < 0:
			i++
		default:
			j++
		}
	}
	return false
}

// elements are the library's form of members; a zero now leaves timeouts out, as a deletion wants it.
func elements(in []firewall.Timed, intervals bool, now time.Time) []nftables.SetElement {
	var out []nftables.SetElement
	for _, t := range in {
		e := nftables.SetElement{Key: t.Range.From.AsSlice()}
		if !now.IsZero() {
			timeout, ok := remaining(t, now)
			if !ok {
				continue
			}
			e.Timeout = timeout
		}
		out = append(out, e)
		if end, ok := successor(t.Range.To.AsSlice()); intervals && ok {
			out = append(out, nftables.SetElement{Key: slices.Clone(end[:len(e.Key)]), IntervalEnd: true})
		}
	}
	return out
}
