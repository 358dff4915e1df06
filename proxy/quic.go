package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// quicServer is HTTP/3. The zero value serves nothing.
type quicServer struct {
	mu         sync.Mutex
	servers    []*http3.Server
	transports []*quic.Transport
}

// ServeQUIC serves HTTP/3 on a UDP socket until the server drains, and offers it to clients that come by TCP.
func (s *Server) ServeQUIC(pc net.PacketConn) error {
	port := addressOf(pc.LocalAddr()).Port()
	h3 := &http3.Server{
		Handler:        s,
		TLSConfig:      http3.ConfigureTLSConfig(s.quicTLS()),
		MaxHeaderBytes: maxHead,
		IdleTimeout:    defaultIdle,
		ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
			state := c.ConnectionState().TLS
			s.counters.quic.Add(1)
			s.counters.quicOpen.Add(1)
			context.AfterFunc(c.Context(), func() { s.counters.quicOpen.Add(-1) })
			fresh := func() *tls.ConnectionState {
				state := c.ConnectionState().TLS
				return &state
			}
			return withConn(ctx, &conn{server: s, fresh: fresh, peer: addressOf(c.RemoteAddr()).Addr(), port: port, state: &state, quic: true, shaken: c.HandshakeComplete()})
		},
	}
	t := &quic.Transport{Conn: pc}
	l, err := t.ListenEarly(h3.TLSConfig, &quic.Config{
		MaxIncomingStreams: 250, MaxIdleTimeout: defaultIdle, Allow0RTT: s.table.Load().cfg.EarlyData,
		InitialStreamReceiveWindow: 256 << 10, InitialConnectionReceiveWindow: 512 << 10, MaxConnectionReceiveWindow: 4 << 20,
	})
	if err != nil {
		return fmt.Errorf("listen for HTTP/3: %w", err)
	}
	s.quic.mu.Lock()
	s.quic.servers, s.quic.transports = append(s.quic.servers, h3), append(s.quic.transports, t)
	s.quic.mu.Unlock()
	offer := []string{fmt.Sprintf(`h3=":%d"; ma=86400`, port)}
	s.alt.Store(&offer)
	err = h3.ServeListener(l)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, quic.ErrServerClosed) {
		return nil
	}
	return err
}

func (q *quicServer) drain(ctx context.Context) error {
	return q.each(func(h *http3.Server) error { return h.Shutdown(ctx) })
}

func (q *quicServer) close() error {
	return q.each(func(h *http3.Server) error { return h.Close() })
}

func (q *quicServer) each(do func(*http3.Server) error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for i, h := range q.servers {
		errs = append(errs, do(h), q.transports[i].Close())
	}
	return errors.Join(errs...)
}
