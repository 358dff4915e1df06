package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/proxy/upstream/h1"
)

// Conn is a connection to a server of a group, which counts as one of its requests until it is closed.
type Conn struct {
	net.Conn
	// URL is the server's.
	URL string
	// Announcement is what stands at the beginning of each datagram; empty but for UDP with proxy_protocol.
	Announcement string

	g    *group
	m    *member
	once atomic.Bool
}

// Close closes the connection, and gives its place on the server back.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	if c.once.CompareAndSwap(false, true) {
		c.g.leaveServer(c.m)
	}
	return err
}

// Refused tells that the server turned the client away after all, as only UDP does: it counts like a failed connection.
func (c *Conn) Refused() { c.m.done(c.g.conf.Passive, failed, c.g.now()) }

// Connect connects to a server of a group of streams for a client, and to another where the first cannot be reached. A server
// with TLS has proven who it is then.
func (h *Handle) Connect(ctx context.Context, client netip.Addr) (*Conn, error) {
	g := h.g
	var tried []*member
	retries := orInt(g.conf.Retries, 1)
	for {
		m, err := g.acquire(ctx, client, tried)
		if err != nil {
			return nil, err
		}
		m.requests.Add(1)
		c, err := m.connect(ctx)
		verdict := succeeded
		if err != nil {
			if verdict = failed; ctx.Err() != nil {
				verdict = unknown
			}
		}
		m.done(g.conf.Passive, verdict, g.now())
		if err == nil {
			out := &Conn{Conn: c, URL: m.conf.URL, g: g, m: m}
			if m.url.Scheme == "udp" {
				out.Announcement = m.conf.ProxyProtocol
			}
			return out, nil
		}
		g.leaveServer(m)
		tried = append(tried, m)
		if ctx.Err() != nil || len(tried) > retries || !g.others(tried) {
			return nil, err
		}
	}
}

func (s *server) connect(ctx context.Context) (net.Conn, error) {
	l, ok := s.link.(*streamLink)
	if !ok {
		return nil, errNoStream
	}
	return l.connect(ctx)
}

var errNoStream = errors.New("the server is for requests, or is for streams and this is a request")

// streamLink makes connections to a server of a stream. It implements link, for a group to hold it.
type streamLink struct {
	dial   func(context.Context) (net.Conn, error)
	within time.Duration
	tls    *tls.Config // nil without
}

func newStreamLink(s *Server, u *url.URL, t Timeouts, dial func(context.Context) (net.Conn, error)) (*streamLink, error) {
	l := &streamLink{dial: dial, within: orDefault(t.Connect, 10*time.Second)}
	if u.Scheme != "tls" {
		return l, nil
	}
	var err error
	if l.tls, err = tlsConfig(s); err == nil && l.tls.ServerName == "" {
		l.tls.ServerName = u.Hostname()
	}
	return l, err
}

func (l *streamLink) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.within)
	defer cancel()
	c, err := l.dial(ctx)
	if err != nil || l.tls == nil {
		return c, err
	}
	t := tls.Client(c, l.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

// Do implements link.
func (l *streamLink) Do(context.Context, *h1.Request) (*h1.Response, error) {
	return nil, errNoStream
}

// CloseIdle implements link.
func (l *streamLink) CloseIdle() {}
