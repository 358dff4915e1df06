package http1

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/platformd/platformd/proxy/serving"
)

// conn is one connection. But for what mu is over, only the goroutine that serves it touches it; while a request is served,
// what was read is its body's.
type conn struct {
	s      *Server
	net    net.Conn
	socket syscall.RawConn // what net reads from in the end; nil where that is not known
	cork   serving.Corker  // what net writes to; nil where that cannot gather
	base   *http.Request   // what all requests have in common
	ctx    context.Context
	first  bool // no request has come yet

	in    *[]byte // what was read is (*in)[r:w]; nil where nothing is
	r, w  int
	out   *[]byte // what is to be written; nil where nothing is
	spans []span
	// header is of the answers, one after the other.
	header http.Header

	// When reads and writes end, as far as this goroutine has said; a handler may say otherwise.
	readUntil, writeUntil time.Time
	readMoved, writeMoved atomic.Bool
	state                 atomic.Uint32

	mu      sync.Mutex // of what follows
	now     *response  // what is served
	seen    *response  // what was served when looked at last
	timer   *time.Timer
	armed   bool
	resting bool
	watched chan struct{} // closed when nobody reads to see whether the client is there; nil where nobody does
}

// states of a connection
const (
	isIdle uint32 = iota
	isBusy
	isEnded
	isTaken // by another protocol
)

// sizes of buffers. A TLS record takes outSize bytes.
const (
	inSize  = 4 << 10
	outSize = 16 << 10
)

var (
	ins  = sync.Pool{New: func() any { b := make([]byte, inSize); return &b }}
	outs = sync.Pool{New: func() any { b := make([]byte, 0, outSize); return &b }}
)

func newConn(s *Server, ctx context.Context, nc net.Conn, state *tls.ConnectionState) *conn {
	c := &conn{s: s, net: nc, ctx: ctx, first: true, socket: serving.Socket(nc), cork: serving.CorkOf(nc)}
	c.base = &http.Request{TLS: state, RemoteAddr: nc.RemoteAddr().String()}
	return c
}

// serve answers one request after the other. The connection has been without one since a time.
func (c *conn) serve(since time.Time) {
	for {
		h, err := c.readHead(since)
		if err == errAsleep {
			return // another goroutine goes on
		}
		if err != nil {
			c.refuse(err)
			break
		}
		if !c.exchange(h) {
			break
		}
		since = time.Time{} // is looked up where it matters
	}
	c.end()
}

// end closes the connection, if no other protocol has it.
func (c *conn) end() {
	if c.state.Load() != isTaken {
		c.state.Store(isEnded)
		c.net.Close()
	}
	c.release()
	c.s.Remove(c)
}

// release gives the buffers back.
func (c *conn) release() {
	if c.in != nil {
		if len(*c.in) == inSize {
			ins.Put(c.in)
		}
		c.in = nil
	}
	c.freeOut()
	c.header, c.spans = nil, nil
}

func (c *conn) freeOut() {
	if c.out != nil {
		if cap(*c.out) == outSize {
			*c.out = (*c.out)[:0]
			outs.Put(c.out)
		}
		c.out = nil
	}
}

// refusal ends a connection with a status and a reason, which is for the log.
type refusal struct {
	status int
	reason string
}

// Error implements error.
func (r *refusal) Error() string { return r.reason }

func badRequest(reason string) error { return &refusal{http.StatusBadRequest, reason} }

// readHead gives the next head with the blank line behind it. It stays where it is until the next read.
func (c *conn) readHead(since time.Time) ([]byte, error) {
	if c.r == c.w {
		c.r, c.w = 0, 0
		if err := c.await(since); err != nil {
			return nil, err
		}
	} else if !c.begin() {
		return nil, net.ErrClosed
	}
	first, limited := c.first, false
	c.first = false
	for line := c.r; ; {
		b := (*c.in)[:c.w]
		if i := bytes.IndexByte(b[line:], '\n'); i >= 0 {
			end := line + i
			if i == 0 || b[end-1] != '\r' {
				return nil, badRequest("a line ends with a bare line feed")
			}
			if i == 1 {
				h := b[c.r : end+1]
				c.r = end + 1
				return h, nil
			}
			line = end + 1
			continue
		}
		if c.w == len(*c.in) {
			if c.w-c.r >= c.s.cfg.MaxHead {
				return nil, &refusal{http.StatusRequestHeaderFieldsTooLarge, "a head is too long"}
			}
			line -= c.r
			c.room()
		}
		if !limited {
			limited = true
			if !first {
				since = time.Now()
			}
			c.readUntil = since.Add(c.s.cfg.Header)
			if err := c.net.SetReadDeadline(c.readUntil); err != nil {
				return nil, err
			}
		}
		n, err := c.net.Read((*c.in)[c.w:])
		if c.w += n; n == 0 && err != nil {
			return nil, err
		}
	}
}

// room makes some behind what was read, and puts that at the beginning.
func (c *conn) room() {
	to := c.in
	if c.r == 0 {
		b := make([]byte, min(2*len(*c.in), max(c.s.cfg.MaxHead, inSize)))
		to = &b
	}
	c.w = copy(*to, (*c.in)[c.r:c.w])
	c.r, c.in = 0, to
}

// begin says that there is a request. It fails where the connection was closed meanwhile.
func (c *conn) begin() bool { return c.state.CompareAndSwap(isIdle, isBusy) }

// EndIdle implements serving.Member.
func (c *conn) EndIdle() {
	if c.state.CompareAndSwap(isIdle, isEnded) {
		c.net.Close()
	}
}

// Close implements serving.Member.
func (c *conn) Close() { c.net.Close() }

// exchange answers a request, and reports whether another may follow.
func (c *conn) exchange(b []byte) bool {
	w := newResponse(c)
	r := w.req
	h, reason := c.parse(b, r)
	if reason != "" {
		c.refuse(badRequest(reason))
		return false
	}
	w.begin(h)
	if c.writeMoved.Swap(false) {
		c.writeUntil = time.Time{}
	}
	if h.other {
		c.refuse(&refusal{http.StatusExpectationFailed, "it expects what nobody can do"})
		return false
	}
	c.look(w)
	aborted := w.serve()
	c.lookAway()
	w.life.End()
	if c.state.Load() == isTaken {
		return false
	}
	again := w.finish(aborted)
	if !again {
		if w.lingers {
			serving.Linger(c.net, *c.in)
		}
		return false
	}
	clear(c.header)
	if len(*c.in) > inSize && c.r == c.w {
		c.in = nil // a long head made it grow
	}
	c.state.Store(isIdle)
	return !c.s.Ending()
}
