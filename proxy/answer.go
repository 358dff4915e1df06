package proxy

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/platformd/platformd/proxy/page"
	"github.com/platformd/platformd/proxy/upstream"
	"github.com/platformd/platformd/proxy/upstream/h1"
)

// inform passes an informational answer on, as 103 with links to load early (RFC 8297).
func (o *forwarding) inform(status int, fields http.Header) {
	if !o.x.request.ProtoAtLeast(1, 1) {
		return
	}
	h := o.out.Header()
	own := maps.Clone(h)
	clear(h)
	maps.Copy(h, fields)
	o.out.WriteHeader(status)
	clear(h)
	maps.Copy(h, own)
}

// answer passes an answer on, piece by piece as it comes.
func (o *forwarding) answer(r *http.Request, resp *h1.Response, before http.Header) {
	x, w, h, body := o.x, o.out, o.Into, resp.Body
	if page.Matches(x.route.Intercept, resp.Status) {
		o.intercept(resp.Status)
		return
	}
	var piece []byte
	var err error
	if body.Ready() {
		// What is there already is looked at before the client gets anything: a body that is cut wrongly is no answer.
		if piece, err = body.Next(); err != nil && err != io.EOF {
			clear(h)
			maps.Copy(h, before)
			x.conn.server.failed(x, r, err)
			return
		}
	}
	if have := h["Via"]; have == nil {
		h["Via"] = via(resp.Major, resp.Minor)
	} else {
		h["Via"] = append(have, via(resp.Major, resp.Minor)...)
	}
	if len(resp.Announced) > 0 {
		h["Trailer"] = append(h["Trailer"], resp.Announced...)
	}
	w.WriteHeader(resp.Status)
	streams := resp.Length < 0
	pending := true // something was written and not flushed
	for ; err == nil; piece, err = body.Next() {
		if len(piece) > 0 {
			if _, e := w.Write(piece); e != nil {
				o.abort("the client left")
			}
			pending = true
		}
		if streams && pending && !body.Ready() {
			if e := http.NewResponseController(w).Flush(); e != nil {
				o.abort("the client left")
			}
			pending = false
		}
	}
	if err != io.EOF {
		if r.Context().Err() != nil {
			o.abort("the client left")
		}
		o.abort("back end: " + err.Error())
	}
	o.trailers(resp)
}

// abort cuts an answer off, so that the client sees that it is not whole.
func (o *forwarding) abort(reason string) {
	if o.x.reason == "" {
		o.x.reason = reason
	}
	panic(http.ErrAbortHandler)
}

// trailers passes on what came behind the body.
func (o *forwarding) trailers(resp *h1.Response) {
	t := resp.Body.Trailer()
	if len(t) == 0 {
		return
	}
	// HTTP/1 has a place for them only in a chunked answer, which a short one would not be.
	_ = http.NewResponseController(o.out).Flush()
	for name, values := range t {
		if !slices.Contains(resp.Announced, name) {
			name = http.TrailerPrefix + name
		}
		o.Into[name] = values
	}
}

// failed answers for a back end that did not.
func (s *Server) failed(x *exchange, r *http.Request, err error) {
	client, theirs := errors.AsType[*h1.BodyError](err)
	var timeout interface{ Timeout() bool }
	late := errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case r.Context().Err() != nil || errors.Is(err, context.Canceled):
		x.reason = "the client left"
		if x.status == 0 {
			x.status = statusClientLeft
		}
		panic(http.ErrAbortHandler)
	case tooLarge(err):
		s.fail(x, http.StatusRequestEntityTooLarge, "body is too large")
	case theirs && late:
		s.fail(x, http.StatusRequestTimeout, client.Error())
	case theirs:
		s.fail(x, http.StatusBadRequest, client.Error())
	case errors.Is(err, h1.ErrRequest):
		s.fail(x, http.StatusBadRequest, err.Error())
	case errors.Is(err, upstream.ErrDown) || errors.Is(err, upstream.ErrFull):
		x.Header()["Retry-After"] = []string{"5"}
		s.fail(x, http.StatusServiceUnavailable, "back end: "+err.Error())
	case late:
		s.fail(x, http.StatusGatewayTimeout, "back end: "+err.Error())
	default:
		s.fail(x, http.StatusBadGateway, "back end: "+err.Error())
	}
}
