package feeds

import (
	"errors"
	"fmt"
	"slices"

	"github.com/platformd/platformd/firewall/ranges"
)

// ErrImplausible is the cause where a feed is held back; the last good copy stays in force.
var ErrImplausible = errors.New("held back")

// Why a part of a feed is dropped; reserved ranges carry their kind, such as "private".
const (
	DropOwn     = "own address"
	DropAllowed = "always allowed"
	DropWide    = "too wide"
)

// VetConfig says what a feed may be.
type VetConfig struct {
	// Min and Max bound the number of ranges that are left when reserved and over-wide ones are gone. Zero is 1 and
	// 2,000,000.
	Min, Max int
	// Own are the host's addresses, Allow the always-allowed ranges.
	Own, Allow []ranges.Range
	// KeepProtected leaves Own and Allow in the sequence and only reports them: for a copy that is kept, as both change
	// without the feed.
	KeepProtected bool
	// Last is the report of the last good copy, nil if there is none.
	Last *Report
	// Force accepts what would be held back. Reserved and over-wide ranges are dropped all the same.
	Force bool
}

// Report is what Vet found.
type Report struct {
	// Ranges were read; Plausible of them have something left without reserved and over-wide ones.
	Ranges    int `json:"ranges"`
	Plausible int `json:"plausible"`
	// V4 is the number of IPv4 addresses covered, V6 that of IPv6 /64s.
	V4 uint64 `json:"v4_addresses"`
	V6 uint64 `json:"v6_nets"`
	// Dropped counts the ranges or parts that were dropped, by why.
	Dropped map[string]int `json:"dropped,omitempty"`
	// Examples are the first few of each why.
	Examples []Drop `json:"examples,omitempty"`
}

// Drop is a range, or the part of one, that a feed lists and that is not blocked.
type Drop struct {
	Range ranges.Range `json:"range"`
	Why   string       `json:"why"`
}

// examplesShown is how many drops of each kind a Report lists.
const examplesShown = 3

// Vetting is one pass over a feed.
type Vetting struct {
	cfg       VetConfig
	in        ranges.Seq
	protected []protected
	report    Report
}

// protected is a range that is cut out of a feed, or only noted.
type protected struct {
	ranges.Range
	why  string
	kind kind
}

type kind int

const (
	kindReserved kind = iota // cut, and counts as a mistake of the feed
	kindCut                  // cut
	kindNote                 // reported and kept
)

// Vet prepares one pass over s: read Seq to its end, then ask Verdict.
func Vet(s ranges.Seq, cfg VetConfig) *Vetting {
	if cfg.Min <= 0 {
		cfg.Min = 1
	}
	if cfg.Max <= 0 {
		cfg.Max = 2_000_000
	}
	v := &Vetting{cfg: cfg, in: s, report: Report{Dropped: map[string]int{}}}
	for _, s := range ranges.Specials() {
		v.protected = append(v.protected, protected{s.Range, s.Name, kindReserved})
	}
	k := kindCut
	if cfg.KeepProtected {
		k = kindNote
	}
	v.protect(cfg.Own, DropOwn, k)
	v.protect(cfg.Allow, DropAllowed, k)
	return v
}

// protect adds what no earlier call has, so that the list stays disjoint and the first name of an address counts.
func (v *Vetting) protect(rs []ranges.Range, why string, k kind) {
	taken := make([]ranges.Range, 0, len(v.protected))
	for _, p := range v.protected {
		taken = append(taken, p.Range)
	}
	for r := range ranges.Subtract(ranges.FromSlice(ranges.Normalize(rs)), taken) {
		v.protected = append(v.protected, protected{r, why, k})
	}
	slices.SortFunc(v.protected, func(a, b protected) int { return a.Compare(b.Range) })
}

// Seq is the feed without what is dropped. It can be read once.
func (v *Vetting) Seq() ranges.Seq {
	return func(yield func(ranges.Range, error) bool) {
		first := 0 // the protected ranges before it end before every range to come
		var keep []ranges.Range
		for r, err := range v.in {
			if err != nil {
				yield(ranges.Range{}, err)
				return
			}
			for first < len(v.protected) && v.protected[first].To.Less(r.From) {
				first++
			}
			keep = v.one(r, first, keep[:0])
			for _, k := range keep {
				if !yield(k, nil) {
					return
				}
			}
		}
	}
}

