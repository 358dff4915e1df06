package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/platformd/platformd/proxy/http1"
)

// front is the HTTP servers for one set of timeouts, which they read only when they begin. A connection stays with the one
// that it came to.
type front struct {
	h1    *http1.Server
	h2    *http.Server
	hand2 *handoff
}

// face gives new connections to the servers with these timeouts. There is one front for each set that there was.
func (s *Server) face(t Timeout) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fronts[t]
	if f == nil {
		f = &front{s.http1Server(t), s.httpServer(t), newHandoff(nil)}
		f.h2.Protocols.SetHTTP2(true)
		s.fronts[t] = f
		go s.serveHanded(f.h2, f.hand2)
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

func (s *Server) serveHanded(h *http.Server, l net.Listener) {
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.cfg.Log.Error("serve", "error", err)
	}
}

func (s *Server) http1Server(t Timeout) *http1.Server {
	return http1.New(http1.Config{Handler: s, Header: orDefault(t.Header, defaultHeader), Idle: orDefault(t.Idle, defaultIdle), Stall: orDefault(t.Stall, defaultStall), MaxHead: maxHead, Log: s.cfg.Log,
		Refused: func(ctx context.Context, reason string) {
			a := Access{Time: time.Now(), Status: http.StatusBadRequest, Reason: reason, Protocol: "HTTP/1.1"}
			if c, ok := ctx.Value(connKey{}).(*conn); ok {
				a.Client = c.peer
			}
			s.report(a)
		}})
}

func (s *Server) httpServer(t Timeout) *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: orDefault(t.Header, defaultHeader),
		IdleTimeout:       orDefault(t.Idle, defaultIdle),
		WriteTimeout:      orDefault(t.Stall, defaultStall), // from the head of a request on; exchange.pace moves it
		MaxHeaderBytes:    maxHead,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250, MaxReadFrameSize: 16 << 10, WriteByteTimeout: orDefault(t.Stall, defaultStall), SendPingTimeout: time.Minute, PingTimeout: 15 * time.Second,
			MaxReceiveBufferPerStream: 256 << 10, MaxReceiveBufferPerConnection: 1 << 20,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if t, ok := c.(*tls.Conn); ok {
				c = t.NetConn()
			}
			if h, ok := c.(*handedConn); ok {
				return withConn(ctx, h.info)
			}
			return ctx
		},
	}
}
