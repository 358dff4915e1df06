package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
)

// conn is what the requests of a connection have in common.
type conn struct {
	server   *Server
	peer     netip.Addr
	port     uint16         // that the client reached
	local    netip.AddrPort // the same with the address
	peerPort uint16
	state    *tls.ConnectionState
	quic     bool
	fresh    func() *tls.ConnectionState // of QUIC: what state is now; it is made before the client has answered
	quiet    *quiet                      // of QUIC
	shaken   <-chan struct{}             // of QUIC: closed when the handshake is over; nil for others

	mu    sync.Mutex
	shown shown
}

// early reports whether the client may not have shown yet that it can be reached at its address: with 0-RTT of QUIC a request
// comes before the handshake is over, and could be a replay from anywhere.
func (c *conn) early() bool {
	if c.shaken == nil {
		return false
	}
	select {
	case <-c.shaken:
		return false
	default:
		return true
	}
}

func (c *conn) tls() bool { return c.state != nil }

func (c *conn) scheme() string {
	if c.tls() {
		return "https"
	}
	return "http"
}

// altSvc offers HTTP/3 to a client that came over TLS by TCP (RFC 7838).
func (c *conn) altSvc() []string {
	if c.quic || !c.tls() {
		return nil
	}
	if v := c.server.alt.Load(); v != nil {
		return *v
	}
	return nil
}

type connKey struct{}

// connOf finds the connection of a request.
func connOf(r *http.Request, s *Server) *conn {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		return c
	}
	// Without ServeConn, as tests of a handler do it.
	c := &conn{server: s, state: r.TLS}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.peer = ap.Addr().Unmap().WithZone("")
	}
	return c
}

func withConn(ctx context.Context, c *conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// addressOf is the address of a peer, without zone.
func addressOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	case *net.UDPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// handoff is a listener for connections that were accepted elsewhere.
type handoff struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   atomic.Bool
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give passes a connection on; it is closed where nobody takes it any more.
func (h *handoff) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		c.Close()
	}
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	if h.once.CompareAndSwap(false, true) {
		close(h.closed)
	}
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return h.addr }

// handedConn is a connection with what is known of it.
type handedConn struct {
	net.Conn
	info *conn
	gone func()
	done atomic.Bool
	// batch is set once the protocol is known to be HTTP/2.
	batch *batch
	// stalled is set when the other side has stopped taking what is written.
	stalled atomic.Bool
}

// Write implements net.Conn.
func (c *handedConn) Write(b []byte) (int, error) {
	write := c.Conn.Write
	if c.batch != nil {
		write = func(b []byte) (int, error) { return c.batch.write(c.Conn, b) }
	}
	n, err := write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.stalled.Store(true)
	}
	return n, err
}

// Close closes the connection, and gives its place back. What a client did not take in time is thrown away: the kernel would
// keep it for as long as the client takes a byte now and then.
func (c *handedConn) Close() error {
	if c.done.CompareAndSwap(false, true) {
		if c.batch != nil {
			c.batch.drain(c.Conn)
		}
		if c.gone != nil {
			c.gone()
		}
	}
	if t, ok := c.Conn.(*net.TCPConn); ok && c.stalled.Load() {
		_ = t.SetLinger(0) // where it fails, the kernel goes on by itself
	}
	return c.Conn.Close()
}

// NetConn is what it is made of.
func (c *handedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets the HTTP server end its side first, so that an answer to a request that it has not read whole arrives.
func (c *handedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
