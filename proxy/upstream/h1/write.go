package h1

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/wire"
)

// check says what of a request could not be written down with one meaning. Fields are looked at when they are.
func (r *Request) check() error {
	for i := 0; i < len(r.Target); i++ {
		if c := r.Target[i]; c <= ' ' || c == 0x7f {
			return fmt.Errorf("%w: its target has a space or a control character in it", ErrRequest)
		}
	}
	if r.Target == "" || !httpguts.ValidHeaderFieldName(r.Method) {
		return fmt.Errorf("%w: method %q, target %q", ErrRequest, r.Method, r.Target)
	}
	for i := 0; i < len(r.Host); i++ {
		if c := r.Host[i]; c <= ' ' || c == 0x7f || c == ',' || c == '/' {
			return fmt.Errorf("%w: its host is not one", ErrRequest)
		}
	}
	return nil
}

// appendHead writes the head of a request.
func (r *Request) appendHead(b []byte) ([]byte, error) {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	lines := 3 // with the blank one
	line := func(name, value string) {
		b = append(b, name...)
		b = append(b, ": "...)
		b = append(b, value...)
		b = append(b, "\r\n"...)
		lines++
	}
	for i := range r.Fields {
		line(r.Fields[i].Name, r.Fields[i].Value)
	}
	switch {
	case r.Body != nil && r.Length < 0:
		line("Transfer-Encoding", "chunked")
		if len(r.Announced) > 0 {
			line("Trailer", strings.Join(r.Announced, ", "))
		}
	case r.Body != nil:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.Length, 10)
		b = append(b, "\r\n"...)
		lines++
	case len(r.Data) > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Data)), 10)
		b = append(b, "\r\n"...)
		lines++
	}
	if r.Expect && r.Body != nil {
		line("Expect", "100-continue")
	}
	switch {
	case r.Upgrade != "" && r.TrailersOK:
		line("TE", "trailers")
		line("Connection", "Upgrade, TE")
		line("Upgrade", r.Upgrade)
	case r.Upgrade != "":
		line("Connection", "Upgrade")
		line("Upgrade", r.Upgrade)
	case r.TrailersOK:
		line("TE", "trailers")
		line("Connection", "TE")
	}
	b = append(b, "\r\n"...)
	// Whatever a name or value holds, it begins no line of its own.
	if bytes.Count(b, crlf[1:]) != lines || bytes.Count(b, crlf[:1]) != lines || bytes.IndexByte(b, 0) >= 0 {
		return b, fmt.Errorf("%w: a field has a control character in it", ErrRequest)
	}
	return b, nil
}

var crlf = []byte("\r\n")

// appendTrailers writes what comes behind the last chunk.
func appendTrailers(b []byte, h http.Header) []byte {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) || wire.Framing([]byte(name)) {
			continue
		}
		for _, v := range values {
			if httpguts.ValidHeaderFieldValue(v) {
				b = append(b, name...)
				b = append(b, ": "...)
				b = append(b, v...)
				b = append(b, "\r\n"...)
			}
		}
	}
	return append(b, "\r\n"...)
}
