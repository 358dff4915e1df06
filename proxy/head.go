package proxy

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/platformd/platformd/proxy/wire"
)

// framing is what a head says of what follows it.
type framing struct {
	state  guardState
	length int64
}

// maxFields bounds the header lines of a head.
const maxFields = 256

// judgeHead reads a whole head, the blank line included. Every line of it ends with a line feed behind a carriage return.
func judgeHead(head []byte) (framing, string) {
	var f framing
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	old, authority, connect, reason := judgeRequestLine(line)
	if reason != "" {
		return f, reason
	}
	var lengths, encodings, hosts, fields int
	upgrade := false
	for {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if len(line) == 0 {
			break
		}
		if fields++; fields > maxFields {
			return f, "a head has too many fields"
		}
		name, value, reason := wire.Field(line)
		if reason != "" {
			return f, reason
		}
		switch {
		case wire.Is(name, "content-length"):
			lengths++
			n, ok := wire.Length(value)
			if !ok {
				return f, "Content-Length is not a number"
			}
			f.length = n
		case wire.Is(name, "transfer-encoding"):
			encodings++
			if !wire.Is(value, "chunked") {
				return f, "Transfer-Encoding is not chunked"
			}
		case wire.Is(name, "host"):
			hosts++
			if len(authority) > 0 && !bytes.EqualFold(authority, value) {
				return f, "Host and the target name different hosts"
			}
		case wire.Is(name, "upgrade"):
			upgrade = true
		}
	}
	switch {
	case lengths > 0 && encodings > 0:
		return f, "there are both Content-Length and Transfer-Encoding"
	case lengths > 1:
		return f, "there is more than one Content-Length"
	case encodings > 1:
		return f, "there is more than one Transfer-Encoding"
	case hosts > 1:
		return f, "there is more than one Host"
	case encodings > 0 && old:
		return f, "HTTP/1.0 has no Transfer-Encoding"
	case (upgrade || connect) && (encodings > 0 || f.length > 0):
		return f, "a request for another protocol has a body"
	case upgrade || connect:
		f.state = inTunnel
	case encodings > 0:
		f.state = inSize
	case f.length > 0:
		f.state = inBody
	}
	return f, ""
}

// judgeRequestLine reads "METHOD target HTTP/1.1". The authority is that of a target in absolute form.
func judgeRequestLine(line []byte) (old bool, authority []byte, connect bool, reason string) {
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !wire.IsToken(method) || len(target) == 0 {
		return false, nil, false, "the request line is not one"
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f {
			return false, nil, false, "the target has a control character in it"
		}
	}
	switch string(version) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		old = true
	default:
		return false, nil, false, "the version is not HTTP/1.0 or HTTP/1.1"
	}
	if target[0] != '/' {
		if _, after, ok := bytes.Cut(target, []byte("://")); ok {
			authority = after
			if i := bytes.IndexAny(after, "/?#"); i >= 0 {
				authority = after[:i]
			}
		}
	}
	return old, authority, string(method) == "CONNECT", ""
}

// judgeStream is for HTTP/2 and HTTP/3 what judgeHead is for HTTP/1, where their servers let pass what they should not: a
// second length, a Host that is not :authority, and a :path that names a host (RFC 9113, sections 8.1.1 and 8.3.1).
func judgeStream(r *http.Request) string {
	lengths := r.Header["Content-Length"]
	if len(lengths) > 1 {
		return "there is more than one Content-Length"
	}
	if len(lengths) == 1 && !lengthIs(lengths[0]) {
		return "Content-Length is not a number"
	}
	hosts := r.Header["Host"]
	if len(hosts) > 1 || len(hosts) == 1 && !strings.EqualFold(hosts[0], r.Host) {
		return "Host and :authority name different hosts"
	}
	delete(r.Header, "Host")
	if r.Method != http.MethodConnect && r.RequestURI != "*" && !strings.HasPrefix(r.RequestURI, "/") {
		return "the target is no path"
	}
	return ""
}

// lengthIs reports whether a Content-Length is digits and fits.
func lengthIs(v string) bool {
	_, ok := wire.Length([]byte(v))
	return ok
}
