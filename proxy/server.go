package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/proxy/announce"
	"github.com/platformd/platformd/proxy/buffer"
	"github.com/platformd/platformd/proxy/handover"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/metrics"
	"github.com/platformd/platformd/proxy/serving"
	"github.com/platformd/platformd/proxy/waf"
)

// Certificates has the certificate for a name that a client asks for, "" where it names none. It is asked for each
// handshake, and must be quick for names that it was asked for before.
type Certificates interface {
	Certificate(ctx context.Context, name string) (*tls.Certificate, error)
	// Challenge is the certificate that answers a TLS-ALPN-01 challenge for a name (RFC 8737), nil where there is none.
	Challenge(name string) *tls.Certificate
	// Token is the answer to an HTTP-01 challenge (RFC 8555, section 8.3), "" where there is none.
	Token(token string) string
}

// Reporter takes what the proxy saw. It must not block.
type Reporter interface {
	Access(Access)
}

// Striker takes what clients did that may lead to a ban. It must not block.
type Striker interface {
	Strike(limits.Strike)
}

// Options are what a Server needs of its surroundings.
type Options struct {
	Certificates Certificates
	Reporter     Reporter
	// Strikes may be nil: then nobody is told.
	Strikes Striker
	// Countries may be nil: then every country is unknown.
	Countries CountryOf
	// WAF may be nil: then no route can have it.
	WAF waf.Loader
	// Host are counts of others that are shown with ours, at each scrape; it may be nil.
	Host func() []metrics.Sample
	// Dropped is how many records of the Reporter were lost; it may be nil.
	Dropped func() int64
	Log     *slog.Logger
	// Roots are the folders below which files may be served.
	Roots []string
	// Handover shares the UDP socket of HTTP/3 with the process before this one and with the next; it may be nil.
	Handover *handover.Relay
	// Work is a folder for caches and for bodies that do not fit into memory; empty is none.
	Work string
}

// Server serves a Table, which may be exchanged at any time.
type Server struct {
	cfg      Options
	table    atomic.Pointer[Table]
	draining atomic.Bool
	stall    time.Duration
	tls      *tls.Config
	front    atomic.Pointer[front]
	keys     atomic.Pointer[keys]
	open     atomic.Int64
	limit    atomic.Int64
	alt      atomic.Pointer[[]string]
	port     atomic.Pointer[string] // of HTTPS, for redirects
	back     *backends
	quic     quicServer
	stats    statistics
	counters counters
	metrics  *metrics.Set
	stores   stores
	pool     *buffer.Pool
	limits   *limits.Limiter
	auth     *http.Transport
	inspect  atomic.Int64 // bytes of bodies that are held for inspection
	tunnels  atomic.Int64 // connections that speak another protocol by now
	streams  *streams
	accepts  atomic.Int64 // goroutines that accept
	crew     serving.Crew // of connections

	mu        sync.Mutex
	fronts    map[Timeout]*front
	listeners []net.Listener
	waiting   map[net.Conn]struct{} // in the handshake
}

// NewServer makes a server without routes.
func NewServer(o Options) (*Server, error) {
	if o.Certificates == nil {
		return nil, errors.New("new proxy server: no certificates")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: o, waiting: map[net.Conn]struct{}{}, fronts: map[Timeout]*front{}, stall: defaultStall, back: newBackends(o.Roots, o.Log), limits: limits.New(limits.Options{}), streams: newStreams(), auth: newAuthTransport()}
	s.stores = stores{log: o.Log, work: o.Work, known: map[string]*openStore{}}
	conf := buffer.PoolConfig{}
	if o.Work != "" {
		conf.Dir = filepath.Join(o.Work, "buffer")
	}
	var err error
	if s.pool, err = buffer.NewPool(conf); err != nil {
		return nil, err
	}
	s.metrics = metrics.New(s.samples)
	s.limit.Store(defaultConnections)
	s.tls = s.tlsConfig()
	t, err := Compile(Config{}, nil)
	if err != nil {
		return nil, err
	}
	t.limit(s.limits)
	s.table.Store(t)
	s.face(Timeout{})
	return s, nil
}

const (
	defaultHeader      = 15 * time.Second
	defaultIdle        = 2 * time.Minute
	defaultStall       = 30 * time.Second
	defaultConnections = 20_000
)

// Configure puts a configuration in the place of the one before. Connections and requests under way go on with what they
// began with; where it returns an error, nothing has changed.
func (s *Server) Configure(c Config) error {
	p, err := s.back.plan(c)
	if err != nil {
		return err
	}
	t, err := Compile(c, s.build(&c, p))
	if err != nil {
		return err
	}
	if err := t.streamTo(p); err != nil {
		return err
	}
	s.limit.Store(int64(c.MaxConnections))
	if c.MaxConnections == 0 {
		s.limit.Store(defaultConnections)
	}
	if err := errors.Join(t.load(s.cfg.WAF), t.loadPages(s.cfg.Roots)); err != nil {
		return err
	}
	t.limit(s.limits)
	t.count(s.metrics)
	s.streams.count(t)
	s.face(c.Timeouts)
	s.table.Store(t)
	p.next.Apply()
	return nil
}

// Test says what Configure would, and changes nothing.
func (s *Server) Test(c Config) error {
	p, err := s.back.plan(c)
	if err != nil {
		return err
	}
	t, err := Compile(c, p.handler)
	if err != nil {
		return err
	}
	if err := t.streamTo(p); err != nil {
		return err
	}
	return errors.Join(t.load(s.cfg.WAF), t.loadPages(s.cfg.Roots))
}

