package proxy

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/platformd/platformd/proxy/http1"
	"github.com/platformd/platformd/proxy/http2"
)

// front is the HTTP servers for one set of timeouts, which they read only when they begin. A connection stays with the one
// that it came to.
type front struct {
	h1 *http1.Server
	h2 *http2.Server
}

// face gives new connections to the servers with these timeouts. There is one front for each set that there was.
func (s *Server) face(t Timeout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fronts[t]
	if f == nil {
		f = s.newFront(t)
		s.fronts[t] = f
	}
	s.front.Store(f)
}

// each does something with every front.
func (s *Server) each(do func(*front) error) error {
	s.mu.Lock()
	fronts := slices.Collect(maps.Values(s.fronts))
	s.mu.Unlock()
	ch := make(chan error, len(fronts))
	for _, f := range fronts {
		go func() { ch <- do(f) }()
	}
	var errs []error
	for range fronts {
		errs = append(errs, <-ch)
	}
	return errors.Join(errs...)
}

// stallTime is how long a body or an answer of an exchange may make no progress.
func (x *exchange) stallTime() time.Duration {
	return orDefault(x.table.cfg.Timeouts.Stall, x.conn.server.stall)
}

func (s *Server) newFront(t Timeout) *front {
	header, idle, stall := orDefault(t.Header, defaultHeader), orDefault(t.Idle, defaultIdle), orDefault(t.Stall, defaultStall)
	refused := func(protocol string) func(context.Context, string) {
		return func(ctx context.Context, reason string) {
			a := Access{Time: time.Now(), Status: http.StatusBadRequest, Reason: reason, Protocol: protocol}
			if c, ok := ctx.Value(connKey{}).(*conn); ok {
				a.Client = c.peer
			}
			s.report(a)
		}
	}
	return &front{
		h1: http1.New(http1.Config{Handler: s, Header: header, Idle: idle, Stall: stall, MaxHead: maxHead, Log: s.cfg.Log, Refused: refused("HTTP/1.1")}),
		h2: http2.New(http2.Config{Handler: s, Header: header, Idle: idle, Stall: stall, MaxHead: maxHead, Streams: maxStreams, Log: s.cfg.Log, Refused: refused("HTTP/2.0")}),
	}
}

// maxStreams is how many requests a client may have under way on one connection of HTTP/2.
const maxStreams = 250
