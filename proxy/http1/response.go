package http1

import (
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"time"

	"github.com/platformd/platformd/proxy/serving"
	"github.com/platformd/platformd/proxy/wire"
)

// response is the http.ResponseWriter of one request. The head of an answer and what fits behind it are put together in the
// connection's buffer.
type response struct {
	c    *conn
	req  *http.Request
	url  url.URL      // of req
	life serving.Life // its context
	head head
	body body

	status  int
	length  int64 // that the handler has promised; -1 where it has not
	written int64
	known   known
	gap     int  // where in the buffer framing belongs, while open
	open    bool // the head waits for the end of the body, or for its beginning
	chunked bool
	silent  bool // the answer has no body, whatever is written
	close   bool // no request may follow
	lingers bool // something of the request may still come
	err     error
	names   []string // of announced trailers

	mu    sync.Mutex // of asking for the body
	asked bool       // or nobody has to ask
}

func newResponse(c *conn) *response {
	w := &response{c: c, length: -1, asked: true}
	w.life.Context = c.ctx
	w.body.w = w
	w.req = c.base.WithContext(&w.life)
	w.req.URL = &w.url
	return w
}

// begin takes what the head of the request says.
func (w *response) begin(h head) {
	w.head = h
	w.close = h.close || h.tunnel
	b := &w.body
	switch {
	case h.chunked:
		b.at.Phase = wire.AtSize
	case h.length > 0:
		b.at.Phase, b.at.Left = wire.InLength, h.length
	default:
		w.req.Body = http.NoBody
		b.over.Store(true)
		return
	}
	w.req.Body = b
	w.asked = !h.expects || h.minor == 0
}

// serve runs the handler, and reports whether it gave up.
func (w *response) serve() (aborted bool) {
	defer func() {
		if p := recover(); p != nil {
			aborted = true
			if p != http.ErrAbortHandler {
				w.c.s.cfg.Log.Error("serve request", "panic", p, "stack", string(debug.Stack()))
			}
		}
	}()
	w.c.s.cfg.Handler.ServeHTTP(w, w.req)
	return false
}

// finish sends what is left of the answer, and reports whether another request may follow.
func (w *response) finish(aborted bool) bool {
	if aborted {
		if w.status != 0 && !w.open {
			_ = w.c.flush() // as far as it goes; that it is not whole can be seen
		}
		return false
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.commit(true, nil)
	if w.chunked {
		w.c.put("0\r\n")
		w.trailers()
		w.c.put("\r\n")
	}
	w.body.close()
	if !w.body.over.Load() {
		w.close, w.lingers = true, true
	}
	if err := w.c.flush(); err != nil || w.err != nil {
		return false
	}
	if !w.silent && w.length >= 0 && w.written != w.length {
		return false
	}
	return !w.close
}

// proceed asks the client for the body, when somebody begins to read it (RFC 9110, section 10.1.1).
func (w *response) proceed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked {
		return
	}
	w.asked = true
	w.c.put("HTTP/1.1 100 Continue\r\n\r\n")
	_ = w.c.flush() // an error comes again with the answer
}

// answered says that the head of the answer is on its way: whoever has not been asked for a body will not be.
func (w *response) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = true
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header {
	if w.c.header == nil {
		w.c.header = make(http.Header, 24) // does not grow with most answers
	}
	return w.c.header
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return 0, w.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !serving.BodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.written += int64(len(p)); w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength // and the connection ends, because it is not what was promised
	}
	if w.open && (w.length >= 0 || w.written > maxCounted) {
		w.commit(false, p)
	}
	switch {
	case w.silent && !w.open:
	case w.open:
		*w.c.out = append(*w.c.out, p...)
	case w.chunked:
		w.c.putHex(len(p))
		w.err = w.c.write(p)
		w.c.put("\r\n")
	default:
		w.err = w.c.write(p)
	}
	if w.err != nil {
		w.life.End()
		return 0, w.err
	}
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (w *response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// FlushError lets http.ResponseController flush.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.commit(false, nil)
	if err := w.c.flush(); err != nil && w.err == nil {
		w.err = err
	}
	return w.err
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// SetReadDeadline lets http.ResponseController bound reads of the body.
func (w *response) SetReadDeadline(t time.Time) error {
	defer w.c.readMoved.Store(true)
	return w.c.net.SetReadDeadline(t)
}

// SetWriteDeadline lets http.ResponseController bound writes.
func (w *response) SetWriteDeadline(t time.Time) error {
	defer w.c.writeMoved.Store(true)
	return w.c.net.SetWriteDeadline(t)
}

// EnableFullDuplex lets http.ResponseController ask for what is always so: the body may be read while the answer is written.
func (w *response) EnableFullDuplex() error { return nil }
