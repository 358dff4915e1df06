package geo

import (
	"fmt"
	"iter"
	"slices"

	"github.com/platformd/platformd/firewall/ranges"
)

// Record is a range of addresses of one country.
type Record struct {
	ranges.Range
	Country Code
}

// Seq is records in canonical order: IPv4 before IPv6, ascending, disjoint, adjacent ones of different countries. An error
// is the last thing that it yields.
type Seq = iter.Seq2[Record, error]

// Records is the sequence of recs, which are in canonical order.
func Records(recs []Record) Seq {
	return func(yield func(Record, error) bool) {
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// follows reports why r may not come after last in canonical order, nil if it may.
func follows(last, r Record, first bool) error {
	if !r.Country.plain() || !r.IsValid() || r.From.Is4In6() || r.To.Is4In6() {
		return fmt.Errorf("%w: %v of %v", ranges.ErrOrder, r.Range, r.Country)
	}
	if first {
		return nil
	}
	if r.From.Compare(last.To) <= 0 || r.Country == last.Country && r.From == last.To.Next() {
		return fmt.Errorf("%w: %v of %v comes after %v of %v", ranges.ErrOrder, r.Range, r.Country, last.Range, last.Country)
	}
	return nil
}

// plain reports whether c is two letters. A file may come from a process that is not trusted, and c is shown to people.
func (c Code) plain() bool {
	return c[0] >= 'A' && c[0] <= 'Z' && c[1] >= 'A' && c[1] <= 'Z'
}

// coalesce joins adjacent records of one country. s is sorted and disjoint.
func coalesce(s Seq) Seq {
	return func(yield func(Record, error) bool) {
		var cur Record
		have := false
		for r, err := range s {
			switch {
			case err != nil:
				yield(Record{}, err)
				return
			case !have:
				cur, have = r, true
			case cur.Country == r.Country && cur.To.Next() == r.From:
				cur.To = r.To
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

// sortRecords brings the records of one source into canonical order: of two that overlap the one that starts later wins
// where they do, of two with one start the narrower, of two equal ones the later. It uses recs.
func sortRecords(recs []Record) []Record {
	sorted := true
	for i := 1; i < len(recs) && sorted; i++ {
		sorted = follows(recs[i-1], recs[i], false) == nil
	}
	if sorted {
		return recs
	}
	slices.SortStableFunc(recs, func(a, b Record) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return b.To.Compare(a.To)
	})
	var (
		out  []Record
		open []Record // records that reach to where we are, the last one on top
	)
	emit := func(r Record) {
		if n := len(out); n > 0 && out[n-1].Country == r.Country && out[n-1].To.Next() == r.From {
			out[n-1].To = r.To
			return
		}
		out = append(out, r)
	}
	// advance writes what the open records say about the addresses before next, or about all if next is nil.
	advance := func(next *Record) {
		for len(open) > 0 {
			top := &open[len(open)-1]
			if next != nil && next.From.Compare(top.To) <= 0 {
				if top.From.Less(next.From) {
					emit(Record{ranges.Range{From: top.From, To: next.From.Prev()}, top.Country})
				}
				top.From = next.From
				return
			}
			done := *top
			open = open[:len(open)-1]
			if done.From.Compare(done.To) <= 0 {
				emit(done)
			}
			// Those below go on behind it.
			for len(open) > 0 {
				below := &open[len(open)-1]
				if below.To.Compare(done.To) > 0 {
					if below.From.Compare(done.To) <= 0 {
						below.From = done.To.Next()
					}
					break
				}
				open = open[:len(open)-1]
			}
		}
	}
	for _, r := range recs {
		advance(&r)
		open = append(open, r)
	}
	advance(nil)
	return out
}

// Overlay is lower with upper laid over it: where both have a record, upper's counts. It streams.
func Overlay(lower, upper Seq) Seq {
	return coalesce(func(yield func(Record, error) bool) {
		l, stopL := pull(lower)
		defer stopL()
		u, stopU := pull(upper)
		defer stopU()
		for l.ok || u.ok {
			switch {
			case l.err != nil || u.err != nil:
				err := l.err
				if err == nil {
					err = u.err
				}
				yield(Record{}, err)
				return
			case !u.ok || l.ok && l.To.Less(u.From):
				if !yield(l.Record, nil) {
					return
				}
				l.advance()
			case !l.ok || u.To.Less(l.From):
				if !yield(u.Record, nil) {
					return
				}
				u.advance()
			case l.From.Less(u.From):
				if !yield(Record{ranges.Range{From: l.From, To: u.From.Prev()}, l.Country}, nil) {
					return
				}
				l.From = u.From
			case l.To.Compare(u.To) <= 0: // covered
				l.advance()
			default:
				l.From = u.To.Next()
			}
		}
	})
}

// head is the next record of a sequence.
type head struct {
	Record
	ok   bool
	err  error
	next func() (Record, error, bool)
}

func pull(s Seq) (*head, func()) {
	next, stop := iter.Pull2(s)
	h := &head{next: next}
	h.advance()
	return h, stop
}

func (h *head) advance() { h.Record, h.err, h.ok = h.next() }

// Without is s without the addresses in remove, which is canonical.
func Without(s Seq, remove []ranges.Range) Seq {
	var hole Code // unknown: no sequence has it
	over := make([]Record, 0, len(remove))
	for _, r := range remove {
		over = append(over, Record{r, hole})
	}
	return func(yield func(Record, error) bool) {
		for r, err := range Overlay(s, Records(over)) {
			if err == nil && r.Country == hole {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}
