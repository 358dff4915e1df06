package h1

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Config is what a Pool needs. A zero field means its default.
type Config struct {
	// Dial connects to the back end.
	Dial func(ctx context.Context) (net.Conn, error)
	// Connect bounds that (10 s), Answer the time from the end of a request to the head of its answer (60 s), and Stall the
	// time in which nothing of an answer, or of a request, moves (5 min).
	Connect, Answer, Stall time.Duration
	// Idle is how long a connection is kept without a request. Back ends close theirs after five seconds, commonly; a
	// request must not meet that (4 s).
	Idle    time.Duration
	MaxIdle int // connections (256)
	MaxHead int // bytes of an answer's head (256 KiB)
	// Once makes a connection for each request, and keeps none: for back ends that were told whose it is.
	Once bool
}

// Pool holds connections to one back end. It is safe for concurrent use.
type Pool struct {
	cfg Config

	mu     sync.Mutex
	idle   []*conn // the last used at the end
	timer  *time.Timer
	closed bool
}

// New makes a pool without connections.
func New(cfg Config) *Pool {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&cfg.Connect, 10*time.Second)
	or(&cfg.Answer, time.Minute)
	or(&cfg.Stall, 5*time.Minute)
	or(&cfg.Idle, 4*time.Second)
	if cfg.MaxIdle <= 0 {
		cfg.MaxIdle = 256
	}
	if cfg.MaxHead <= 0 {
		cfg.MaxHead = 256 << 10
	}
	return &Pool{cfg: cfg}
}

// Do sends a request and reads the head of the answer. A request that meets a connection which the back end has just closed
// is sent again on a new one, where nothing of it was sent or where it is Safe and its body can be repeated.
func (p *Pool) Do(ctx context.Context, r *Request) (*Response, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	for fresh := false; ; fresh = true {
		c, err := p.get(ctx, fresh)
		if err != nil {
			return nil, err
		}
		reused := c.used
		resp, err := c.exchange(ctx, r)
		if err == nil {
			return resp, nil
		}
		if !reused || !Repeatable(r, err) {
			return nil, err
		}
	}
}

// Repeatable reports whether a request that failed may be sent again: nothing of it was sent, or nothing came back and it
// can bear it.
func Repeatable(r *Request, err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Answered || e.Timeout() && e.Op != opConnect {
		return false
	}
	return !e.Sent || r.Safe && r.Body == nil
}

const (
	opConnect = "connect"
	opWrite   = "send request"
	opRead    = "read answer"
)

// get takes an idle connection, or makes one.
func (p *Pool) get(ctx context.Context, fresh bool) (*conn, error) {
	for !fresh {
		c := p.take()
		if c == nil {
			break
		}
		if c.alive() {
			return c, nil
		}
		c.net.Close()
	}
	dial, cancel := context.WithTimeout(ctx, p.cfg.Connect)
	defer cancel()
	nc, err := p.cfg.Dial(dial)
	if err != nil {
		if e := ctx.Err(); e != nil {
			return nil, e
		}
		return nil, &Error{Op: opConnect, Err: err}
	}
	return newConn(p, nc), nil
}

// take gives the connection that was used last, if that was not too long ago.
func (p *Pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// put keeps a connection for the next request.
func (p *Pool) put(c *conn, now time.Time) {
	p.mu.Lock()
	if p.closed || p.cfg.Once || len(p.idle) >= p.cfg.MaxIdle {
		p.mu.Unlock()
		c.net.Close()
		return
	}
	c.since = now
	p.idle = append(p.idle, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.cfg.Idle, p.prune)
	} else if len(p.idle) == 1 {
		p.timer.Reset(p.cfg.Idle)
	}
	p.mu.Unlock()
}

// prune closes what was idle for too long.
func (p *Pool) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := time.Now().Add(-p.cfg.Idle)
	n := 0
	for n < len(p.idle) && !p.idle[n].since.After(limit) {
		p.idle[n].net.Close()
		n++
	}
	if n > 0 {
		m := copy(p.idle, p.idle[n:])
		clear(p.idle[m:])
		p.idle = p.idle[:m]
	}
	if len(p.idle) > 0 {
		p.timer.Reset(max(time.Until(p.idle[0].since.Add(p.cfg.Idle)), time.Millisecond))
	}
}

// CloseIdle closes the connections that have no request, and those that have one when it is answered.
func (p *Pool) CloseIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.net.Close()
	}
	p.idle = nil
	if p.timer != nil {
		p.timer.Stop()
	}
}

// Idle is how many connections wait for a request.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}
