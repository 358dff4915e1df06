package http1

import (
	"bytes"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/serving"
	"github.com/platformd/platformd/proxy/wire"
)

// maxFields bounds the header lines of a head.
const maxFields = 256

// head is what a head says of its connection and of what follows it.
type head struct {
	minor   int   // of the version HTTP/1
	length  int64 // of the body
	chunked bool
	tunnel  bool // asks for another protocol: nothing may follow
	close   bool // the client wants no other request on the connection
	expects bool // 100
	other   bool // expects something else
}

// span is a field of a head, as positions in it.
type span struct{ name, nameEnd, value, valueEnd int }

// parse reads a whole head, the blank line included. Every line of it ends with a line feed behind a carriage return. It
// judges first, and makes r of what it has found good. With a reason it is refused.
func (c *conn) parse(b []byte, r *http.Request) (h head, reason string) {
	end := bytes.IndexByte(b, '\n')
	line, reason := requestLine(b[:end-1])
	if reason != "" {
		return h, reason
	}
	h.minor = line.minor
	c.spans = c.spans[:0]
	var lengths, encodings, hosts int
	var host span
	upgrade, connection := false, false
	for at := end + 1; ; {
		end := at + bytes.IndexByte(b[at:], '\n') - 1
		if end == at {
			break
		}
		if len(c.spans) == maxFields {
			return h, "a head has too many fields"
		}
		name, value, reason := wire.Field(b[at:end])
		if reason != "" {
			return h, reason
		}
		v := at + len(name) + 1
		for v < end && (b[v] == ' ' || b[v] == '\t') {
			v++
		}
		f := span{at, at + len(name), v, v + len(value)}
		c.spans = append(c.spans, f)
		switch len(name) {
		case 4:
			if wire.Is(name, "host") {
				hosts++
				host = f
			}
		case 6:
			h.other = h.other || wire.Is(name, "expect")
		case 7:
			upgrade = upgrade || wire.Is(name, "upgrade")
		case 10:
			connection = connection || wire.Is(name, "connection")
		case 14:
			if wire.Is(name, "content-length") {
				lengths++
				n, ok := wire.Length(value)
				if !ok {
					return h, "Content-Length is not a number"
				}
				h.length = n
			}
		case 17:
			if wire.Is(name, "transfer-encoding") {
				encodings++
				if !wire.Is(value, "chunked") {
					return h, "Transfer-Encoding is not chunked"
				}
			}
		}
		at = end + 2
	}
	h.chunked, h.tunnel = encodings > 0, upgrade || line.connect
	switch {
	case lengths > 0 && encodings > 0:
		return h, "there are both Content-Length and Transfer-Encoding"
	case lengths > 1:
		return h, "there is more than one Content-Length"
	case encodings > 1:
		return h, "there is more than one Transfer-Encoding"
	case hosts > 1:
		return h, "there is more than one Host"
	case encodings > 0 && h.minor == 0:
		return h, "HTTP/1.0 has no Transfer-Encoding"
	case h.tunnel && (h.chunked || h.length > 0):
		return h, "a request for another protocol has a body"
	case hosts == 0 && h.minor == 1:
		return h, "there is no Host"
	case hosts == 1 && len(line.authority) > 0 && !bytes.EqualFold(line.authority, b[host.value:host.valueEnd]):
		return h, "Host and the target name different hosts"
	}
	s := string(b) // what r is made of, in one piece
	c.fields(s, r)
	if hosts == 1 {
		r.Host = s[host.value:host.valueEnd]
		if !httpguts.ValidHostHeader(r.Host) {
			return h, "Host has a character in it that no host has"
		}
	}
	if reason := target(r, s[line.target:line.targetEnd], line.connect); reason != "" {
		return h, reason
	}
	r.Method, r.RequestURI = s[:line.methodEnd], s[line.target:line.targetEnd]
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, h.minor
	if h.minor == 0 {
		r.Proto = "HTTP/1.0"
	}
	r.ContentLength = h.length
	if v := r.Header["Pragma"]; len(v) > 0 && v[0] == "no-cache" && r.Header["Cache-Control"] == nil {
		r.Header["Cache-Control"] = noCache // RFC 9111, section 5.4
	}
	h.close = h.minor == 0
	if connection {
		options := r.Header["Connection"]
		h.close = httpguts.HeaderValuesContainsToken(options, "close") || h.minor == 0 && !httpguts.HeaderValuesContainsToken(options, "keep-alive")
	}
	if h.other && httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue") {
		h.expects, h.other = true, false
	}
	if h.chunked {
		delete(r.Header, "Transfer-Encoding")
		r.TransferEncoding, r.ContentLength = chunkedOnly, -1
		return h, announced(r)
	}
	return h, ""
}

var chunkedOnly, noCache = []string{"chunked"}, []string{"no-cache"}

// fields makes the header of a request; all strings are parts of s.
func (c *conn) fields(s string, r *http.Request) {
	r.Header = make(http.Header, len(c.spans))
	values := make([]string, len(c.spans))
	for i, f := range c.spans {
		name := http.CanonicalHeaderKey(s[f.name:f.nameEnd])
		if name == "Host" {
			continue // RFC 9110, section 7.2: it is a part of the target
		}
		values[i] = s[f.value:f.valueEnd]
		if have := r.Header[name]; have != nil {
			r.Header[name] = append(have, values[i])
		} else {
			r.Header[name] = values[i : i+1 : i+1]
		}
	}
}

// announced takes the names of trailers out of the header (RFC 9110, section 6.6.2).
func announced(r *http.Request) (reason string) {
	lines := r.Header["Trailer"]
	if lines == nil {
		return ""
	}
	delete(r.Header, "Trailer")
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.Trim(name, " \t"))
			switch name {
			case "Transfer-Encoding", "Trailer", "Content-Length":
				return "a trailer is announced that changes what the head said"
			case "":
				continue
			}
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			r.Trailer[name] = nil
		}
	}
	return ""
}

// line is "METHOD target HTTP/1.1" as positions in it.
type line struct {
	methodEnd, target, targetEnd, minor int
	authority                           []byte // of a target in absolute form
	connect                             bool
}

func requestLine(b []byte) (l line, reason string) {
	method, rest, ok1 := bytes.Cut(b, space)
	target, version, ok2 := bytes.Cut(rest, space)
	if !ok1 || !ok2 || !wire.IsToken(method) || len(target) == 0 {
		return l, "the request line is not one"
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f {
			return l, "the target has a control character in it"
		}
	}
	switch string(version) {
	case "HTTP/1.1":
		l.minor = 1
	case "HTTP/1.0":
	default:
		return l, "the version is not HTTP/1.0 or HTTP/1.1"
	}
	if target[0] != '/' {
		if _, after, ok := bytes.Cut(target, []byte("://")); ok {
			l.authority = after
			if i := bytes.IndexAny(after, "/?#"); i >= 0 {
				l.authority = after[:i]
			}
		}
	}
	l.methodEnd, l.target = len(method), len(method)+1
	l.targetEnd = l.target + len(target)
	l.connect = string(method) == http.MethodConnect
	return l, ""
}

var space = []byte(" ")

// target makes the URL of a request, and takes the host of one in absolute form (RFC 9112, section 3.2.2).
func target(r *http.Request, s string, connect bool) (reason string) {
	host := connect && !strings.HasPrefix(s, "/")
	if host {
		s = "http://" + s
	}
	if serving.ParseTarget(s, r.URL) != nil {
		return "the target is no URL"
	}
	if host {
		r.URL.Scheme = ""
	}
	if r.URL.Host != "" {
		r.Host = r.URL.Host
	}
	return ""
}
