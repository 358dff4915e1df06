package compress

import (
	"io"
	"net/http"
	"strconv"

	"github.com/platformd/platformd/proxy/header"
)

type state int

const (
	undecided state = iota // nothing was passed on; pending holds what was written
	plain                  // passed on as it is
	coded                  // passed on through the encoder
)

// writer decides about one response at the latest moment that lets it: when its header is complete and its length is known
// to be enough, when enough of it was written, when it is flushed, or when it ends.
type writer struct {
	http.ResponseWriter
	c      *Compressor
	r      *http.Request
	coding string // what this client likes best; empty for nothing
	must   bool   // the client refuses what has no coding

	state    state
	status   int
	pending  []byte
	encoder  encoder
	streams  bool  // each write is flushed
	declared int64 // the length the handler promised, or -1
	written  int64
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter. The header of a response that may be compressed waits for the decision.
func (w *writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	w.status = status
	w.declared = declaredLength(w.Header())
	h := w.Header()
	switch {
	case status == http.StatusNotModified:
		w.notModified()
		w.pass()
	case !w.transformable():
		w.pass()
	case w.typeIsKnown() && !header.IsType(h.Get("Content-Type"), w.c.config.Types):
		w.pass()
	case w.r.Method == http.MethodHead && !w.typeIsKnown():
		w.pass()
	case w.r.Method == http.MethodHead:
		w.head()
	case w.declared >= 0 && !w.enough(w.declared):
		header.AddVary(h, "Accept-Encoding")
		w.pass()
	case w.typeIsKnown() && (w.declared >= 0 || len(h["Trailer"]) > 0 || w.eventStream()):
		// Fields of a trailer that are set while the header waits would become fields of the header.
		w.decide()
	}
}

// declaredLength of a Content-Length, or -1.
func declaredLength(h http.Header) int64 {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// transformable reports whether nobody decided otherwise before us.
func (w *writer) transformable() bool {
	h := w.Header()
	switch {
	case w.status < 200, w.status == http.StatusNoContent, w.status == http.StatusResetContent, w.status == http.StatusPartialContent:
		return false
	case w.r.Method == http.MethodConnect:
		return false
	}
	coding := h.Get("Content-Encoding")
	return (coding == "" || coding == "identity") && h.Get("Content-Range") == "" && !header.Has(h["Cache-Control"], "no-transform")
}

// typeIsKnown is false where net/http would look at the first bytes.
func (w *writer) typeIsKnown() bool {
	_, ok := w.Header()["Content-Type"]
	return ok
}

func (w *writer) eventStream() bool {
	return header.MediaType(w.Header().Get("Content-Type")) == "text/event-stream"
}

// enough reports whether n bytes are worth it, or have to be.
func (w *writer) enough(n int64) bool {
	return n >= int64(w.c.config.MinBytes) || w.must && n > 0
}

// notModified gives a 304 the tag that the client has: by a weak one it names what we compressed.
func (w *writer) notModified() {
	h := w.Header()
	if w.coding != "" && header.HasWeakTag(w.r.Header["If-None-Match"], h.Get("Etag")) {
		header.Weaken(h)
		header.AddVary(h, "Accept-Encoding")
	}
}

// head says what GET would say; where the length is not known it is not known either whether GET would compress.
func (w *writer) head() {
	h := w.Header()
	header.AddVary(h, "Accept-Encoding")
	switch {
	case w.coding == "" || w.declared >= 0 && !w.enough(w.declared):
	case w.declared < 0:
		header.Weaken(h)
	default:
		w.transformHeader()
	}
	w.pass()
}

// transformHeader is true of the compressed body.
func (w *writer) transformHeader() {
	h := w.Header()
	h.Set("Content-Encoding", w.coding)
	for _, of := range []string{"Content-Length", "Accept-Ranges", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		h.Del(of)
	}
	header.Weaken(h)
}

// pass sends the header, and everything after it as it is.
func (w *writer) pass() {
	w.state = plain
	w.ResponseWriter.WriteHeader(w.status)
}

// decide sends the header and what is pending; the type is known, or told by what is pending.
func (w *writer) decide() error {
	h := w.Header()
	if !w.typeIsKnown() && len(w.pending) > 0 {
		h.Set("Content-Type", http.DetectContentType(w.pending))
	}
	if header.IsType(h.Get("Content-Type"), w.c.config.Types) {
		header.AddVary(h, "Accept-Encoding")
		if w.coding != "" {
			w.transformHeader()
			w.encoder = w.c.encoders[w.coding].Get().(encoder)
			w.encoder.Reset(w.ResponseWriter)
		}
		w.streams = w.eventStream()
	}
	w.pass()
	var out io.Writer = w.ResponseWriter
	if w.encoder != nil {
		w.state, out = coded, w.encoder
	}
	pending := w.pending
	w.pending = nil
	if len(pending) == 0 {
		return nil
	}
	_, err := out.Write(pending)
	return err
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.state == plain {
		n, err := w.ResponseWriter.Write(p)
		if err == nil && w.streams {
			err = w.FlushError()
		}
		return n, err
	}
	if w.declared >= 0 && w.written+int64(len(p)) > w.declared {
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if w.state == undecided {
		if w.pending = append(w.pending, p...); w.declared < 0 && !w.enough(int64(len(w.pending))) {
			return len(p), nil
		}
		if err := w.decide(); err != nil {
			return 0, err
		}
	} else if _, err := w.encoder.Write(p); err != nil {
		return 0, err
	}
	if w.streams {
		return len(p), w.FlushError()
	}
	return len(p), nil
}

// ReadFrom implements io.ReaderFrom: it copies through a buffer that is used again, or leaves it to the server.
func (w *writer) ReadFrom(src io.Reader) (n int64, err error) {
	buffer := w.c.buffers.Get().(*[copyBytes]byte)
	defer w.c.buffers.Put(buffer)
	for {
		if direct, ok := w.ResponseWriter.(io.ReaderFrom); ok && w.state == plain && !w.streams {
			more, err := direct.ReadFrom(src)
			return n + more, err
		}
		got, err := src.Read(buffer[:])
		if got > 0 {
			wrote, err := w.Write(buffer[:got])
			n += int64(wrote)
			if err != nil {
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError sends everything that was written so far; who flushes has more to come.
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.state == undecided {
		if err := w.decide(); err != nil {
			return err
		}
	}
	if w.state == coded {
		if err := w.encoder.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// finish ends the body.
func (w *writer) finish() {
	if w.status == 0 && w.r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
	}
	if w.state != plain && w.declared >= 0 && w.status != 0 && w.written != w.declared {
		// The server would notice; we took the promised length out of the header.
		panic(http.ErrAbortHandler)
	}
	switch {
	case w.state == coded:
		if w.encoder.Close() == nil {
			w.encoder.Reset(nil)
			w.c.encoders[w.coding].Put(w.encoder)
		}
	case w.state == undecided && w.status != 0:
		// All of it is here, and is less than enough.
		if len(w.pending) > 0 && !w.typeIsKnown() {
			w.Header().Set("Content-Type", http.DetectContentType(w.pending))
		}
		if header.IsType(w.Header().Get("Content-Type"), w.c.config.Types) {
			header.AddVary(w.Header(), "Accept-Encoding")
		}
		w.pass()
		if len(w.pending) > 0 {
			_, _ = w.ResponseWriter.Write(w.pending) // the client is gone: nobody to tell
		}
	}
}
