package http1

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/platformd/platformd/proxy/wire"
)

// body is that of a request. One goroutine may read it while another writes the answer.
type body struct {
	w    *response
	over atomic.Bool // all of it was read, and what comes next on the connection is another request

	mu  sync.Mutex
	at  wire.Body
	err error
}

var errBodyClosed = errors.New("read request: the answer is over")

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	b.w.proceed()
	n, err := b.read(p)
	if err != nil {
		if bad := (*refusal)(nil); errors.As(err, &bad) {
			b.w.c.refused(bad.reason)
		}
		b.err = err
	}
	return n, err
}

// Close implements io.Closer: what was not read is left to the connection's end.
func (b *body) Close() error { return nil }

// close makes every later read fail; it waits for one that is under way.
func (b *body) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errBodyClosed
	}
}

// read takes all that has come and fits into p, so that what is wrong with it is known before anybody gets a part.
func (b *body) read(p []byte) (n int, err error) {
	c := b.w.c
	for {
		switch b.at.Phase {
		case wire.AtEnd:
			b.end()
			return n, io.EOF
		case wire.InLength, wire.InChunk:
			if n == len(p) || n > 0 && c.r == c.w {
				return n, nil
			}
			k, err := b.data(p[n:min(int64(len(p)), int64(n)+b.at.Left)])
			n += k
			if err != nil {
				return n, err
			}
			b.at.Took(k)
			continue
		}
		if n > 0 && bytes.IndexByte((*c.in)[c.r:c.w], '\n') < 0 {
			return n, nil
		}
		line, err := b.line()
		if err != nil {
			return 0, err
		}
		if reason := b.at.Step(line); reason != "" {
			return 0, badRequest(reason)
		}
	}
}

// end is for a body that was read to its end.
func (b *body) end() {
	b.at.Phase = wire.AtEnd
	if b.over.Load() {
		return
	}
	r := b.w.req
	for name, values := range b.at.Trailer {
		if r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		r.Trailer[name] = values
	}
	b.over.Store(true)
}

// data reads a part of the body, past the buffer where that has nothing.
func (b *body) data(p []byte) (int, error) {
	c := b.w.c
	if c.r < c.w {
		n := copy(p, (*c.in)[c.r:c.w])
		c.r += n
		return n, nil
	}
	n, err := c.net.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, cut(err)
}

// cut is for a connection that ends within a body.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line gives the next line without its end.
func (b *body) line() ([]byte, error) {
	c := b.w.c
	for from := c.r; ; {
		in := *c.in
		if i := bytes.IndexByte(in[from:c.w], '\n'); i >= 0 {
			l := in[c.r : from+i]
			c.r = from + i + 1
			if len(l) >= wire.MaxLine {
				return nil, badRequest("a line of a chunked body is too long")
			}
			if n := len(l) - 1; n < 0 || l[n] != '\r' || bytes.IndexByte(l[:n], '\r') >= 0 {
				return nil, badRequest("a line of a chunked body does not end with CRLF")
			}
			return l[:len(l)-1], nil
		}
		if c.w-c.r >= wire.MaxLine {
			return nil, badRequest("a line of a chunked body is too long")
		}
		from = c.w
		if c.w == len(in) {
			from -= c.r
			c.room()
			in = *c.in
		}
		n, err := c.net.Read(in[c.w:])
		if c.w += n; n == 0 && err != nil {
			return nil, cut(err)
		}
	}
}
