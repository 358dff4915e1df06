package http1

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/platformd/platformd/proxy/serving"
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

// Server serves connections. It is safe for concurrent use. Shutdown waits for the answers that are under way; connections of
// other protocols are nothing to it.
type Server struct {
	serving.Group[*conn]
	cfg   Config
	clock serving.Clock
}

// New makes a server without connections.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg}
}

// Serve takes a connection over, and returns when it is served by others, or has ended. Requests get a context below ctx;
// state is that of TLS, nil without it.
func (s *Server) Serve(ctx context.Context, nc net.Conn, state *tls.ConnectionState) {
	c := newConn(s, ctx, nc, state)
	if !s.Add(c) {
		nc.Close()
		return
	}
	c.serve(time.Now())
}
