package ranges

import (
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Seq is a canonical sequence: IPv4 before IPv6, ascending, disjoint and not adjacent within a family. An error is the
// last thing that it yields, with the zero Range. A Seq can be ranged over more than once unless its maker says otherwise.
type Seq = iter.Seq2[Range, error]

// ErrOrder is what a sequence ends with when its ranges are invalid or not in the order that was promised.
var ErrOrder = errors.New("ranges are not in canonical order")

// FromSlice is the canonical sequence of the addresses in rs, which may be in any order and overlap. It works on a copy.
// An invalid range makes it a sequence of one error.
func FromSlice(rs []Range) Seq {
	for _, r := range rs {
		if err := r.check(); err != nil {
			return Fail(err)
		}
	}
	return fromSorted(Normalize(rs))
}

// Fail is the sequence that ends at once with err.
func Fail(err error) Seq {
	return func(yield func(Range, error) bool) { yield(Range{}, err) }
}

func fromSorted(rs []Range) Seq {
	return func(yield func(Range, error) bool) {
		for _, r := range rs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Normalize is the shortest canonical list of the same addresses, nil for none. It works on a copy; invalid ranges are
// left out, so whoever reads outside data checks them before.
func Normalize(rs []Range) []Range {
	out := make([]Range, 0, len(rs))
	for _, r := range rs {
		if r.check() == nil {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil
	}
	if !slices.IsSortedFunc(out, Range.Compare) {
		slices.SortFunc(out, Range.Compare)
	}
	n := 0
	for _, r := range out[1:] {
		if out[n].touches(r) {
			out[n].extend(r)
			continue
		}
		n++
		out[n] = r
	}
	return out[:n+1]
}

// Coalesce makes a canonical sequence of one that is only sorted by From: overlapping and adjacent ranges become one. It
// ends with ErrOrder where s is not sorted.
func Coalesce(s Seq) Seq {
	return func(yield func(Range, error) bool) {
		var cur Range
		have := false
		for r, err := range s {
			if err == nil {
				err = r.check()
			}
			if err == nil && have && r.From.Less(cur.From) {
				err = fmt.Errorf("%w: %v comes after %v", ErrOrder, r, cur)
			}
			switch {
			case err != nil:
				yield(Range{}, err)
				return
			case !have:
				cur, have = r, true
			case cur.touches(r):
				cur.extend(r)
			default:
				if !yield(cur, nil) {
					return
				}
				cur = r
			}
		}
		if have {
			yield(cur, nil)
		}
	}
}

// Canonical passes s on and ends it with ErrOrder where it is not canonical. It stands wherever a sequence comes from
// outside.
func Canonical(s Seq) Seq {
	return func(yield func(Range, error) bool) {
		var last Range
		first := true
		for r, err := range s {
			if err == nil {
				err = follows(last, r, first)
			}
			if err != nil {
				yield(Range{}, err)
				return
			}
			if !yield(r, nil) {
				return
			}
			last, first = r, false
		}
	}
}

// Collect reads s to its end. With an error it returns what came before it.
func Collect(s Seq) ([]Range, error) {
	var out []Range
	for r, err := range s {
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	return out, nil
}

// check reports what keeps r out of a sequence.
func (r Range) check() error {
	if !r.From.IsValid() || r.From.BitLen() != r.To.BitLen() || r.To.Less(r.From) {
		return fmt.Errorf("%w: %v-%v is not a range", ErrOrder, r.From, r.To)
	}
	if r.From.Is6() && (r.From.Is4In6() || r.To.Is4In6() || r.From.Zone() != "" || r.To.Zone() != "") {
		return fmt.Errorf("%w: %v-%v has IPv4-mapped or zoned ends", ErrOrder, r.From, r.To)
	}
	return nil
}

// touches reports whether next, which does not start before r, overlaps r or follows it without a gap.
func (r Range) touches(next Range) bool {
	return r.From.BitLen() == next.From.BitLen() && (next.From.Compare(r.To) <= 0 || next.From == r.To.Next())
}

func (r *Range) extend(next Range) {
	if r.To.Less(next.To) {
		r.To = next.To
	}
}

// follows reports why r may not come after last in a canonical sequence, nil if it may.
func follows(last, r Range, first bool) error {
	if err := r.check(); err != nil {
		return err
	}
	if first {
		return nil
	}
	if r.From.Compare(last.To) <= 0 || r.From == last.To.Next() {
		return fmt.Errorf("%w: %v comes after %v", ErrOrder, r, last)
	}
	return nil
}
