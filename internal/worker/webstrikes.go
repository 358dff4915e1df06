package worker

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/internal/worker/link"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/ratelimit"
)

// Strikes may come from a worker at this rate; who is struck more often than that is struck enough.
var strikeRate = ratelimit.Limit{Rate: 100, Per: time.Second, Burst: 500}

// strikeQueue is how many wait for a daemon.
const strikeQueue = 1024

// strikeTeller tells the daemon of strikes. A request never waits for it: what does not fit is counted and left out. It
// implements proxy.Striker.
type strikeTeller struct {
	queue   chan limits.Strike
	link    atomic.Pointer[link.Link]
	dropped atomic.Int64
}

func newStrikeTeller() *strikeTeller {
	return &strikeTeller{queue: make(chan limits.Strike, strikeQueue)}
}

// Strike implements proxy.Striker.
func (s *strikeTeller) Strike(x limits.Strike) {
	select {
	case s.queue <- x:
	default:
		s.dropped.Add(1)
	}
}

func (s *strikeTeller) to(l *link.Link)     { s.link.Store(l) }
func (s *strikeTeller) forget(l *link.Link) { s.link.CompareAndSwap(l, nil) }

// run tells them as they come, no faster than the daemon takes them. Without a daemon nobody could ban, and a strike is
// worth nothing later.
func (s *strikeTeller) run(ended <-chan struct{}) {
	pace := time.NewTicker(strikeRate.Per / time.Duration(strikeRate.Rate))
	defer pace.Stop()
	for {
		select {
		case <-ended:
			return
		case x := <-s.queue:
			if l := s.link.Load(); l == nil || l.Tell(webStrike, x) != nil {
				s.dropped.Add(1)
			}
		}
		select {
		case <-ended:
			return
		case <-pace.C:
		}
	}
}

// strikeTaker checks what a worker says of clients.
type strikeTaker struct {
	mu    sync.Mutex
	state time.Time
}

var errStrike = errors.New("not a strike")

// take reads a strike. ok is false where there are more than are taken.
func (s *strikeTaker) take(params json.RawMessage, now time.Time) (x limits.Strike, ok bool, err error) {
	s.mu.Lock()
	d := strikeRate.Admit(s.state, now)
	s.state = d.Next
	s.mu.Unlock()
	if !d.Admitted {
		return x, false, nil
	}
	if len(params) > 4*maxText || json.Unmarshal(params, &x) != nil || !x.Client.IsValid() || x.Client.Zone() != "" || !slices.Contains(limits.Reasons(), x.Reason) {
		return limits.Strike{}, false, errStrike
	}
	x.Client, x.Detail = x.Client.Unmap(), clean(x.Detail)
	return x, true, nil
}
