package h1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/platformd/platformd/proxy/wire"
)

// bufferSize is that of a connection's buffer, which takes a head and the beginning of a body in one read; pieceSize is how
// much of a larger body is read at once.
const (
	bufferSize = 8 << 10
	pieceSize  = 64 << 10
)

var pieces = sync.Pool{New: func() any { b := make([]byte, pieceSize); return &b }}

// conn is one connection, and the exchange that is on it.
type conn struct {
	pool  *Pool
	net   net.Conn
	raw   syscall.RawConn // nil where it has none
	peek  func(fd uintptr) bool
	peeks syscall.Errno // what peek found
	used  bool          // it has carried an exchange before
	since time.Time     // it has been idle

	buf   []byte  // what was read is buf[r:w]
	own   []byte  // the buffer of the connection, while buf is
	large *[]byte // a larger one
	r, w  int
	out   []byte // heads are written here
	until time.Time

	// Of the exchange:
	ctx      context.Context // an exchange is the life of a request
	req      *Request
	resp     Response
	head     answer
	fields   []span
	stop     func() bool // of the watch over the client
	aborts   func()      // is abort, made once
	answered bool
	reuse    bool
	wrote    atomic.Bool
	sender   *sender
	bodyErr  atomic.Pointer[error]
	body     framing
}

func newConn(p *Pool, nc net.Conn) *conn {
	c := &conn{pool: p, net: nc, buf: make([]byte, bufferSize), out: make([]byte, 0, 1024)}
	c.aborts = c.abort
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
			var b [1]byte
			c.peek = func(fd uintptr) bool {
				n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
				c.peeks = 0
				if n <= 0 && err != nil {
					c.peeks, _ = errors.AsType[syscall.Errno](err)
				}
				return true
			}
		}
	}
	return c
}

// alive reports whether the back end has neither closed an idle connection nor sent anything on it: what comes without a
// request is no answer to the next one.
func (c *conn) alive() bool {
	if c.raw == nil {
		return true
	}
	return c.raw.Read(c.peek) == nil && c.peeks == syscall.EAGAIN
}

// exchange sends a request and reads the head of its answer. With an error the connection is closed.
func (c *conn) exchange(ctx context.Context, r *Request) (*Response, error) {
	c.ctx, c.req, c.answered, c.reuse, c.sender = ctx, r, false, false, nil
	c.wrote.Store(false)
	c.bodyErr.Store(nil)
	c.stop = afterFunc(ctx, c.aborts)
	op, err := c.begin(r)
	if err == nil {
		op = opRead
		if err = c.readAnswer(); err == nil {
			return &c.resp, nil
		}
	}
	c.stop()
	c.net.Close()
	c.endSender()
	return nil, c.cause(ctx, op, err)
}

// afterFunc is context.AfterFunc, without what that puts around a context which can do it by itself.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if own, ok := ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		return own.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// begin sends what can be sent at once.
func (c *conn) begin(r *Request) (string, error) {
	var err error
	if c.out, err = r.appendHead(c.out[:0]); err != nil {
		return opWrite, err
	}
	// The answer has its time from the end of the request; where a body is sent meanwhile, that is the sender's to begin.
	now := time.Now()
	wait := c.pool.cfg.Answer
	if r.Body != nil {
		wait = c.pool.cfg.Stall
	}
	if err := c.allow(now, wait); err != nil {
		return opWrite, err
	}
	rest := r.Data
	if len(c.out)+len(rest) <= bufferSize {
		c.out, rest = append(c.out, rest...), nil
	}
	n, err := c.net.Write(c.out)
	if n > 0 {
		c.wrote.Store(true)
	}
	if err == nil && len(rest) > 0 {
		_, err = c.net.Write(rest)
	}
	if err == nil && r.Body != nil {
		c.sender = newSender(c, r)
		go c.sender.run()
	}
	return opWrite, err
}

// allow gives a read until d from now. Deadlines cost, so one that is a little later is as good.
func (c *conn) allow(now time.Time, d time.Duration) error {
	want := now.Add(d)
	if !c.until.Before(want) && c.until.Sub(want) <= d/8 {
		return nil
	}
	c.until = want.Add(d / 8)
	if err := c.net.SetDeadline(c.until); err != nil {
		return err
	}
	return c.ended()
}

// ended is for whoever has moved a deadline: an end that came before must not be undone by that.
func (c *conn) ended() error {
	if c.ctx.Err() != nil || c.bodyErr.Load() != nil {
		c.abort()
		return os.ErrDeadlineExceeded
	}
	return nil
}

// past is a time that has gone by.
var past = time.Unix(1, 0)

// abort makes whoever waits for the connection return.
func (c *conn) abort() { _ = c.net.SetDeadline(past) }

// fill reads more into the buffer, which must have room.
func (c *conn) fill() error {
	n, err := c.net.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		c.answered = true
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Close implements Body: the connection is kept only where the exchange is over without any doubt.
func (c *conn) Close() {
	if c.req == nil {
		return
	}
	alone := c.stop() // nobody has aborted it, or will
	over := c.reuse && c.body.Phase == wire.AtEnd && c.r == c.w && c.body.err == nil
	if !alone || !over || c.sender != nil && !c.sender.finished() {
		c.net.Close()
		c.endSender()
		c.release()
		c.req = nil
		return
	}
	c.release()
	c.req, c.used, c.sender = nil, true, nil
	c.r, c.w = 0, 0
	c.pool.put(c, time.Now())
}

// release gives the large buffer back.
func (c *conn) release() {
	if c.own != nil {
		c.buf, c.own = c.own, nil
		pieces.Put(c.large)
		c.large = nil
	}
	if len(c.buf) > bufferSize {
		c.buf = make([]byte, bufferSize) // a long head made it grow
	}
	c.resp, c.body, c.ctx = Response{}, framing{}, nil
}

// Tunnel implements Body.
func (c *conn) Tunnel() (io.ReadWriteCloser, []byte) {
	c.stop()
	_ = c.net.SetDeadline(time.Time{})
	rest := append([]byte(nil), c.buf[c.r:c.w]...)
	nc := c.net
	c.req = nil
	return tunnel{nc}, rest
}

// tunnel is a connection that speaks another protocol; what it has of CloseWrite and ReadFrom stays reachable.
type tunnel struct{ net.Conn }

// CloseWrite ends our side.
func (t tunnel) CloseWrite() error {
	if w, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return t.Conn.Close()
}

// Trailer implements Body.
func (c *conn) Trailer() http.Header { return c.body.Trailer }
