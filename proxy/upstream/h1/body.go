package h1

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/platformd/platformd/proxy/wire"
)

type bodyState uint8

const (
	bodyEnd     bodyState = iota
	bodyLength            // left bytes to go
	bodyClose             // until the connection ends
	bodySize              // the line before a chunk
	bodyChunk             // left bytes of a chunk to go
	bodyCRLF              // behind a chunk
	bodyTrailer           // behind the last chunk
)

// framing is where in a body the connection is.
type framing struct {
	state   bodyState
	left    int64
	extra   int // bytes of trailers
	trailer http.Header
	err     error
}

const (
	maxLine     = 4 << 10
	maxTrailers = 16 << 10
)

// settle takes a judged head as that of the answer (RFC 9112, section 6.3).
func (c *conn) settle(head []byte, h *answer) error {
	into := c.req.Into
	c.commit(head, into, h.connection)
	c.resp = Response{Status: h.status, Major: 1, Minor: h.minor, Body: c, Length: h.length}
	c.reuse = !h.close && (h.minor == 1 || h.keep)
	switch {
	case h.status == http.StatusNoContent:
		c.reuse = c.reuse && h.length <= 0 && !h.chunked // some send a body all the same
		c.resp.Length = 0
	case c.req.Method == http.MethodHead || h.status == http.StatusNotModified:
		c.reuse = c.reuse && !(h.chunked && h.status == http.StatusNotModified)
		if h.length >= 0 {
			into["Content-Length"] = []string{strconv.FormatInt(h.length, 10)}
		}
		c.resp.Length = 0
	case h.chunked:
		c.body.state, c.resp.Length = bodySize, -1
		for _, v := range h.trailer {
			c.announce(v)
		}
	case h.length > 0:
		into["Content-Length"] = []string{strconv.FormatInt(h.length, 10)}
		c.body.state, c.body.left = bodyLength, h.length
	case h.length == 0:
		into["Content-Length"] = zero
	default:
		c.body.state, c.reuse = bodyClose, false
	}
	if s := c.sender; s != nil {
		c.until = time.Time{} // the sender has moved the deadline, or will not any more
		s.answered.Store(true)
		c.resp.Early = !s.whole.Load()
		s.refrain()
	}
	return nil
}

var zero = []string{"0"}

// announce notes the names of trailers that may be passed on.
func (c *conn) announce(value []byte) {
	for name := range bytes.SplitSeq(value, []byte(",")) {
		name = bytes.Trim(name, " \t")
		if wire.IsToken(name) && !wire.Framing(name) && len(c.resp.Announced) < maxFields {
			c.resp.Announced = append(c.resp.Announced, http.CanonicalHeaderKey(string(name)))
		}
	}
}

// Next implements Body.
func (c *conn) Next() ([]byte, error) {
	if c.body.err != nil {
		return nil, c.body.err
	}
	b, err := c.next()
	if err != nil && err != io.EOF {
		if !errors.Is(err, ErrMalformed) {
			err = c.cause(c.ctx, opRead, err)
		}
		c.body.err = err
	}
	return b, err
}

func (c *conn) next() ([]byte, error) {
	for {
		switch c.body.state {
		case bodyEnd:
			return nil, io.EOF
		case bodyLength, bodyChunk:
			b, err := c.piece(c.body.left)
			if c.body.left -= int64(len(b)); err == nil && c.body.left == 0 {
				if c.body.state == bodyChunk {
					c.body.state = bodyCRLF
				} else {
					c.body.state = bodyEnd
				}
			}
			return b, err
		case bodyClose:
			b, err := c.piece(1 << 62)
			if err == io.ErrUnexpectedEOF {
				c.body.state = bodyEnd
				return nil, io.EOF
			}
			return b, err
		default:
			line, err := c.line()
			if err != nil {
				return nil, err
			}
			if err := c.step(line); err != nil {
				return nil, err
			}
		}
	}
}

// step takes a line between chunks, without its end.
func (c *conn) step(line []byte) error {
	f := &c.body
	switch f.state {
	case bodyCRLF:
		if len(line) > 0 {
			return malformed("a chunk is longer than its size")
		}
		f.state = bodySize
	case bodySize:
		size, ok := wire.ChunkSize(line)
		if !ok {
			return malformed("a chunk has a bad size")
		}
		if f.state, f.left = bodyChunk, size; size == 0 {
			f.state = bodyTrailer
		}
	case bodyTrailer:
		if len(line) == 0 {
			f.state = bodyEnd
			return nil
		}
		if f.extra += len(line) + 2; f.extra > maxTrailers {
			return malformed("the trailers are too long")
		}
		name, value, reason := wire.Field(line)
		if reason == "" && wire.Framing(name) {
			reason = "a trailer changes what the head said"
		}
		if reason != "" {
			return malformed(reason)
		}
		if f.trailer == nil {
			f.trailer = http.Header{}
		}
		f.trailer.Add(string(name), string(value))
	}
	return nil
}

// piece gives up to n bytes, at least one, of what is there or of what comes next.
func (c *conn) piece(n int64) ([]byte, error) {
	if c.r == c.w {
		if err := c.more(n); err != nil {
			return nil, err
		}
	}
	b := c.buf[c.r:c.w]
	if int64(len(b)) > n {
		b = b[:n]
	}
	c.r += len(b)
	return b, nil
}

// line gives the next line without its end.
func (c *conn) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(c.buf[c.r:c.w], '\n'); i >= 0 {
			b := c.buf[c.r : c.r+i]
			c.r += i + 1
			if i == 0 || b[i-1] != '\r' || bytes.IndexByte(b[:i-1], '\r') >= 0 {
				return nil, malformed("a line of a chunked body does not end with CRLF")
			}
			return b[:i-1], nil
		}
		if c.w-c.r > maxLine {
			return nil, malformed("a line of a chunked body is too long")
		}
		if err := c.more(1); err != nil {
			return nil, err
		}
	}
}

// more reads from the back end, which has the stall time for it. Of a body that is larger than the connection's buffer it
// reads large pieces.
func (c *conn) more(n int64) error {
	if c.own == nil && (n > bufferSize || c.body.state == bodyLength && n > bufferSize/2) {
		c.large = pieces.Get().(*[]byte)
		c.own = c.buf
		c.r, c.w, c.buf = 0, copy(*c.large, c.buf[c.r:c.w]), *c.large
	}
	if c.r > 0 {
		c.r, c.w = 0, copy(c.buf, c.buf[c.r:c.w])
	}
	if err := c.allow(time.Now(), c.pool.cfg.Stall); err != nil {
		return err
	}
	return c.fill()
}

// Ready implements Body. It takes what stands between chunks, so that only data are worth waiting for.
func (c *conn) Ready() bool {
	for c.body.err == nil {
		switch c.body.state {
		case bodyEnd:
			return true
		case bodyLength, bodyChunk, bodyClose:
			return c.r < c.w
		}
		if bytes.IndexByte(c.buf[c.r:c.w], '\n') < 0 {
			return false
		}
		line, err := c.line()
		if err == nil {
			err = c.step(line)
		}
		c.body.err = err
	}
	return true
}
