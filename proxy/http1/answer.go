package http1

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/serving"
)

// maxCounted is how long an answer may be that is held back to count it.
const maxCounted = 2 << 10

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("http1: status " + strconv.Itoa(status) + " is none")
	}
	if w.status != 0 || w.err != nil {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.inform(status)
		return
	}
	w.answered()
	w.status = status
	w.silent = w.req.Method == http.MethodHead || !serving.BodyAllowed(status)
	b := w.c.output()
	start := len(*b)
	*b = appendStatus(*b, w.head.minor, status)
	k := w.fields(b)
	if lines := k.lines + 1; bytes.Count((*b)[start:], lf) != lines || bytes.Count((*b)[start:], cr) != lines {
		clean(w.c.header)
		*b = appendStatus((*b)[:start], w.head.minor, status)
		k = w.fields(b)
	}
	w.known = k
	w.gap, w.open = len(*b), true
	if !k.sniffs && (w.length >= 0 || !serving.BodyAllowed(status)) {
		w.commit(false, nil)
	}
}

var lf, cr = []byte("\n"), []byte("\r")

// known is what the fields of an answer say.
type known struct {
	lines    int
	sniffs   bool // the type is found out by looking at the body
	date     bool
	trailers bool
	options  []string // of Connection
}

// fields writes what goes into the head whatever comes of the body.
func (w *response) fields(b *[]byte) (k known) {
	typed, encoded := false, false
	w.length, w.names = -1, w.names[:0]
	for name, values := range w.c.header {
		switch name {
		case "Content-Length":
			if len(values) > 0 {
				if n, err := strconv.ParseInt(values[0], 10, 64); err == nil && n >= 0 {
					w.length = n
				}
			}
			continue
		case "Transfer-Encoding":
			continue
		case "Connection":
			k.options = values
			continue
		case "Content-Type":
			if typed = true; w.status == http.StatusNotModified {
				continue
			}
		case "Content-Encoding":
			encoded = len(values) > 0 && values[0] != ""
		case "Date":
			k.date = true
		case "Trailer":
			k.trailers = true
			w.announce(values)
		default:
			if strings.HasPrefix(name, http.TrailerPrefix) {
				k.trailers = true
				continue
			}
		}
		for _, v := range values {
			*b = appendField(*b, name, v)
			k.lines++
		}
	}
	k.sniffs = !typed && !encoded && serving.BodyAllowed(w.status) && w.length != 0
	if !serving.BodyAllowed(w.status) {
		w.length = -1 // RFC 9110, section 8.6
	}
	return k
}

func (w *response) announce(lines []string) {
	for _, l := range lines {
		for name := range strings.SplitSeq(l, ",") {
			if name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); name != "" && httpguts.ValidTrailerHeader(name) {
				w.names = append(w.names, name)
			}
		}
	}
}

// commit ends the head: what it says of the body and of the connection is known by now. final says that there is no more of
// the body than what was written; else next comes behind that.
func (w *response) commit(final bool, next []byte) {
	if !w.open {
		return
	}
	w.open = false
	k := &w.known
	b := w.c.output()
	data := (*b)[w.gap:]
	var scratch [256]byte
	f := scratch[:0]
	if k.sniffs && len(data)+len(next) > 0 {
		const looked = 512 // bytes, by http.DetectContentType
		sample := append(data[:len(data):len(data)], next[:min(len(next), looked)]...)
		f = appendField(f, "Content-Type", http.DetectContentType(sample))
	}
	if !k.date {
		f = appendField(f, "Date", w.c.s.clock.Date(time.Now()))
	}
	if final && w.length < 0 && serving.BodyAllowed(w.status) && !k.trailers && (w.req.Method != http.MethodHead || w.written > 0) {
		w.length = w.written
	}
	if w.silent {
		*b = (*b)[:w.gap]
	}
	switch {
	case w.length >= 0:
		f = append(f, "Content-Length: "...)
		f = append(strconv.AppendInt(f, w.length, 10), "\r\n"...)
	case w.silent:
	case w.head.minor == 0:
		w.close = true // the end of the connection is that of the answer
	default:
		w.chunked = true
		f = append(f, "Transfer-Encoding: chunked\r\n"...)
	}
	f = w.connection(f)
	f = append(f, "\r\n"...)
	if w.chunked && len(data) > 0 {
		f = append(strconv.AppendInt(f, int64(len(data)), 16), "\r\n"...)
		*b = append(*b, "\r\n"...)
	}
	*b = slices.Insert(*b, w.gap, f...)
}

// connection writes whether it goes on.
func (w *response) connection(f []byte) []byte {
	options := w.known.options
	told := httpguts.HeaderValuesContainsToken(options, "close")
	if told || !w.body.over.Load() || w.c.s.Ending() {
		w.close = true
	}
	switch {
	case w.close && w.status != http.StatusSwitchingProtocols:
		if w.head.minor == 1 || told {
			f = append(f, "Connection: close\r\n"...)
		}
	case len(options) > 0:
		for _, o := range options {
			f = appendField(f, "Connection", o)
		}
	case w.head.minor == 0:
		f = append(f, "Connection: keep-alive\r\n"...)
	}
	return f
}

// inform writes an informational answer. It may be that another goroutine reads the body meanwhile, and asks for it.
func (w *response) inform(status int) {
	if w.head.minor == 0 {
		return // RFC 9110, section 15.2
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if status == http.StatusContinue {
		w.asked = true
	}
	clean(w.c.header)
	b := w.c.output()
	*b = appendStatus(*b, 1, status)
	for name, values := range w.c.header {
		if name == "Content-Length" || name == "Transfer-Encoding" {
			continue
		}
		for _, v := range values {
			*b = appendField(*b, name, v)
		}
	}
	*b = append(*b, "\r\n"...)
	_ = w.c.flush() // an error comes again with the answer
}

// trailers writes what was announced, and what came without.
func (w *response) trailers() {
	clean(w.c.header)
	b := w.c.output()
	for name, values := range w.c.header {
		name, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if !prefixed && !slices.Contains(w.names, name) {
			continue
		}
		for _, v := range values {
			*b = appendField(*b, name, v)
		}
	}
}

// clean takes out what would begin a line of its own.
func clean(h http.Header) {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(strings.TrimPrefix(name, http.TrailerPrefix)) {
			delete(h, name)
			continue
		}
		for i, v := range values {
			if strings.ContainsAny(v, "\r\n") {
				values = slices.Clone(values) // others may share it
				values[i] = strings.NewReplacer("\r", " ", "\n", " ").Replace(v)
				h[name] = values
			}
		}
	}
}

func appendStatus(b []byte, minor, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	if minor == 0 {
		b[len(b)-2] = '0'
	}
	b = append(strconv.AppendInt(b, int64(status), 10), ' ')
	return append(append(b, http.StatusText(status)...), "\r\n"...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}
