package http1

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Server needs. All times are needed.
type Config struct {
	Handler http.Handler
	// Header is how long a head may take from its first byte on, for the first of a connection from its beginning on. Idle is
	// how long a connection may wait for a request, Stall how long a client may take nothing of an answer; a handler can move
	// that (http.ResponseController). How long a body may take is the handler's to say.
	Header, Idle, Stall time.Duration
	MaxHead             int // bytes of a head
	// Refused is told why a connection is ended that sent what cannot be read, with the context that it was given; it may be nil.
	Refused func(ctx context.Context, reason string)
	Log     *slog.Logger
}

// Server serves connections. It is safe for concurrent use.
type Server struct {
	cfg Config

	ending atomic.Bool // changed under mu
	date   atomic.Pointer[date]

	mu    sync.Mutex
	conns map[*conn]struct{}
	empty chan struct{} // closed when the last connection has ended; made by who waits for that
}

// New makes a server without connections.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, conns: map[*conn]struct{}{}}
}

// Serve takes a connection over, and returns when it is served by others, or has ended. Requests get a context below ctx; state is that
// of TLS, nil without it.
func (s *Server) Serve(ctx context.Context, nc net.Conn, state *tls.ConnectionState) {
	c := newConn(s, ctx, nc, state)
	s.mu.Lock()
	if s.ending.Load() {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	c.serve(time.Now())
}

// forget is for connections that have ended or speak another protocol.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// Shutdown closes the connections that have no request, and waits until the others have ended, which they do with the answer
// that is under way. Connections of other protocols are nothing to it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.ending.Store(true)
	for c := range s.conns {
		c.endIdle()
	}
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all connections at once.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending.Store(true)
	for c := range s.conns {
		c.net.Close()
	}
	return nil
}
