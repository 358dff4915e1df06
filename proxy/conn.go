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

// handedConn is a connection with what is known of it.
type handedConn struct {
	net.Conn
	info *conn
	gone func()
	done atomic.Bool
	cork corked
	// stalled is set when the other side has stopped taking what is written.
	stalled atomic.Bool
}

// Write implements net.Conn.
func (c *handedConn) Write(b []byte) (int, error) {
	n, err := c.cork.write(c.Conn, b)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		c.stalled.Store(true)
	}
	return n, err
}

// Close closes the connection, and gives its place back. What a client did not take in time is thrown away: the kernel would
// keep it for as long as the client takes a byte now and then.
func (c *handedConn) Close() error {
	if c.done.CompareAndSwap(false, true) {
		if c.gone != nil {
			c.gone()
		}
	}
	if t, ok := c.Conn.(*net.TCPConn); ok && c.stalled.Load() {
		_ = t.SetLinger(0) // where it fails, the kernel goes on by itself
	}
	return c.Conn.Close()
}

// Cork gathers what is written until Uncork.
func (c *handedConn) Cork() { c.cork.begin() }

// Uncork writes what was gathered.
func (c *handedConn) Uncork() error {
	err := c.cork.end(c.Conn)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		c.stalled.Store(true)
	}
	return err
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
