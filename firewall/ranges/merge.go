package ranges

import "iter"

// Merge is the union of canonical sequences. It holds one range of each at a time and reads each once, at the pace of the
// reader. The first error of any sequence ends it.
func Merge(seqs ...Seq) Seq {
	switch len(seqs) {
	case 0:
		return fromSorted(nil)
	case 1:
		return Coalesce(seqs[0])
	}
	return Coalesce(func(yield func(Range, error) bool) {
		h := make(mergeHeap, 0, len(seqs))
		defer func() {
			for _, c := range h {
				c.stop()
			}
		}()
		for _, s := range seqs {
			next, stop := iter.Pull2(s)
			c := cursor{next: next, stop: stop}
			ok, err := c.advance()
			if !ok {
				stop()
			}
			if err != nil {
				yield(Range{}, err)
				return
			}
			if ok {
				h = append(h, c)
			}
		}
		for i := len(h)/2 - 1; i >= 0; i-- {
			h.down(i)
		}
		for len(h) > 0 {
			if !yield(h[0].r, nil) {
				return
			}
			ok, err := h[0].advance()
			if err != nil {
				yield(Range{}, err)
				return
			}
			if !ok {
				h[0].stop()
				h[0] = h[len(h)-1]
				h = h[:len(h)-1]
			}
			h.down(0)
		}
	})
}

// cursor is one input of a merge and its next range.
type cursor struct {
	r    Range
	next func() (Range, error, bool)
	stop func()
}

func (c *cursor) advance() (bool, error) {
	r, err, ok := c.next()
	if !ok || err != nil {
		return false, err
	}
	c.r = r
	return true, nil
}

// mergeHeap keeps the cursor with the lowest From first. container/heap would box a value for each range.
type mergeHeap []cursor

func (h mergeHeap) down(i int) {
	for {
		low, l := i, 2*i+1
		if l < len(h) && h[l].r.From.Less(h[low].r.From) {
			low = l
		}
		if r := l + 1; r < len(h) && h[r].r.From.Less(h[low].r.From) {
			low = r
		}
		if low == i {
			return
		}
		h[i], h[low] = h[low], h[i]
		i = low
	}
}

// Subtract is s without the addresses in remove, which may be in any order and overlap.
func Subtract(s Seq, remove []Range) Seq {
	rm := Normalize(remove)
	if len(rm) == 0 {
		return s
	}
	return func(yield func(Range, error) bool) {
		i := 0
		for r, err := range s {
			if err != nil {
				yield(Range{}, err)
				return
			}
			for i < len(rm) && rm[i].To.Less(r.From) {
				i++
			}
			rest := true
			for rest && i < len(rm) && rm[i].From.Compare(r.To) <= 0 {
				cut := rm[i]
				if r.From.Less(cut.From) && !yield(Range{r.From, cut.From.Prev()}, nil) {
					return
				}
				if cut.To.Compare(r.To) >= 0 {
					rest = false // cut may reach into the next range: it stays
					break
				}
				r.From = cut.To.Next()
				i++
			}
			if rest && !yield(r, nil) {
				return
			}
		}
	}
}
