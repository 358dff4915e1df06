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

// framing is where in a body the connection is, and why no more of it is read.
type framing struct {
	wire.Body
	err error
}

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
		c.body.Phase, c.resp.Length = wire.AtSize, -1
		for _, v := range h.trailer {
			c.announce(v)
		}
	case h.length > 0:
		into["Content-Length"] = []string{strconv.FormatInt(h.length, 10)}
		c.body.Phase, c.body.Left = wire.InLength, h.length
	case h.length == 0:
		into["Content-Length"] = zero
	default:
		c.body.Phase, c.reuse = wire.UntilClose, false
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
		switch c.body.Phase {
		case wire.AtEnd:
			return nil, io.EOF
		case wire.InLength, wire.InChunk:
			b, err := c.piece(c.body.Left)
			if err == nil {
				c.body.Took(len(b))
			}
			return b, err
		case wire.UntilClose:
			b, err := c.piece(1 << 62)
			if err == io.ErrUnexpectedEOF {
				c.body.Phase = wire.AtEnd
				return nil, io.EOF
			}
			return b, err
		default:
			if err := c.step(); err != nil {
				return nil, err
			}
		}
	}
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
		if c.w-c.r > wire.MaxLine {
			return nil, malformed("a line of a chunked body is too long")
		}
		if err := c.more(1); err != nil {
			return nil, err
		}
	}
}

// step takes the next line between chunks.
func (c *conn) step() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if reason := c.body.Step(line); reason != "" {
		return malformed(reason)
	}
	return nil
}

// more reads from the back end, which has the stall time for it. Of a body that is larger than the connection's buffer it
// reads large pieces.
func (c *conn) more(n int64) error {
	if c.own == nil && (n > bufferSize || c.body.Phase == wire.InLength && n > bufferSize/2) {
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
		switch c.body.Phase {
		case wire.AtEnd:
			return true
		case wire.InLength, wire.InChunk, wire.UntilClose:
			return c.r < c.w
		}
		if bytes.IndexByte(c.buf[c.r:c.w], '\n') < 0 {
			return false
		}
		c.body.err = c.step()
	}
	return true
}
