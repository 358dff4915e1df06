package http2

import (
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/platformd/platformd/proxy/serving"
)

// stream is one request, and the http.ResponseWriter of its answer.
type stream struct {
	c       *conn
	id      uint32
	req     *http.Request
	url     url.URL      // of req
	life    serving.Life // its context
	tooLong bool         // its head, which is not whole

	// Of the handler:
	header  http.Header
	status  int
	known   known
	length  int64 // that the handler has promised; -1 where it has not
	written int64
	open    bool        // the head waits for the end of the body, or for its beginning
	later   http.Header // that the head is made of then
	held    []byte      // the body until then
	silent  bool        // the answer has no body, whatever is written

	// Under the lock of the connection:
	body   body
	asked  bool          // the client has been asked for the body, or need not be
	window int64         // bytes of the answer that may be sent
	gone   error         // why nothing can be sent any more
	ended  bool          // the end was sent
	sent   bool          // some of the body was sent:
	last   int           // the last frame of it began there in what is to be written,
	lastIn uint64        // if that was not taken since
	until  time.Time     // when the client must have taken what it is sent
	wake   chan struct{} // made by who waits
}

func newStream(c *conn, id uint32) *stream {
	st := &stream{c: c, id: id, window: c.initial, asked: true, length: -1}
	st.body.st, st.body.recv.left = st, streamWindow
	st.life.Context = c.ctx
	st.req = c.base.WithContext(&st.life)
	st.req.URL = &st.url
	return st
}

func (st *stream) signal() {
	if st.wake != nil {
		close(st.wake)
		st.wake = nil
	}
}

// cut ends a stream whose client does not want it any more. The lock is held.
func (st *stream) cut(err error) {
	if st.gone == nil {
		st.gone = err
	}
	st.body.close(err)
	delete(st.c.streams, st.id)
	st.life.End()
	st.signal()
}

// serve has the request answered.
func (st *stream) serve() {
	aborted := st.handle()
	var trailers []hpack.HeaderField
	if !aborted {
		trailers = st.conclude()
	}
	st.life.End()
	st.finish(aborted, trailers)
	freeHeader(st.header)
	st.header = nil
}

// handle runs the handler, and reports whether it gave up.
func (st *stream) handle() (aborted bool) {
	defer func() {
		if p := recover(); p != nil {
			aborted = true
			if p != http.ErrAbortHandler {
				st.c.s.cfg.Log.Error("serve request", "panic", p, "stack", string(debug.Stack()))
			}
		}
	}()
	if st.tooLong {
		st.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		return false
	}
	st.c.s.cfg.Handler.ServeHTTP(st, st.req)
	return false
}

// conclude writes what is left of an answer but for its end, and gives the trailers that are to follow.
func (st *stream) conclude() []hpack.HeaderField {
	if st.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	_ = st.commit(true, nil) // that the client has left is seen by finish
	return st.trailers()
}

// finish ends the stream.
func (st *stream) finish(aborted bool, trailers []hpack.HeaderField) {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.gone == nil && c.spare() && st.gone == nil {
		switch {
		case aborted || !st.silent && st.length >= 0 && st.written != st.length:
			c.reset(st.id, http2.ErrCodeInternal)
		case st.ended:
		case len(trailers) > 0:
			for _, f := range trailers {
				c.encode(f.Name, f.Value)
			}
			c.headers(st.id, true)
		case st.sent && st.lastIn == c.taken:
			c.out[st.last+4] |= byte(http2.FlagDataEndStream)
		default:
			c.frame(0, http2.FrameData, http2.FlagDataEndStream, st.id)
		}
		if !aborted && !st.body.over {
			c.reset(st.id, http2.ErrCodeNo) // RFC 9113, section 8.1: the rest of the body is not wanted
		}
	}
	st.body.close(errClosed)
	if c.streams[st.id] == st {
		delete(c.streams, st.id)
	}
	c.running--
	if c.leaving && len(c.streams) == 0 {
		_ = c.net.SetReadDeadline(time.Unix(1, 0)) // who reads sees that it is over
	}
	c.kick()
}

// proceed asks the client for the body, when somebody begins to read it. The lock is held.
func (st *stream) proceed() {
	if st.asked || st.gone != nil {
		return
	}
	st.asked = true
	st.c.encode(":status", "100")
	st.c.headers(st.id, false)
	st.c.kick()
}

// send writes a part of the body, as fast as the client wants it. last says that it is the last for all that is known, so that
// its end will follow at once.
func (st *stream) send(p []byte, last bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		if !c.spare() || st.gone != nil {
			return st.why()
		}
		n := int(min(int64(len(p)), maxFrame, st.window, c.window))
		if n <= 0 {
			if err := st.block(); err != nil {
				return err
			}
			continue
		}
		st.sent, st.last, st.lastIn = true, len(c.out), c.taken
		c.frame(n, http2.FrameData, 0, st.id)
		c.out = append(c.out, p[:n]...)
		p = p[n:]
		st.window -= int64(n)
		c.window -= int64(n)
	}
	if !last {
		c.kick()
	}
	return nil
}

// why is the reason that nothing can be sent. The lock is held.
func (st *stream) why() error {
	if st.gone != nil {
		return st.gone
	}
	return st.c.err
}

// block waits until the client wants more, which it may take the stall time for, if the handler has not said otherwise. The lock
// is held but for the wait.
func (st *stream) block() error {
	c := st.c
	c.kick()
	if c.window <= 0 {
		c.blocked = append(c.blocked, st)
	}
	until := st.until
	if until.IsZero() {
		until = time.Now().Add(c.s.cfg.Stall)
	}
	err := c.wait(&st.wake, until)
	if err != nil && st.gone == nil && c.err == nil {
		if time.Now().Before(st.until) {
			return nil // it was moved meanwhile
		}
		c.reset(st.id, http2.ErrCodeInternal)
		st.cut(err)
		c.kick()
	}
	return err
}
