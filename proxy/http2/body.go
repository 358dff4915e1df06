package http2

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/http2"

	"github.com/platformd/platformd/proxy/wire"
)

// body is that of a request. All of it is under the connection's lock.
type body struct {
	st      *stream
	buf     []byte // what has come and was not read is buf[r:]
	r       int
	recv    inflow
	length  int64 // that was promised; -1 where none was
	got     int64
	over    bool // all has come
	trailer http.Header
	err     error // why no more is read
	until   time.Time
	wake    chan struct{} // made by who waits
}

var errClosed = errors.New("read request: the answer is over")

// come takes data of a frame of n bytes. The lock is held.
func (b *body) come(p []byte, n int64, last bool) error {
	c, id := b.st.c, b.st.id
	if !b.recv.take(n) {
		c.giveBack(n)
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	}
	b.got += int64(len(p))
	if b.length >= 0 && (b.got > b.length || last && b.got < b.length) {
		c.giveBack(n)
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	b.giveBack(n - int64(len(p))) // padding
	if b.err != nil {
		c.giveBack(int64(len(p)))
	} else {
		if b.r > 0 && b.r == len(b.buf) {
			b.buf, b.r = b.buf[:0], 0
		}
		b.buf = append(b.buf, p...)
	}
	b.over = last
	b.signal()
	return nil
}

// end takes trailers. The lock is held.
func (b *body) end(f *http2.MetaHeadersFrame) error {
	bad := http2.StreamError{StreamID: b.st.id, Code: http2.ErrCodeProtocol}
	if !f.StreamEnded() || len(f.PseudoFields()) > 0 || b.length >= 0 && b.got != b.length {
		return bad
	}
	for _, field := range f.Fields {
		if wire.Framing([]byte(field.Name)) {
			return bad
		}
		if b.trailer == nil {
			b.trailer = http.Header{}
		}
		b.trailer.Add(field.Name, field.Value)
	}
	b.over = true
	b.signal()
	return nil
}

// giveBack says that n bytes are not in memory any more. The lock is held.
func (b *body) giveBack(n int64) {
	if n == 0 {
		return
	}
	c := b.st.c
	c.giveBack(n)
	if more := b.recv.give(n, streamWindow); more > 0 && !b.over {
		c.windowUpdate(b.st.id, more)
	}
}

// close is for a body that nobody reads any more. The lock is held.
func (b *body) close(err error) {
	if b.err == nil {
		b.err = err
	}
	if n := len(b.buf) - b.r; n > 0 {
		b.st.c.giveBack(int64(n))
	}
	b.buf, b.r = nil, 0
	b.signal()
}

func (b *body) signal() {
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	st := b.st
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	st.proceed()
	for b.r == len(b.buf) {
		switch {
		case b.err != nil:
			return 0, b.err
		case b.over:
			b.finish()
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		if err := c.wait(&b.wake, b.until); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.buf[b.r:])
	b.r += n
	b.giveBack(int64(n))
	c.kick()
	if b.r == len(b.buf) && b.over && b.err == nil {
		b.finish()
		return n, io.EOF
	}
	return n, nil
}

// finish gives the request what came behind its body.
func (b *body) finish() {
	r := b.st.req
	for name, values := range b.trailer {
		if r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		r.Trailer[name] = values
	}
	b.trailer = nil
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }

// wait waits until somebody closes the channel, which is made where it is nil, or until a time that is not zero. The lock is held but for
// the wait.
func (c *conn) wait(wake *chan struct{}, until time.Time) error {
	if *wake == nil {
		*wake = make(chan struct{})
	}
	ch := *wake
	var late <-chan time.Time
	if !until.IsZero() {
		left := time.Until(until)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		t := time.NewTimer(left)
		defer t.Stop()
		late = t.C
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-ch:
		return nil
	case <-late:
		return os.ErrDeadlineExceeded
	}
}
