package buffer

import (
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/proxy/header"
)

// writer takes a response in. In full mode it writes to the client when the response has ended; in adaptive mode a
// goroutine does that while it goes on.
type writer struct {
	http.ResponseWriter
	buffer   *Buffer
	adaptive bool
	// header is the handler's own: what it does to it late must not meet what the goroutine makes others do to the client's.
	header http.Header

	status   int
	direct   bool // passed on as it comes
	sent     bool // the header is with the client
	declared int64
	written  int64

	// mu guards what the goroutine shares with the handler.
	mu      sync.Mutex
	changed sync.Cond
	spool   *spool
	off     int64 // how far the client is
	ended   bool  // nothing more comes
	flushes int
	err     error         // the client's
	drained chan struct{} // closed when the goroutine has ended; nil where there is none
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Header implements http.ResponseWriter.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		before := w.ResponseWriter.Header().Clone()
		replace(w.ResponseWriter.Header(), w.header)
		w.ResponseWriter.WriteHeader(status)
		replace(w.ResponseWriter.Header(), before)
		return
	}
	if w.status != 0 {
		return
	}
	w.status, w.declared = status, -1
	h := w.Header()
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		w.declared = n
	}
	contentType := header.MediaType(h.Get("Content-Type"))
	w.direct = status < 200 || status == http.StatusNoContent || status == http.StatusNotModified ||
		contentType == "text/event-stream" || strings.HasPrefix(contentType, "application/grpc") || h.Get("X-Accel-Buffering") == "no"
	h.Del("X-Accel-Buffering")
	// Fields of a trailer that are set while the header waits would become fields of the header.
	if w.direct || w.adaptive || len(h["Trailer"]) > 0 {
		w.send()
	}
}

func (w *writer) send() {
	if !w.sent {
		w.sent = true
		replace(w.ResponseWriter.Header(), w.header.Clone())
		w.ResponseWriter.WriteHeader(w.status)
	}
}

// replace makes a header what another is.
func replace(h, by http.Header) {
	clear(h)
	maps.Copy(h, by)
}

// trailer hands over the fields that come after the body.
func (w *writer) trailer() {
	for name, values := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) || header.Has(w.header["Trailer"], name) {
			w.ResponseWriter.Header()[name] = values
		}
	}
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		if _, ok := w.Header()["Content-Type"]; !ok {
			w.Header().Set("Content-Type", http.DetectContentType(p))
		}
		w.WriteHeader(http.StatusOK)
	}
	if w.direct {
		return w.ResponseWriter.Write(p)
	}
	w.written += int64(len(p))
	if w.declared >= 0 && w.written > w.declared {
		return 0, http.ErrContentLength
	}
	if w.adaptive {
		return w.feed(p)
	}
	n := w.spool.append(p)
	if n == len(p) {
		return n, nil
	}
	// No more room: the client gets what there is, and from now on everything as it comes.
	if err := w.empty(); err != nil {
		return 0, err
	}
	w.direct = true
	rest, err := w.ResponseWriter.Write(p[n:])
	return n + rest, err
}

// empty sends everything that is held.
func (w *writer) empty() error {
	w.send()
	scratch := w.buffer.pool.blocks.Get().(*[blockBytes]byte)
	defer w.buffer.pool.blocks.Put(scratch)
	for off := int64(0); off < w.spool.length(); {
		piece, err := w.spool.piece(off, scratch[:])
		if err != nil {
			return err
		}
		n, err := w.ResponseWriter.Write(piece)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	w.spool.reset()
	return nil
}

// feed hands p to the goroutine; where there is no room it waits until the client has everything.
func (w *writer) feed(p []byte) (n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drained == nil {
		w.drained = make(chan struct{})
		go w.drain()
	}
	for n < len(p) && w.err == nil {
		if w.off == w.spool.length() && w.off > 0 {
			w.spool.reset()
			w.off = 0
		}
		took := w.spool.append(p[n:])
		n += took
		w.changed.Broadcast()
		for n < len(p) && w.err == nil && w.off < w.spool.length() {
			w.changed.Wait()
		}
	}
	return n, w.err
}

// drain sends what comes in until the end.
func (w *writer) drain() {
	defer close(w.drained)
	scratch := w.buffer.pool.blocks.Get().(*[blockBytes]byte)
	defer w.buffer.pool.blocks.Put(scratch)
	flushed := 0
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil {
		switch {
		case w.off < w.spool.length():
			// The handler only adds behind this piece, and resets nothing before the client has it.
			piece, err := w.spool.piece(w.off, scratch[:])
			if err == nil {
				w.mu.Unlock()
				_, err = w.ResponseWriter.Write(piece)
				w.mu.Lock()
			}
			w.off += int64(len(piece))
			w.err = err
			w.changed.Broadcast()
		case flushed < w.flushes:
			flushed = w.flushes
			w.mu.Unlock()
			err := http.NewResponseController(w.ResponseWriter).Flush()
			w.mu.Lock()
			w.err = err
		case w.ended:
			return
		default:
			w.changed.Wait()
		}
	}
	w.changed.Broadcast()
}

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError flushes what is not held back on purpose.
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.direct, w.adaptive && w.drained == nil:
		return http.NewResponseController(w.ResponseWriter).Flush()
	case w.adaptive:
		w.flushes++
		w.changed.Broadcast()
		return w.err
	}
	return nil
}

// ReadFrom implements io.ReaderFrom: it copies through a block that is used again.
func (w *writer) ReadFrom(src io.Reader) (n int64, err error) {
	block := w.buffer.pool.blocks.Get().(*[blockBytes]byte)
	defer w.buffer.pool.blocks.Put(block)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{src}, block[:])
}

// finish sends what is left. Where the promised length did not come the client must see that, too.
func (w *writer) finish() {
	switch {
	case w.status == 0:
		return
	case w.direct:
		w.trailer()
		return
	}
	defer w.trailer()
	short := w.declared >= 0 && w.written < w.declared
	switch {
	case short:
		panic(http.ErrAbortHandler)
	case w.adaptive:
		w.mu.Lock()
		w.ended = true
		w.changed.Broadcast()
		w.mu.Unlock()
		if w.drained != nil {
			<-w.drained
		}
	default:
		if !w.sent && w.declared < 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(w.spool.length(), 10))
		}
		if w.empty() != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// close ends the goroutine, which must not outlive the handler, and gives back what is held. After a panic of the handler the
// client may be in the middle of a piece, and is cut off.
func (w *writer) close() {
	w.mu.Lock()
	drained := w.drained
	cut := drained != nil && !w.ended
	if cut {
		w.ended = true
		if w.err == nil {
			w.err = http.ErrAbortHandler
		}
		w.changed.Broadcast()
	}
	w.mu.Unlock()
	if cut {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0)) // else it ends with the server's own
	}
	if drained != nil {
		<-drained
	}
	w.spool.reset()
}
