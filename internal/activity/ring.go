package activity

import (
	"context"
	"iter"
	"sync"
)

// Ring keeps the newest values of something that comes in floods, such as refused packets: in memory, bounded, and never
// slowing down who adds. Its methods are safe for concurrent use.
type Ring[T any] struct {
	mu   sync.Mutex
	buf  []Entry[T]
	next uint64 // the number of the next value, from 1
	// wake is there while somebody waits; Add closes it. Without followers, adding costs a lock and a copy.
	wake chan struct{}
}

// Entry is a value with its number.
type Entry[T any] struct {
	Seq   uint64 `json:"seq"`
	Value T      `json:"value"`
	// Lost is how many values before this one were overwritten before the follower came to them.
	Lost uint64 `json:"lost,omitempty"`
}

// NewRing makes a ring of the given size, at least 1.
func NewRing[T any](size int) *Ring[T] {
	return &Ring[T]{buf: make([]Entry[T], max(size, 1)), next: 1}
}

// Add puts v in the place of the oldest value.
func (r *Ring[T]) Add(v T) {
	r.mu.Lock()
	r.buf[r.next%uint64(len(r.buf))] = Entry[T]{Seq: r.next, Value: v}
	r.next++
	wake := r.wake
	r.wake = nil
	r.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// Total is how many values were ever added.
func (r *Ring[T]) Total() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next - 1
}

// Newest are the last n values, the oldest of them first; n < 0 is all that are kept.
func (r *Ring[T]) Newest(n int) []Entry[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := min(r.next-1, uint64(len(r.buf)))
	if n >= 0 {
		kept = min(kept, uint64(n))
	}
	return r.from(r.next - kept)
}

// from copies the values from number seq on; the caller holds the lock.
func (r *Ring[T]) from(seq uint64) []Entry[T] {
	out := make([]Entry[T], 0, r.next-seq)
	for ; seq < r.next; seq++ {
		out = append(out, r.buf[seq%uint64(len(r.buf))])
	}
	return out
}

// Follow gives the values after number seq, and then each as it comes, until ctx ends. A follower that is slow finds in
// Lost how many it missed.
func (r *Ring[T]) Follow(ctx context.Context, after uint64) iter.Seq[Entry[T]] {
	return func(yield func(Entry[T]) bool) {
		for ctx.Err() == nil {
			r.mu.Lock()
			// A number that was not reached yet is from before a restart.
			after = min(after, r.next-1)
			oldest := uint64(1)
			if n := uint64(len(r.buf)); r.next > n {
				oldest = r.next - n
			}
			start := max(after+1, oldest)
			lost := start - after - 1
			batch := r.from(start)
			var wake chan struct{}
			if len(batch) == 0 {
				if r.wake == nil {
					r.wake = make(chan struct{})
				}
				wake = r.wake
			}
			r.mu.Unlock()
			for i, e := range batch {
				if i == 0 {
					e.Lost = lost
				}
				if !yield(e) {
					return
				}
				after = e.Seq
			}
			if wake != nil {
				select {
				case <-wake:
				case <-ctx.Done():
				}
			}
		}
	}
}
