package upstream

import (
	"context"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/proxy/header"
	"github.com/platformd/platformd/proxy/upstream/h1"
	"github.com/platformd/platformd/proxy/wire"
)

// answer is one of http.Transport, as h1.Body.
type answer struct {
	req       *h1.Request
	resp      *http.Response
	body      *guarded
	cancel    context.CancelFunc
	connected atomic.Bool
	sent      atomic.Bool
	buf       *[]byte
	end       bool
	tunnel    bool // the connection was given away
	closed    sync.Once
	stall     time.Duration
	timer     *time.Timer
	stalled   atomic.Bool

	mu   sync.Mutex // http.Transport gives interim answers by a goroutine of its own
	over bool       // RoundTrip has returned
}

var pieces = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (a *answer) op() string {
	if a.connected.Load() {
		return "read answer"
	}
	return "connect"
}

// response makes one of what http.Transport has read.
func (a *answer) response() *h1.Response {
	resp := a.resp
	out := &h1.Response{Status: resp.StatusCode, Major: resp.ProtoMajor, Minor: resp.ProtoMinor, Length: resp.ContentLength, Body: a, Early: !a.body.whole()}
	if a.req.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		out.Length = 0
	}
	for name := range resp.Trailer {
		if !wire.Framing([]byte(name)) {
			out.Announced = append(out.Announced, name)
		}
	}
	upgrade := resp.Header["Upgrade"]
	header.RemoveHopByHop(resp.Header)
	for name, values := range resp.Header {
		if have := a.req.Into[name]; have != nil {
			values = append(have, values...)
		}
		a.req.Into[name] = values
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		a.req.Into["Upgrade"], a.req.Into["Connection"] = upgrade, []string{"Upgrade"}
	}
	return out
}

// Next implements h1.Body.
func (a *answer) Next() ([]byte, error) {
	if a.buf == nil {
		a.buf = pieces.Get().(*[]byte)
	}
	if a.timer == nil {
		a.timer = time.AfterFunc(a.stall, func() { a.stalled.Store(true); a.cancel() })
	} else {
		a.timer.Reset(a.stall)
	}
	defer a.timer.Stop()
	for {
		n, err := a.resp.Body.Read(*a.buf)
		if n > 0 {
			return (*a.buf)[:n], nil // an error comes again
		}
		if err != nil {
			a.end = err == io.EOF
			if err != io.EOF {
				if a.stalled.Load() {
					return nil, &h1.Error{Op: "read answer", Err: os.ErrDeadlineExceeded, Answered: true}
				}
				if e := a.body.failure(); e != nil {
					err = &h1.BodyError{Err: e}
				}
			}
			return nil, err
		}
	}
}

// Ready implements h1.Body: nobody knows.
func (a *answer) Ready() bool { return false }

// Trailer implements h1.Body.
func (a *answer) Trailer() http.Header {
	if !a.end {
		return nil
	}
	for name := range a.resp.Trailer {
		if wire.Framing([]byte(name)) {
			delete(a.resp.Trailer, name)
		}
	}
	return a.resp.Trailer
}

// Tunnel implements h1.Body.
func (a *answer) Tunnel() (io.ReadWriteCloser, []byte) {
	rw, ok := a.resp.Body.(io.ReadWriteCloser)
	if !ok {
		return nil, nil
	}
	a.tunnel, a.resp = true, nil
	return rw, nil
}

// Close implements h1.Body.
func (a *answer) Close() {
	a.closed.Do(func() {
		a.body.end()
		if !a.tunnel {
			a.cancel()
		}
		if a.resp != nil {
			a.resp.Body.Close()
		}
		if a.buf != nil {
			pieces.Put(a.buf)
		}
	})
}

// idempotent are methods that mean the same twice as once (RFC 9110, section 9.2.2).
func idempotent(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace}, method)
}
