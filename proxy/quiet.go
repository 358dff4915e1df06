package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// idle is how long a connection may be without a request now.
func (s *Server) idle() time.Duration {
	return orDefault(s.table.Load().cfg.Timeouts.Idle, defaultIdle)
}

// quiet closes a connection of QUIC that has had no request for as long as the configuration allowed when it began. QUIC's own
// timeout is the same, but a client keeps that from running out with packets that ask for nothing. A nil quiet does nothing.
type quiet struct {
	after time.Duration
	timer *time.Timer

	mu   sync.Mutex
	open int
}

func (s *Server) quietly(c *quic.Conn) *quiet {
	q := &quiet{after: s.idle()}
	q.timer = time.AfterFunc(q.after, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.open == 0 {
			_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "idle")
		}
	})
	context.AfterFunc(c.Context(), func() { q.timer.Stop() })
	return q
}

// begin is called with each request, end when it is answered.
func (q *quiet) begin() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open++; q.open == 1 {
		q.timer.Stop()
	}
}

func (q *quiet) end() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open--; q.open == 0 {
		q.timer.Reset(q.after)
	}
}
