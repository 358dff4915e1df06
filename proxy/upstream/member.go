package upstream

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// server is a living server of a group. It outlives reloads that leave it as it is.
type server struct {
	conf Server
	url  *url.URL
	link link

	inFlight atomic.Int64
	requests atomic.Int64
	failures atomic.Int64

	mu      sync.Mutex
	healthy bool      // by checks
	bad     int       // checks in a row that failed
	good    int       // or succeeded
	reason  string    // of the last that failed
	since   time.Time // it has been back; zero where it was never away
	breaker breaker
	stop    context.CancelFunc // of the checks
	checks  Health             // that run
}

// standing is how much of its weight a server gets now, in thousandths; 0 is nothing.
func (s *server) standing(now time.Time, slow time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.healthy || !s.breaker.admits(now) {
		return 0
	}
	if slow <= 0 || s.since.IsZero() {
		return 1000
	}
	age := now.Sub(s.since)
	if age >= slow {
		return 1000
	}
	return max(int(1000*age/slow), 100)
}

// checked takes the result of a health check.
func (s *server) checked(h *Health, reason string, now time.Time) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reason == "" {
		s.good, s.bad = s.good+1, 0
	} else {
		s.good, s.bad, s.reason = 0, s.bad+1, reason
	}
	switch {
	case s.healthy && s.bad >= orInt(h.Unhealthy, 3):
		s.healthy = false
		return true
	case !s.healthy && s.good >= orInt(h.Healthy, 2):
		s.healthy, s.since, s.reason = true, now, ""
		s.breaker.close()
		return true
	}
	return false
}

// begin takes a place for a request; a server that is tried after it was set aside gets one at a time.
func (s *server) begin(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.healthy && s.breaker.begin(now)
}

// How a request went.
type outcome uint8

const (
	succeeded outcome = iota
	failed
	unknown // it was given up
)

// done takes how a request went.
func (s *server) done(p Passive, o outcome, now time.Time) {
	if o == failed {
		s.failures.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch o {
	case failed:
		s.breaker.failed(p, now)
	case unknown:
		s.breaker.gaveUp()
	case succeeded:
		if s.breaker.succeeded() {
			s.since = now
		}
	}
}
