package h1

import (
	"bytes"
	"net/http"

	"github.com/platformd/platformd/proxy/wire"
)

// span is a field of a head, as positions in it.
type span struct{ name, nameEnd, value, valueEnd int }

const (
	// maxFields bounds the header lines of a head, and maxInterim the answers before the one that counts.
	maxFields  = 256
	maxInterim = 16
)

// readAnswer reads heads until one is that of the answer, and says in resp what it is.
func (c *conn) readAnswer() error {
	for range maxInterim {
		head, err := c.readHead()
		if err != nil {
			return err
		}
		if err := c.judge(head); err != nil {
			return err
		}
		h := &c.head
		switch {
		case h.status == http.StatusSwitchingProtocols:
			return c.switched(head, h)
		case h.status >= 200:
			return c.settle(head, h)
		case h.length >= 0 || h.chunked:
			return malformed("an interim answer has a body")
		case h.status == http.StatusContinue:
			if c.sender != nil {
				c.sender.proceed()
			}
		case c.req.Interim != nil:
			fields := http.Header{}
			c.commit(head, fields, h.connection)
			c.req.Interim(h.status, fields)
		}
	}
	return malformed("too many interim answers")
}

// readHead gives a head with the blank line behind it; it stays in the buffer until the next read.
func (c *conn) readHead() ([]byte, error) {
	start, line := c.r, c.r
	for {
		if i := bytes.IndexByte(c.buf[line:c.w], '\n'); i >= 0 {
			end := line + i
			if i == 0 || c.buf[end-1] != '\r' {
				return nil, malformed("a line ends with a bare line feed")
			}
			if i == 1 {
				c.r = end + 1
				return c.buf[start:c.r], nil
			}
			line = end + 1
			continue
		}
		if c.w == len(c.buf) {
			if c.w-start >= c.pool.cfg.MaxHead {
				return nil, malformed("its head is too long")
			}
			line -= start
			c.room(start)
			start = 0
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// room makes some behind what is in the buffer from start on, and puts that at its beginning.
func (c *conn) room(start int) {
	b := c.buf
	if start == 0 {
		b = make([]byte, 2*len(c.buf))
	}
	c.w = copy(b, c.buf[start:c.w])
	c.r, c.buf = 0, b
}

// answer is what a head says of itself.
type answer struct {
	status, minor int
	length        int64 // -1 where it says nothing
	chunked       bool
	connection    [][]byte // the options of Connection
	close, keep   bool
	trailer       [][]byte // lines of Trailer
	upgrade       []byte
}

// judge reads all of a head, and refuses what could be read in two ways.
func (c *conn) judge(head []byte) error {
	h := &c.head
	*h = answer{length: -1, connection: h.connection[:0], trailer: h.trailer[:0]}
	i := bytes.IndexByte(head, '\n')
	if reason := h.statusLine(head[:i-1]); reason != "" {
		return malformed(reason)
	}
	c.fields = c.fields[:0]
	lengths, encodings := 0, 0
	for at := i + 1; ; {
		end := at + bytes.IndexByte(head[at:], '\n') - 1
		if end == at {
			break
		}
		if len(c.fields) == maxFields {
			return malformed("a head has too many fields")
		}
		line := head[at:end]
		name, value, reason := wire.Field(line)
		if reason != "" {
			return malformed(reason)
		}
		kept, reason := h.field(name, value, &lengths, &encodings)
		if reason != "" {
			return malformed(reason)
		}
		if kept {
			v := at + len(name) + 1
			for v < end && (head[v] == ' ' || head[v] == '\t') {
				v++
			}
			c.fields = append(c.fields, span{at, at + len(name), v, v + len(value)})
		}
		at = end + 2
	}
	switch {
	case lengths > 0 && encodings > 0:
		return malformed("there are both Content-Length and Transfer-Encoding")
	case lengths > 1 || encodings > 1:
		return malformed("a field about its length is there twice")
	case encodings > 0 && h.minor == 0:
		return malformed("HTTP/1.0 has no Transfer-Encoding")
	}
	return nil
}

// statusLine reads "HTTP/1.1 200 OK"; the reason may be missing, with its space.
func (h *answer) statusLine(b []byte) string {
	if len(b) < 12 || string(b[:7]) != "HTTP/1." || b[7] != '0' && b[7] != '1' || b[8] != ' ' || len(b) > 12 && b[12] != ' ' {
		return "the status line is not one"
	}
	h.minor = int(b[7] - '0')
	for _, d := range b[9:12] {
		if d < '0' || d > '9' {
			return "the status is not a number"
		}
		h.status = 10*h.status + int(d-'0')
	}
	if h.status < 100 || h.status > 599 {
		return "the status is out of range"
	}
	for _, d := range b[12:] {
		if d < ' ' && d != '\t' || d == 0x7f {
			return "the status line has a control character in it"
		}
	}
	return ""
}

// field notes what a field says of the connection or of framing; kept are those that go on to the client.
func (h *answer) field(name, value []byte, lengths, encodings *int) (kept bool, reason string) {
	switch len(name) {
	case 2:
		return !wire.Is(name, "te"), ""
	case 7:
		switch {
		case wire.Is(name, "upgrade"):
			h.upgrade = value
			return false, ""
		case wire.Is(name, "trailer"):
			h.trailer = append(h.trailer, value)
			return false, ""
		}
	case 10:
		if wire.Is(name, "connection") {
			h.options(value)
			return false, ""
		}
		return !wire.Is(name, "keep-alive"), ""
	case 14:
		if wire.Is(name, "content-length") {
			n, ok := wire.Length(value)
			if !ok {
				return false, "Content-Length is not a number"
			}
			h.length = n
			*lengths++
			return false, ""
		}
	case 16:
		return !wire.Is(name, "proxy-connection"), ""
	case 17:
		if wire.Is(name, "transfer-encoding") {
			if !wire.Is(value, "chunked") {
				return false, "Transfer-Encoding is not chunked"
			}
			h.chunked = true
			*encodings++
			return false, ""
		}
	case 18:
		return !wire.Is(name, "proxy-authenticate"), ""
	case 19:
		return !wire.Is(name, "proxy-authorization"), ""
	}
	return true, ""
}

// options reads Connection.
func (h *answer) options(value []byte) {
	for len(value) > 0 {
		var one []byte
		one, value, _ = bytes.Cut(value, []byte(","))
		one = bytes.Trim(one, " \t")
		switch {
		case wire.Is(one, "close"):
			h.close = true
		case wire.Is(one, "keep-alive"):
			h.keep = true
		case len(one) > 0:
			h.connection = append(h.connection, one)
		}
	}
}

// commit puts the fields of a judged head where they belong. All strings share one copy of the head.
func (c *conn) commit(head []byte, into http.Header, drop [][]byte) {
	s := string(head)
	values := make([]string, len(c.fields))
	for i, f := range c.fields {
		if isOption(head[f.name:f.nameEnd], drop) {
			continue
		}
		name := http.CanonicalHeaderKey(s[f.name:f.nameEnd])
		values[i] = s[f.value:f.valueEnd]
		if have := into[name]; have != nil {
			into[name] = append(have, values[i])
		} else {
			into[name] = values[i : i+1 : i+1]
		}
	}
}

func isOption(name []byte, options [][]byte) bool {
	for _, o := range options {
		if bytes.EqualFold(name, o) {
			return true
		}
	}
	return false
}

// switched is the answer 101.
func (c *conn) switched(head []byte, h *answer) error {
	if c.req.Upgrade == "" || !bytes.EqualFold(h.upgrade, []byte(c.req.Upgrade)) || h.chunked || h.length > 0 {
		return malformed("it changes to a protocol that was not asked for")
	}
	c.commit(head, c.req.Into, h.connection)
	c.req.Into["Upgrade"] = []string{string(h.upgrade)}
	c.req.Into["Connection"] = []string{"Upgrade"}
	c.resp = Response{Status: h.status, Major: 1, Minor: h.minor, Body: c}
	return nil
}