// one judges r and appends what is left of it to keep. What is dropped of a range that is too wide is not listed apart.
func (v *Vetting) one(r ranges.Range, first int, keep []ranges.Range) []ranges.Range {
	v.report.Ranges++
	end := first
	for end < len(v.protected) && v.protected[end].From.Compare(r.To) <= 0 {
		end++
	}
	here := v.protected[first:end]
	keep = cut(r, here, kindReserved, keep)
	if v4, v6 := cover(keep); v4 > widestV4 || v6 > widestV6 {
		v.drop(r, DropWide)
		return keep[:0]
	}
	if len(keep) > 0 {
		v.report.Plausible++
	}
	if len(here) > 0 {
		keep = cut(r, here, kindCut, keep[:0])
	}
	for _, p := range here {
		v.drop(intersect(r, p.Range), p.why)
	}
	v4, v6 := cover(keep)
	v.report.V4 += v4
	v.report.V6 += v6
	return keep
}

// cut appends what is left of r without the protected ranges up to a kind.
func cut(r ranges.Range, here []protected, upTo kind, keep []ranges.Range) []ranges.Range {
	for _, p := range here {
		if p.kind > upTo {
			continue
		}
		if r.From.Less(p.From) {
			keep = append(keep, ranges.Range{From: r.From, To: p.From.Prev()})
		}
		if p.To.Compare(r.To) >= 0 {
			return keep
		}
		r.From = p.To.Next()
	}
	return append(keep, r)
}

// cover is how many IPv4 addresses and IPv6 /64s the ranges have.
func cover(rs []ranges.Range) (v4, v6 uint64) {
	for _, r := range rs {
		if r.Is4() {
			v4 += size(r)
		} else {
			v6 += size(r)
		}
	}
	return v4, v6
}

func (v *Vetting) drop(r ranges.Range, why string) {
	v.report.Dropped[why]++
	if v.report.Dropped[why] <= examplesShown {
		v.report.Examples = append(v.report.Examples, Drop{r, why})
	}
}

// Verdict is the report of the pass, and why the feed is held back: an ErrImplausible with the remedy, or nil.
func (v *Vetting) Verdict() (Report, error) {
	r, c := v.report, v.cfg
	if c.Force {
		return r, nil
	}
	switch last := c.Last; {
	case r.Plausible < c.Min:
		return r, fmt.Errorf("%w: %d plausible ranges of %d read, at least %d are expected", ErrImplausible, r.Plausible, r.Ranges, c.Min)
	case r.Plausible > c.Max:
		return r, fmt.Errorf("%w: %d ranges, at most %d are expected", ErrImplausible, r.Plausible, c.Max)
	case r.V4 > coverV4:
		return r, fmt.Errorf("%w: it would block %d IPv4 addresses, more than an eighth of all", ErrImplausible, r.V4)
	case r.V6 > coverV6:
		return r, fmt.Errorf("%w: it would block IPv6 networks worth more than a /14", ErrImplausible)
	case last == nil:
	case r.Plausible*10 < last.Plausible:
		return r, fmt.Errorf("%w: it shrank from %d ranges to %d, by more than 90 %%", ErrImplausible, last.Plausible, r.Plausible)
	case r.V4 > widestV4 && r.V4/10 > last.V4:
		return r, fmt.Errorf("%w: it grew from %d IPv4 addresses to %d, more than tenfold", ErrImplausible, last.V4, r.V4)
	case r.V6 > widestV6 && r.V6/10 > last.V6:
		return r, fmt.Errorf("%w: it grew more than tenfold in IPv6 networks", ErrImplausible)
	}
	return r, nil
}

func intersect(a, b ranges.Range) ranges.Range {
	if a.From.Less(b.From) {
		a.From = b.From
	}
	if b.To.Less(a.To) {
		a.To = b.To
	}
	return a
}
