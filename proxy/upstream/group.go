package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/proxy/upstream/h1"
)

// Why no server got a request.
var (
	ErrDown = errors.New("no server of the group is well")
	ErrFull = errors.New("all servers of the group are full")
)

// maxWaiting bounds the requests that wait for a server of one group.
const maxWaiting = 1024

// group is a living group.
type group struct {
	conf     Group
	timeouts Timeouts
	now      func() time.Time
	single   *member // the only server, where nothing has to be chosen, counted or waited for
	// announces says that a server is told who the client is.
	announces bool

	*queue
	members []*member
	scratch []candidate
}

// queue is who waits for a place in a group. It outlives reloads: a place that an old request gives back is for the new ones.
type queue struct {
	mu      sync.Mutex      // of the group too
	waiting []chan struct{} // the first comes first
}

// do sends a request to a server of the group, and to another where the first did not take it.
func (g *group) do(ctx context.Context, r *h1.Request, client netip.Addr) (*h1.Response, error) {
	if r.Body == nil {
		r.Safe = idempotent(r.Method)
	}
	if m := g.single; m != nil {
		return g.alone(ctx, r, m)
	}
	var tried []*member
	retries := orInt(g.conf.Retries, 1)
	for {
		m, err := g.acquire(ctx, client, tried)
		if err != nil {
			return nil, err
		}
		resp, err := g.try(ctx, r, m)
		if err == nil {
			return resp, nil
		}
		tried = append(tried, m)
		if len(tried) > retries || !h1.Repeatable(r, err) || !g.others(tried) {
			return nil, err
		}
	}
}

// alone is for a route with one back end: there is no other to choose, and it is asked however it is.
func (g *group) alone(ctx context.Context, r *h1.Request, m *member) (*h1.Response, error) {
	if r.OwnHost {
		r.Host = m.url.Host
	}
	return m.link.Do(ctx, r)
}

// others reports whether there is a server that was not tried.
func (g *group) others(tried []*member) bool { return len(tried) < len(g.members) }

// acquire chooses a server and takes a place there.
func (g *group) acquire(ctx context.Context, client netip.Addr, tried []*member) (*member, error) {
	g.mu.Lock()
	m, full := g.pick(client, tried, g.now())
	if m != nil {
		m.inFlight.Add(1)
		g.mu.Unlock()
		return m, nil
	}
	if !full {
		g.mu.Unlock()
		return nil, ErrDown
	}
	timeout := time.NewTimer(or(g.conf.QueueTimeout, 10*time.Second))
	defer timeout.Stop()
	for {
		if len(g.waiting) >= maxWaiting {
			g.mu.Unlock()
			return nil, ErrFull
		}
		turn := make(chan struct{})
		g.waiting = append(g.waiting, turn)
		g.mu.Unlock()
		var err error
		select {
		case <-turn:
		case <-timeout.C:
			err = ErrFull
		case <-ctx.Done():
			err = ctx.Err()
		}
		g.mu.Lock()
		if err != nil {
			g.leave(turn)
			g.mu.Unlock()
			return nil, err
		}
		if m, full = g.pick(client, tried, g.now()); m != nil {
			m.inFlight.Add(1)
			g.mu.Unlock()
			return m, nil
		}
		if !full {
			g.mu.Unlock()
			return nil, ErrDown
		}
	}
}

// leave takes a request out of the queue; a turn that it had already is the next one's.
func (q *queue) leave(turn chan struct{}) {
	for i, t := range q.waiting {
		if t == turn {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return
		}
	}
	q.wake()
}

// wake gives the first in the queue its turn.
func (q *queue) wake() {
	if len(q.waiting) > 0 {
		close(q.waiting[0])
		q.waiting = q.waiting[1:]
	}
}

// wakeAll lets everybody look again.
func (q *queue) wakeAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		q.wake()
	}
}

// try sends a request to a server whose place is taken.
func (g *group) try(ctx context.Context, r *h1.Request, m *member) (*h1.Response, error) {
	m.requests.Add(1)
	if r.OwnHost {
		r.Host = m.url.Host
	}
	resp, err := m.link.Do(ctx, r)
	m.done(g.conf.Passive, verdict(ctx, resp, err), g.now())
	if err != nil {
		g.leaveServer(m)
		return nil, err
	}
	resp.Body = &placed{Body: resp.Body, g: g, m: m}
	return resp, nil
}

func (g *group) leaveServer(m *member) {
	m.inFlight.Add(-1)
	if g.conf.MaxConnections > 0 {
		g.mu.Lock()
		g.wake()
		g.mu.Unlock()
	}
}

// verdict says what the end of a request tells of its server.
func verdict(ctx context.Context, resp *h1.Response, err error) outcome {
	switch {
	case err != nil:
		_, theirs := errors.AsType[*h1.BodyError](err)
		if theirs || errors.Is(err, h1.ErrRequest) || ctx.Err() != nil {
			return unknown
		}
		return failed
	case resp.Status == http.StatusBadGateway || resp.Status == http.StatusServiceUnavailable || resp.Status == http.StatusGatewayTimeout:
		return failed
	}
	return succeeded
}

// placed gives the place on a server back when the answer is over.
type placed struct {
	h1.Body
	g    *group
	m    *member
	once atomic.Bool
}

// Close implements h1.Body.
func (p *placed) Close() {
	p.Body.Close()
	if p.once.CompareAndSwap(false, true) {
		p.g.leaveServer(p.m)
	}
}
