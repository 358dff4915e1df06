package activity

import (
	"context"
	"sync"
	"testing"
)

func TestRing(t *testing.T) {
	r := NewRing[string](3)
	if got := r.Newest(-1); len(got) != 0 {
		t.Errorf("empty ring: %v", got)
	}
	for _, s := range []string{"a", "b", "c", "d", "e"} {
		r.Add(s)
	}
	tests := []struct {
		n    int
		want string
	}{{-1, "cde"}, {0, ""}, {2, "de"}, {9, "cde"}}
	for _, tt := range tests {
		got := ""
		for _, e := range r.Newest(tt.n) {
			got += e.Value
		}
		if got != tt.want {
			t.Errorf("newest %d: got %s, want %s", tt.n, got, tt.want)
		}
	}
	if r.Total() != 5 {
		t.Errorf("total: got %d, want 5", r.Total())
	}
	for e := range r.Follow(t.Context(), 0) {
		if e.Seq != 3 || e.Lost != 2 || e.Value != "c" {
			t.Errorf("got %+v, want value 3 with 2 lost", e)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { r.Add("f") }()
	for e := range r.Follow(ctx, 99) { // a number from before a restart
		if e.Value != "f" && e.Value != "e" {
			t.Errorf("got %+v", e)
		}
		cancel()
	}
}

func TestRingFollowersMissNothingUncounted(t *testing.T) {
	const writers, each = 4, 5000
	r := NewRing[int](64)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var followers, adders sync.WaitGroup
	for range 3 {
		followers.Go(func() {
			seen, last := uint64(0), uint64(0)
			for e := range r.Follow(ctx, 0) {
				if e.Seq != last+e.Lost+1 {
					t.Errorf("value %d with %d lost came after %d", e.Seq, e.Lost, last)
				}
				last = e.Seq
				if seen += 1 + e.Lost; seen == writers*each {
					return
				}
			}
		})
	}
	for range writers {
		adders.Go(func() {
			for i := range each {
				r.Add(i)
			}
		})
	}
	adders.Wait()
	followers.Wait()
}
