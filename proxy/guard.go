package proxy

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"

	"github.com/platformd/platformd/proxy/wire"
)

// guardConn reads the bytes of an HTTP/1 connection before the HTTP server does, and stops at the first that two programs
// could read differently: net/http prefers Transfer-Encoding over Content-Length without a word, takes a bare line feed for
// the end of a line, and passes on what was in front of a bad chunk as a whole body. What it lets through has heads with one
// meaning, and bodies whose length is beyond doubt (RFC 9112, sections 2.2, 5.2, 6.3 and 7.1).
//
// On a violation in a head the server is given a header line that it must refuse with 400; in a body, an error.
type guardConn struct {
	net.Conn
	// refused is called once, with the reason of a violation.
	refused func(reason string)

	state  guardState
	head   []byte // the part of a head that came with earlier reads
	last   byte   // of the bytes before
	left   int64  // of a body or a chunk
	line   []byte // of a chunk size or a trailer
	extra  int    // bytes of trailers
	poison []byte
	ended  atomic.Bool
}

type guardState uint8

const (
	inHead guardState = iota
	inBody
	inSize    // the line of a chunk's size
	inChunk   // its data
	inCRLF    // after its data
	inTrailer // after the last chunk
	inTunnel  // another protocol, or a request after which nothing may come
)

// maxGuardHead bounds a head; the server answers 431 before that.
const maxGuardHead = maxHead + 64<<10

// poisoned is a header line that no HTTP server accepts.
var poisoned = []byte("\x00:\r\n\r\n")

// Read implements net.Conn.
func (c *guardConn) Read(p []byte) (int, error) {
	if len(c.poison) > 0 {
		n := copy(p, c.poison)
		c.poison = c.poison[n:]
		return n, nil
	}
	if c.ended.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	ok, reason := c.inspect(p[:n])
	if reason == "" {
		return n, err
	}
	body := c.state != inHead
	c.ended.Store(true)
	if c.refused != nil {
		c.refused(reason)
	}
	if body {
		return 0, io.ErrUnexpectedEOF
	}
	// What was let through ends in the middle of a head; a line that is cut there is made whole, so that the next is bad.
	c.poison = poisoned
	if ok == 0 {
		return c.Read(p)
	}
	return ok, nil
}

// CloseWrite ends this side alone: for the HTTP server, and for another protocol whose back end has said all.
func (c *guardConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// end makes every later read the end of the connection.
func (c *guardConn) end() { c.ended.Store(true) }

// inspect goes through bytes as they arrived. With a reason, only the first n may go on.
func (c *guardConn) inspect(b []byte) (n int, reason string) {
	for n < len(b) && reason == "" {
		var k int
		switch c.state {
		case inHead:
			k, reason = c.inspectHead(b[n:])
		case inBody, inChunk:
			k = int(min(c.left, int64(len(b)-n)))
			if c.left -= int64(k); c.left == 0 {
				c.state = map[guardState]guardState{inBody: inHead, inChunk: inCRLF}[c.state]
			}
		case inTunnel:
			k = len(b) - n
		default:
			k, reason = c.inspectLine(b[n:])
		}
		n += k
	}
	return n, reason
}

// inspectHead takes what belongs to a head, and judges it when it is whole.
func (c *guardConn) inspectHead(b []byte) (int, string) {
	start := 0 // of the line
	blank := endsLine(c.head)
	for start < len(b) {
		i := bytes.IndexByte(b[start:], '\n')
		if i < 0 {
			break
		}
		end := start + i
		before := c.last
		if end > 0 {
			before = b[end-1]
		}
		if before != '\r' {
			return start, "a line ends with a bare line feed"
		}
		if blank && (end-start == 1 || end == start) { // the carriage return may have come with the bytes before
			head := b[:end+1]
			if len(c.head) > 0 {
				c.head = append(c.head, head...)
				head = c.head
			}
			next, reason := judgeHead(head)
			c.head = c.head[:0]
			if reason != "" {
				return start, reason
			}
			c.state, c.left, c.last = next.state, next.length, 0
			return end + 1, ""
		}
		start, blank = end+1, true
	}
	if len(c.head)+len(b) > maxGuardHead {
		return 0, "a head is too long"
	}
	c.head = append(c.head, b...)
	c.last = b[len(b)-1]
	return len(b), ""
}

// endsLine reports whether what follows b begins a line, but for a carriage return that may be there already.
func endsLine(b []byte) bool {
	b = bytes.TrimSuffix(b, []byte("\r"))
	return len(b) == 0 || bytes.HasSuffix(b, []byte("\r\n"))
}

// maxLine bounds the line of a chunk's size, and maxTrailers all trailers together.
const (
	maxLine     = 4 << 10
	maxTrailers = 16 << 10
)

// inspectLine takes a line of a chunked body, and judges it when it is whole.
func (c *guardConn) inspectLine(b []byte) (int, string) {
	i := bytes.IndexByte(b, '\n')
	part := b
	if i >= 0 {
		part = b[:i+1]
	}
	if len(c.line)+len(part) > maxLine {
		return 0, "a line of a chunked body is too long"
	}
	c.line = append(c.line, part...)
	if i < 0 {
		return len(b), ""
	}
	line, whole := bytes.CutSuffix(c.line, []byte("\r\n"))
	c.line = c.line[:0]
	if !whole || bytes.IndexByte(line, '\r') >= 0 {
		return 0, "a line of a chunked body does not end with CRLF"
	}
	switch c.state {
	case inCRLF:
		if len(line) > 0 {
			return 0, "a chunk is longer than its size"
		}
		c.state = inSize
	case inSize:
		size, ok := wire.ChunkSize(line)
		if !ok {
			return 0, "a chunk has a bad size"
		}
		if c.state, c.left = inChunk, size; size == 0 {
			c.state, c.extra = inTrailer, 0
		}
	case inTrailer:
		if c.extra += len(line) + 2; c.extra > maxTrailers {
			return 0, "the trailers are too long"
		}
		if len(line) == 0 {
			c.state = inHead
			break
		}
		name, _, reason := wire.Field(line)
		if reason == "" && wire.Framing(name) {
			reason = "a trailer changes what the head said"
		}
		if reason != "" {
			return 0, reason
		}
	}
	return len(part), ""
}
