package http2

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"

	"github.com/platformd/platformd/proxy/serving"
)

// maxCounted is how long an answer may be that is held back to count it.
const maxCounted = 4 << 10

// headers of answers are used again.
var answerHeaders = sync.Pool{New: func() any { return make(http.Header, 24) }} // does not grow with most answers

func freeHeader(h http.Header) {
	if h != nil && len(h) <= 64 {
		clear(h)
		answerHeaders.Put(h)
	}
}

// Header implements http.ResponseWriter.
func (st *stream) Header() http.Header {
	if st.header == nil {
		st.header = answerHeaders.Get().(http.Header)
	}
	return st.header
}

// known is what the fields of an answer say.
type known struct {
	sniffs   bool // the type is found out by looking at the body
	date     bool
	trailers bool
}

// WriteHeader implements http.ResponseWriter.
func (st *stream) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("http2: status " + strconv.Itoa(status) + " is none")
	}
	if st.status != 0 {
		return
	}
	h := st.Header()
	if status < 200 {
		if status != http.StatusSwitchingProtocols { // of which HTTP/2 knows nothing
			_ = st.emit(status, h, "", false, false)
		}
		return
	}
	st.status = status
	st.look(h)
	if st.known.sniffs || st.length < 0 && serving.BodyAllowed(status) {
		st.open, st.later = true, h.Clone() // the handler may go on with it
		return
	}
	_ = st.emit(status, h, "", st.ends(), true) // an error comes again with the body
}

// ends reports whether there is nothing behind the head.
func (st *stream) ends() bool { return (st.silent || st.length == 0) && !st.known.trailers }

// look takes what is to be known of the head.
func (st *stream) look(h http.Header) {
	allowed := serving.BodyAllowed(st.status)
	st.silent = st.req.Method == http.MethodHead || !allowed
	if v := h["Content-Length"]; len(v) > 0 && allowed {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
			st.length = n
		}
	}
	_, typed := h["Content-Type"]
	_, st.known.date = h["Date"]
	_, st.known.trailers = h["Trailer"]
	st.known.sniffs = !typed && allowed && st.length != 0 && h.Get("Content-Encoding") == ""
}

// commit sends the head that has waited: what it says of the body is known by now. final says that there is no more of the body than what
// was written; else next comes behind that.
func (st *stream) commit(final bool, next []byte) error {
	if !st.open {
		return nil
	}
	st.open = false
	kind := ""
	if st.known.sniffs && len(st.held)+len(next) > 0 {
		const looked = 512 // bytes, by http.DetectContentType
		kind = http.DetectContentType(append(st.held[:len(st.held):len(st.held)], next[:min(len(next), looked)]...))
	}
	if final && st.length < 0 && (st.req.Method != http.MethodHead || st.written > 0) {
		st.length = st.written
	}
	err := st.emit(st.status, st.later, kind, final && st.ends(), true)
	if err == nil && !st.silent && len(st.held) > 0 {
		err = st.send(st.held, final)
	}
	st.later, st.held = nil, nil
	return err
}

// emit writes a head, of the answer itself or of an interim one.
func (st *stream) emit(status int, h http.Header, kind string, end, whole bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	st.asked = st.asked || whole // who has not been asked for a body will not be
	if !c.spare() || st.gone != nil {
		return st.why()
	}
	c.encode(":status", statusText(status))
	for name, values := range h {
		switch name {
		case "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Content-Length":
			continue
		case "Content-Type":
			if status == http.StatusNotModified {
				continue
			}
		default:
			if strings.HasPrefix(name, http.TrailerPrefix) {
				continue
			}
		}
		lower := lowerName(name)
		for _, v := range values {
			c.encode(lower, v)
		}
	}
	if whole {
		if kind != "" {
			c.encode("content-type", kind)
		}
		if st.length >= 0 {
			c.encode("content-length", strconv.FormatInt(st.length, 10))
		}
		if !st.known.date {
			c.encode("date", c.s.clock.Date(time.Now()))
		}
	}
	st.ended = end
	c.headers(st.id, end)
	if !whole {
		c.kick()
	}
	return nil
}

// encode puts a field into the block. What is none is left out. The lock is held.
func (c *conn) encode(name, value string) {
	if name == "" || strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 || strings.IndexByte(value, 0) >= 0 {
		return
	}
	_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) // a bytes.Buffer takes everything
}

// trailers are what was announced, and what came without.
func (st *stream) trailers() (fields []hpack.HeaderField) {
	var names []string
	if st.known.trailers {
		for _, l := range st.header["Trailer"] {
			for name := range strings.SplitSeq(l, ",") {
				names = append(names, http.CanonicalHeaderKey(strings.Trim(name, " \t")))
			}
		}
	}
	for name, values := range st.header {
		name, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if !prefixed && !slices.Contains(names, name) || !httpguts.ValidTrailerHeader(name) {
			continue
		}
		for _, v := range values {
			fields = append(fields, hpack.HeaderField{Name: lowerName(name), Value: v})
		}
	}
	return fields
}

// Write implements http.ResponseWriter.
func (st *stream) Write(p []byte) (int, error) {
	if st.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !serving.BodyAllowed(st.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if st.written += int64(len(p)); st.length >= 0 && st.written > st.length {
		return 0, http.ErrContentLength // and the stream is reset, because it is not what was promised
	}
	if st.open && st.length < 0 && st.written <= maxCounted {
		st.held = append(st.held, p...)
		return len(p), nil
	}
	err := st.commit(false, p)
	if err == nil && !st.silent {
		err = st.send(p, st.written == st.length)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (st *stream) WriteString(s string) (int, error) { return st.Write([]byte(s)) }

// FlushError lets http.ResponseController flush.
func (st *stream) FlushError() error {
	if st.status == 0 {
		st.WriteHeader(http.StatusOK)
	}
	err := st.commit(false, nil)
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.c.kick()
	if err == nil {
		err = st.why()
	}
	return err
}

// Flush implements http.Flusher.
func (st *stream) Flush() { _ = st.FlushError() }

// SetReadDeadline lets http.ResponseController bound reads of the body.
func (st *stream) SetReadDeadline(t time.Time) error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.body.until = t
	st.body.signal()
	return nil
}

// SetWriteDeadline lets http.ResponseController bound how long the client may not take what it is sent.
func (st *stream) SetWriteDeadline(t time.Time) error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.until = t
	return nil
}

// EnableFullDuplex lets http.ResponseController ask for what is always so: the body may be read while the answer is written.
func (st *stream) EnableFullDuplex() error { return nil }
