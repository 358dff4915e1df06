// Package announce reads and writes the header of the PROXY protocol (haproxy.org, proxy-protocol.txt), by which one proxy tells
// the next whom a connection is really from.
//
// A header is believed by whoever reads it, so Read is only for connections from proxies that were declared. Library types stay
// in here. It opens no connection, and keeps nothing.
package announce

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// The versions that are written, as the document has them. Version 1 is a line of text, and knows TCP alone.
const (
	V1 = "v1"
	V2 = "v2"
)

// Parties are the ends of a client's connection: the client, and the address of ours that it reached. Where From is not valid
// nobody is known, and it is announced that the proxy speaks for itself.
type Parties struct{ From, To netip.AddrPort }

type partiesKey struct{}

// With gives ctx the parties, for whoever makes a connection in it.
func With(ctx context.Context, p Parties) context.Context {
	return context.WithValue(ctx, partiesKey{}, p)
}

// Of are the parties that With gave a context; none where it did not.
func Of(ctx context.Context) Parties {
	p, _ := ctx.Value(partiesKey{}).(Parties)
	return p
}

// Header is what is written before anything else: on a connection, or in each datagram.
func (p Parties) Header(version string, datagrams bool) ([]byte, error) {
	h := proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if version == V1 {
		h.Version = 1
	}
	if p.From.Addr().IsValid() {
		from, to := p.families()
		h.Command, h.TransportProtocol = proxyproto.PROXY, proxyproto.TCPv6
		if from.Addr().Is4() {
			h.TransportProtocol = proxyproto.TCPv4
		}
		if datagrams {
			h.TransportProtocol++ // UDPv4 and UDPv6
			h.SourceAddr, h.DestinationAddr = net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to)
		} else {
			h.SourceAddr, h.DestinationAddr = net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to)
		}
	}
	b, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("write PROXY header: %w", err)
	}
	return b, nil
}

// families makes both ends one family. They differ where another proxy has told of the client.
func (p Parties) families() (from, to netip.AddrPort) {
	a, b := p.From.Addr().Unmap().WithZone(""), p.To.Addr().Unmap().WithZone("")
	switch {
	case (!b.IsValid() || b.IsUnspecified()) && a.Is4():
		b = netip.IPv4Unspecified()
	case !b.IsValid() || b.IsUnspecified():
		b = netip.IPv6Unspecified()
	case a.Is4() && b.Is6():
		a = netip.AddrFrom16(a.As16())
	case a.Is6() && b.Is4():
		b = netip.AddrFrom16(b.As16())
	}
	return netip.AddrPortFrom(a, p.From.Port()), netip.AddrPortFrom(b, p.To.Port())
}

// Read takes the header of a connection from peer, in either version, and gives the client that it names. A connection that the
// proxy makes for itself (LOCAL, UNKNOWN) comes from the proxy. The connection that it gives takes the place of c.
func Read(c net.Conn, peer netip.AddrPort, within time.Duration) (net.Conn, netip.AddrPort, error) {
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
		ap := a.AddrPort()
		if peer = netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port()); !peer.Addr().IsValid() || peer.Addr().IsUnspecified() {
			return nil, peer, errors.New("read PROXY header: the client has no address")
		}
	}
	if n := r.Buffered(); n > 0 {
		rest, _ := r.Peek(n) // it is there
		c = Begun(c, rest)
	}
	return c, peer, nil
}

// Begun is a connection of which some bytes were read already: they come first.
func Begun(c net.Conn, rest []byte) net.Conn { return &begun{Conn: c, rest: rest} }

type begun struct {
	net.Conn
	rest []byte
}

func (c *begun) Read(b []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(b, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// Under is the connection beneath, where all that was read before was taken: then nothing is lost without this one.
func (c *begun) Under() (net.Conn, bool) { return c.Conn, len(c.rest) == 0 }

// Beneath is the connection beneath, on which may be written all the same.
func (c *begun) Beneath() net.Conn { return c.Conn }

// CloseWrite ends one side, as the connection of TCP does.
func (c *begun) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