// Serve takes connections from a listener until that is closed, over TLS or without. It returns nil when the server drains.
func (s *Server) Serve(l net.Listener, secure bool) error {
	s.mu.Lock()
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	if secure {
		s.setPort(addressOf(l.Addr()).Port())
	}
	return s.accept(l, func(c net.Conn) {
		if s.open.Add(1) > s.limit.Load() {
			s.open.Add(-1)
			s.counters.turnedAway.Add(1)
			c.Close()
			return
		}
		s.crew.Do(func() { s.serveConn(c, secure) })
	})
}

// accept hands on what a listener accepts, until it is closed.
func (s *Server) accept(l net.Listener, take func(net.Conn)) error {
	s.accepts.Add(1)
	defer s.accepts.Add(-1)
	var pause time.Duration
	for {
		c, err := l.Accept()
		if err != nil {
			if s.draining.Load() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, most likely; those who wait are served when there are some again.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.cfg.Log.Warn("accept", "error", err)
			time.Sleep(pause)
			continue
		}
		pause = 0
		take(c)
	}
}

// serveConn shakes hands and passes the connection on to the server of its protocol.
func (s *Server) serveConn(c net.Conn, secure bool) {
	peer, local := addressOf(c.RemoteAddr()), addressOf(c.LocalAddr())
	info := &conn{server: s, port: local.Port(), local: local}
	handed := &handedConn{Conn: c, info: info, gone: func() { s.open.Add(-1) }}
	table := s.table.Load()
	within := orDefault(table.cfg.Timeouts.Header, defaultHeader)
	if table.cfg.ProxyProtocol && table.trusted.has(peer.Addr()) {
		s.wait(handed, true)
		begun, client, err := announce.Read(c, peer, within)
		s.wait(handed, false)
		if err != nil {
			handed.Close()
			s.cfg.Log.Debug("accept", "proxy", peer.Addr(), "error", err)
			return
		}
		handed.Conn, peer = begun, client
	}
	info.peer, info.peerPort = peer.Addr(), peer.Port()
	if !secure {
		s.front.Load().h1.Serve(withConn(context.Background(), info), handed, nil)
		return
	}
	s.wait(handed, true)
	t := tls.Server(handed, s.tls)
	// A deadline, because a context of crypto/tls costs one more goroutine; the servers move it.
	err := handed.SetDeadline(time.Now().Add(within))
	if err == nil {
		err = t.Handshake()
	}
	s.wait(handed, false)
	if err != nil {
		handed.Close()
		s.counters.unshaken.Add(1)
		s.cfg.Log.Debug("TLS handshake", "client", peer.Addr(), "error", err)
		return
	}
	state := t.ConnectionState()
	info.state = &state
	if state.DidResume {
		s.counters.resumed.Add(1)
	} else {
		s.counters.shaken.Add(1)
	}
	switch state.NegotiatedProtocol {
	case "h2":
		s.front.Load().h2.Serve(withConn(context.Background(), info), t, info.state)
	case acmeTLS:
		t.Close() // the certificate was the answer
	default:
		s.front.Load().h1.Serve(withConn(context.Background(), info), t, info.state)
	}
}

// wait notes connections in their handshake, so that a drain can end them.
func (s *Server) wait(c net.Conn, begins bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begins {
		s.waiting[c] = struct{}{}
	} else {
		delete(s.waiting, c)
	}
}

// challenge is the answer to an HTTP-01 challenge.
func (s *Server) challenge(token string) string { return s.cfg.Certificates.Token(token) }

func (s *Server) setPort(port uint16) {
	p := ""
	if port != 443 {
		p = fmt.Sprintf(":%d", port)
	}
	s.port.Store(&p)
}

// httpsPort is what redirects put behind the host.
func (s *Server) httpsPort() string {
	if p := s.port.Load(); p != nil {
		return *p
	}
	return ""
}

// Drain stops accepting and ends when every request is answered and every other protocol and stream has ended, or with
// ctx. Connections without a request are told to
// close with their next answer, and are closed when idle is over.
func (s *Server) Drain(ctx context.Context, idle time.Duration) error {
	s.draining.Store(true)
	s.mu.Lock()
	for _, l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	s.settle(ctx)
	g := make(chan error, 4)
	go func() { g <- s.streams.drain(ctx) }()
	go func() { g <- s.quic.drain(ctx, s.cfg.Handover) }()
	go func() { g <- s.each(func(f *front) error { return f.h2.Shutdown(ctx) }) }()
	go func() {
		// A client may be sending on a connection that is idle here; closing it now would lose that request.
		wait := time.NewTimer(idle)
		defer wait.Stop()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for done := false; !done && s.open.Load() > 0; {
			select {
			case <-tick.C:
			case <-wait.C:
				done = true
			case <-ctx.Done():
				done = true
			}
		}
		err := s.each(func(f *front) error { return f.h1.Shutdown(ctx) })
		for err == nil && s.tunnels.Load() > 0 { // of which Shutdown knows nothing
			select {
			case <-tick.C:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		g <- err
	}()
	var errs []error
	for range 4 {
		errs = append(errs, <-g)
	}
	return errors.Join(errs...)
}

// settle waits until whatever was accepted is known: a connection that is in nobody's hands yet would not be waited for.
func (s *Server) settle(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.accepts.Load() > 0 && ctx.Err() == nil {
		<-tick.C
	}
}

// Close ends everything at once.
func (s *Server) Close() error {
	s.draining.Store(true)
	s.mu.Lock()
	for _, l := range s.listeners {
		l.Close()
	}
	for c := range s.waiting {
		c.Close()
	}
	s.mu.Unlock()
	s.streams.close()
	s.back.set.Close()
	s.stores.close()
	return errors.Join(s.each(func(f *front) error { return errors.Join(f.h1.Close(), f.h2.Close()) }), s.quic.close())
}
