package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/platformd/platformd/proxy/handover"
)

// quicServer is HTTP/3. The zero value serves nothing.
type quicServer struct {
	shaking    atomic.Int64
	mu         sync.Mutex
	servers    []*http3.Server
	listeners  []*quic.EarlyListener
	transports []*quic.Transport
}

// ServeQUIC serves HTTP/3 on a UDP socket until the server drains, and offers it to clients that come by TCP.
func (s *Server) ServeQUIC(pc net.PacketConn) error {
	serve, err := s.ListenQUIC(pc)
	if err != nil {
		return err
	}
	return serve()
}

// ListenQUIC is the first part of ServeQUIC: when it returns, no other process reads the socket any more. What it gives has to
// be called.
func (s *Server) ListenQUIC(pc net.PacketConn) (serve func() error, err error) {
	port := addressOf(pc.LocalAddr()).Port()
	h3 := &http3.Server{
		Handler:        s,
		TLSConfig:      http3.ConfigureTLSConfig(s.quicTLS()),
		MaxHeaderBytes: maxHead,
		ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
			if h, ok := c.Context().Value(handshakeKey{}).(*handshake); ok {
				h.end()
			}
			state := c.ConnectionState().TLS
			s.counters.quic.Add(1)
			s.counters.quicOpen.Add(1)
			context.AfterFunc(c.Context(), func() { s.counters.quicOpen.Add(-1) })
			fresh := func() *tls.ConnectionState {
				state := c.ConnectionState().TLS
				return &state
			}
			peer := addressOf(c.RemoteAddr())
			return withConn(ctx, &conn{server: s, quiet: s.quietly(c), fresh: fresh, peer: peer.Addr(), peerPort: peer.Port(), port: port, local: addressOf(c.LocalAddr()), state: &state, quic: true, shaken: c.HandshakeComplete()})
		},
	}
	t := &quic.Transport{Conn: pc, ConnContext: s.quic.begin}
	if k := s.keys.Load(); k != nil {
		reset := quic.StatelessResetKey(k.Reset)
		t.StatelessResetKey = &reset
	}
	if u, ok := pc.(*net.UDPConn); ok && s.cfg.Handover != nil {
		t.Conn, t.ConnectionIDGenerator = s.cfg.Handover.Take(u), numbered{s.cfg.Handover}
	}
	l, err := t.ListenEarly(h3.TLSConfig, s.quicConfig())
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP/3: %w", err)
	}
	s.quic.mu.Lock()
	s.quic.servers, s.quic.listeners, s.quic.transports = append(s.quic.servers, h3), append(s.quic.listeners, l), append(s.quic.transports, t)
	s.quic.mu.Unlock()
	offer := []string{fmt.Sprintf(`h3=":%d"; ma=86400`, port)}
	s.alt.Store(&offer)
	return func() error {
		err := h3.ServeListener(l)
		if errors.Is(err, http.ErrServerClosed) || errors.Is(err, quic.ErrServerClosed) {
			return nil
		}
		return err
	}, nil
}

// handshake is a connection that is not served yet.
type handshake struct {
	of   *quicServer
	once sync.Once
}

type handshakeKey struct{}

// begin notes a connection until it is served or has failed.
func (q *quicServer) begin(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	h := &handshake{of: q}
	q.shaking.Add(1)
	context.AfterFunc(ctx, h.end)
	return context.WithValue(ctx, handshakeKey{}, h), nil
}

func (h *handshake) end() { h.once.Do(func() { h.of.shaking.Add(-1) }) }

// shaken waits until no handshake is under way, for as long as one may take.
func (q *quicServer) shaken(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for q.shaking.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// quicConfig is QUIC for the next client.
func (s *Server) quicConfig() *quic.Config {
	return &quic.Config{
		MaxIncomingStreams: 250, MaxIdleTimeout: s.idle(),
		InitialStreamReceiveWindow: 256 << 10, InitialConnectionReceiveWindow: 512 << 10, MaxConnectionReceiveWindow: 4 << 20,
		Allow0RTT: s.table.Load().cfg.EarlyData,
		GetConfigForClient: func(*quic.ClientInfo) (*quic.Config, error) {
			return s.quicConfig(), nil // a reload may have changed it
		},
	}
}

// numbered makes connection IDs that say which process a connection belongs to. It implements quic.ConnectionIDGenerator.
type numbered struct{ *handover.Relay }

func (n numbered) GenerateConnectionID() (quic.ConnectionID, error) {
	id, err := n.NewID()
	return quic.ConnectionIDFromBytes(id[:]), err
}

func (n numbered) ConnectionIDLen() int { return handover.IDLength }

// drain ends when all requests are answered: no connection is begun any more, those in their handshake are finished, and
// then all clients are told to go elsewhere with what comes next.
func (q *quicServer) drain(ctx context.Context, relay *handover.Relay) error {
	if relay != nil && relay.Retired() {
		q.shaken(ctx) // closing the listener would refuse them; new ones go to another process
	}
	return q.each(func(i int) error {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = q.listeners[i].Close()
		}()
		select {
		case <-closed:
		case <-ctx.Done():
		}
		return q.servers[i].Shutdown(ctx)
	})
}

func (q *quicServer) close() error {
	return q.each(func(i int) error { return q.servers[i].Close() })
}

// each ends servers at once, and then their transports.
func (q *quicServer) each(do func(int) error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for i := range q.servers {
		errs = append(errs, do(i), q.transports[i].Close())
	}
	return errors.Join(errs...)
}
