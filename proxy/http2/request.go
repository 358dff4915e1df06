package http2

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/platformd/platformd/proxy/serving"
	"github.com/platformd/platformd/proxy/wire"
)

// maxRefused is how many streams a client may open in vain, because what it has reset before is still at work.
const maxRefused = 1000

// request opens a stream, or takes the trailers of one. The lock is held.
func (c *conn) request(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	bad := http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	if id%2 != 1 {
		return protocol
	}
	if st := c.streams[id]; st != nil {
		if st.body.over {
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
		}
		return st.body.end(f)
	}
	if id <= c.highest {
		return protocol
	}
	if c.leaving {
		return nil // the client knows that it was not served
	}
	c.highest = id
	if f.HasPriority() && f.Priority.StreamDep == id {
		return bad
	}
	if len(c.streams) >= c.s.cfg.Streams {
		return bad
	}
	if c.running >= c.s.cfg.Streams {
		if c.refused++; c.refused > maxRefused {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	st := newStream(c, id)
	if f.Truncated {
		st.tooLong, st.body.over, st.req.Method, st.req.Body = true, f.StreamEnded(), http.MethodGet, http.NoBody
	} else if reason := st.head(f); reason != "" {
		if c.s.cfg.Refused != nil {
			c.s.cfg.Refused(c.ctx, reason)
		}
		return bad
	}
	if c.streams == nil {
		c.streams = map[uint32]*stream{}
	}
	c.streams[id] = st
	c.running++
	if c.running < c.s.cfg.Streams/2 {
		c.refused = 0
	}
	c.s.crew.Do(st.serve)
	return nil
}

// head makes the request. With a reason it is malformed (RFC 9113, section 8.1.1).
func (st *stream) head(f *http2.MetaHeadersFrame) (reason string) {
	r := st.req
	fields := f.Fields
	var scheme, path string
	for len(fields) > 0 && fields[0].Name[0] == ':' {
		switch v := fields[0].Value; fields[0].Name {
		case ":method":
			r.Method = v
		case ":scheme":
			scheme = v
		case ":authority":
			r.Host = v
		case ":path":
			path = v
		default:
			return "a pseudo field is not for requests" // among them :protocol, which was not offered
		}
		fields = fields[1:]
	}
	if reason := st.fields(fields); reason != "" {
		return reason
	}
	connect := r.Method == http.MethodConnect
	switch {
	case connect && (path != "" || scheme != "" || r.Host == ""), !connect && (path == "" || scheme != "https" && scheme != "http"), !wire.IsToken([]byte(r.Method)):
		return "method, scheme and path do not make a request"
	case strings.IndexByte(r.Host, '@') >= 0:
		return "the target has a user in it"
	}
	if r.Host == "" {
		r.Host = r.Header.Get("Host")
	}
	if connect {
		st.url, r.RequestURI = url.URL{Host: r.Host}, r.Host
	} else if r.RequestURI = path; serving.ParseTarget(path, &st.url) != nil {
		return "the target is no URL"
	}
	if v := r.Header["Expect"]; v != nil && httpguts.HeaderValuesContainsToken(v, "100-continue") {
		delete(r.Header, "Expect")
		st.asked = false
	}
	r.ContentLength = -1
	if v := r.Header["Content-Length"]; len(v) > 0 {
		n, ok := wire.Length([]byte(v[0]))
		if !ok || len(v) > 1 {
			return "Content-Length is not one number"
		}
		r.ContentLength = n
	}
	announced := r.Header["Trailer"]
	delete(r.Header, "Trailer")
	if f.StreamEnded() {
		if r.ContentLength > 0 {
			return "Content-Length is not that of the body"
		}
		st.body.over = true
		r.Body, r.ContentLength = http.NoBody, 0
		return ""
	}
	st.body.length = r.ContentLength
	r.Body = &st.body
	for _, line := range announced {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); name == "" || wire.Framing([]byte(name)) {
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

// fields makes the header of a request.
func (st *stream) fields(fields []hpack.HeaderField) (reason string) {
	h := make(http.Header, len(fields))
	st.req.Header = h
	values := make([]string, len(fields))
	for i := range fields {
		f := &fields[i]
		switch f.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return "a field is there that only HTTP/1 has"
		case "te":
			if f.Value != "trailers" && f.Value != "" {
				return "TE is something else than trailers"
			}
		}
		name := http.CanonicalHeaderKey(f.Name)
		values[i] = f.Value
		have := h[name]
		switch {
		case have == nil:
			h[name] = values[i : i+1 : i+1]
		case name == "Cookie":
			have[0] += "; " + f.Value // RFC 9113, section 8.2.3
		default:
			h[name] = append(have, f.Value)
		}
	}
	return ""
}
