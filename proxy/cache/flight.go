package cache

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// flight is one fetch of something that may be stored. Others who want the same wait for it.
type flight struct {
	key    string
	joined string        // under which name others find it; empty for nobody
	doomed atomic.Bool   // the key was invalidated meanwhile: store nothing
	done   chan struct{} // closed when it is known what came of it
	result result        // written before done is closed
}

type result int

const (
	failed     result = iota // nobody knows: try again
	reusable                 // it is stored, and fresh
	unreusable               // it is for nobody else, and likely the next one is not either: go yourself
	unlucky                  // the same, but for this once
)

// flightName is what requests have in common that the same answer would do for, as far as is known before it is there.
func flightName(key string, known []*object, request http.Header) string {
	var names []string
	for _, o := range known {
		for _, s := range o.Vary {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return key
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString(key)
	for _, name := range slices.Compact(names) {
		b.WriteString(keySeparator + name + selectingValue(request, name))
	}
	return b.String()
}

// depart begins a flight that nobody joins.
func (s *Store) depart(key string) *flight {
	f := &flight{key: key, done: make(chan struct{})}
	s.mu.Lock()
	s.flights[f] = struct{}{}
	s.mu.Unlock()
	return f
}

// join begins a flight, or finds the one that is under way.
func (s *Store) join(name, key string) (f *flight, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// After an invalidation nobody may get what was asked for before it.
	if f := s.joined[name]; f != nil && !f.doomed.Load() {
		return f, false
	}
	f = &flight{key: key, joined: name, done: make(chan struct{})}
	s.flights[f] = struct{}{}
	s.joined[name] = f
	return f, true
}

// land ends a flight. Only its first call counts.
func (s *Store) land(f *flight, r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, flying := s.flights[f]; !flying {
		return
	}
	delete(s.flights, f)
	if s.joined[f.joined] == f {
		delete(s.joined, f.joined)
	}
	switch r {
	case unreusable:
		s.passes.Set(f.key, s.now().Add(passTime))
	case reusable:
		s.passes.Invalidate(f.key)
	}
	f.result = r
	close(f.done)
}

// passed reports whether answers for this key were lately of no use to others, so that nobody should wait for one.
func (s *Store) passed(key string) bool {
	until, ok := s.passes.GetIfPresent(key)
	return ok && s.now().Before(until)
}

// begin counts something that goes on in the background; false when the store is closed or has enough to do.
func (s *Store) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	select {
	case s.background <- struct{}{}:
		s.running.Add(1)
		return true
	default:
		return false
	}
}

func (s *Store) end() {
	<-s.background
	s.running.Done()
}

// fillTime is how long a body is still fetched for the store when the client that asked for it is gone, and how long
// a fetch in the background may take.
const fillTime = time.Minute
