package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// announced reads the PROXY protocol header that a trusted proxy begins a connection with, in either version, and gives the
// client that it names. A connection that the proxy makes for itself (LOCAL, UNKNOWN) comes from the proxy.
func announced(c net.Conn, peer netip.AddrPort, within time.Duration) (net.Conn, netip.AddrPort, error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, peer, err
	}
	r := bufio.NewReaderSize(c, 512)
	h, err := proxyproto.Read(r)
	if err != nil {
		return nil, peer, fmt.Errorf("read PROXY header: %w", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return nil, peer, err
	}
	if !h.Command.IsLocal() && !h.TransportProtocol.IsUnspec() {
		a, ok := h.SourceAddr.(*net.TCPAddr)
		if !ok {
			return nil, peer, errors.New("read PROXY header: the client is not one of TCP")
		}
		if peer = addressOf(a); !peer.Addr().IsValid() || peer.Addr().IsUnspecified() {
			return nil, peer, errors.New("read PROXY header: the client has no address")
		}
	}
	if n := r.Buffered(); n > 0 {
		rest, _ := r.Peek(n) // it is there
		c = &begunConn{Conn: c, rest: rest}
	}
	return c, peer, nil
}

// begunConn is a connection of which some bytes were read already.
type begunConn struct {
	net.Conn
	rest []byte
}

func (c *begunConn) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite ends one side, as the connection of TCP does.
func (c *begunConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
