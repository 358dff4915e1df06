package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/announce"
	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/stream"
	"github.com/platformd/platformd/proxy/upstream"
)

var errNoName = errors.New("no such name here")

// streamed is one connection of a stream on its way.
type streamed struct {
	server *Server
	st     *streaming
	start  time.Time
	ends   announce.Parties
	exempt bool
	pass   limits.Pass
	raw    net.Conn     // as it was accepted
	client net.Conn     // what is read of and written to
	pipe   *stream.Pipe // nil until both sides are connected
	access Access
}

// ServeStream takes connections of the stream with a key until the listener is closed. It returns nil when the server drains.
func (s *Server) ServeStream(key string, l net.Listener) error {
	s.mu.Lock()
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	if s.draining.Load() {
		return l.Close()
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listeners = slices.DeleteFunc(s.listeners, func(k net.Listener) bool { return k == l })
	}()
	return s.accept(l, func(c net.Conn) {
		st := s.table.Load().streams[key]
		if st == nil { // it was taken away, and the socket is about to be
			c.Close()
			return
		}
		peer := addressOf(c.RemoteAddr())
		x := &streamed{server: s, st: st, start: time.Now(), raw: c, client: c, ends: announce.Parties{From: peer, To: addressOf(c.LocalAddr())},
			access: Access{Protocol: "TCP", Stream: key, Client: peer.Addr()}}
		if !s.streams.begin(x, s.limit.Load()) {
			st.counts.refused.Add(1)
			c.Close()
			return
		}
		go x.serve()
	})
}

// HasStream reports whether there is a stream with a key.
func (s *Server) HasStream(key string) bool { return s.table.Load().streams[key] != nil }

// serve is the life of the connection.
func (x *streamed) serve() {
	defer func() {
		x.client.Close()
		x.server.limits.Done(&x.pass)
		x.server.streams.finish(x)
		x.report()
	}()
	if !x.admit() {
		return
	}
	to, c := x.choose()
	if c == nil {
		return
	}
	x.client = c
	ctx, cancel := context.WithCancel(announce.With(x.server.streams.ctx, x.ends))
	defer cancel()
	back, err := to.Connect(ctx, x.ends.From.Addr())
	if err != nil {
		x.fail("back end: " + err.Error())
		return
	}
	defer back.Close()
	x.access.Backend = back.URL
	p := &stream.Pipe{Client: c, Back: back.Conn, First: time.Duration(x.st.Timeouts.First), Idle: x.st.idle}
	x.server.streams.connected(x, p)
	x.access.Ended = p.Run()
}

// admit finds out who the client is, and whether it may come.
func (x *streamed) admit() bool {
	s, t := x.server, x.server.table.Load()
	if x.st.AcceptProxyProtocol && t.trusted.has(x.ends.From.Addr()) {
		c, client, err := announce.Read(x.client, x.ends.From, x.st.handshake)
		if err != nil {
			x.refuse(err.Error())
			return false
		}
		x.client, x.ends.From, x.access.Client = c, client, client.Addr()
	}
	addr := x.ends.From.Addr()
	x.exempt = t.exempt.has(addr)
	if why := s.refusesStream(x.st, addr, x.exempt); why != "" {
		s.stats.blocked.Add(1)
		x.refuse(why)
		return false
	}
	v := s.limits.Admit(&x.pass, limits.Request{Client: addr, Exempt: x.exempt}, nil, x.st.limits)
	if v.Status == 0 {
		return true
	}
	x.refuse(v.Reason)
	// Who has made a connection has the address that it comes from.
	if v.Strike && s.cfg.Strikes != nil && !t.trusted.has(addr) {
		if strike, ok := s.limits.Observe(limits.Exchange{Client: addr, Method: "connect", Path: x.st.key, Status: http.StatusTooManyRequests, Refused: v.Reason, Flood: true}); ok {
			s.cfg.Strikes.Strike(strike)
		}
	}
	return false
}

// choose finds the back end, and gives the connection that is to be connected with it; nil where there is none.
func (x *streamed) choose() (*upstream.Handle, net.Conn) {
	ctx, cancel := context.WithTimeout(x.server.streams.ctx, x.st.handshake)
	defer cancel()
	switch x.st.mode() {
	case StreamTLS:
		return x.terminate(ctx)
	case StreamPassthrough:
		return x.read(ctx)
	}
	return x.st.back, x.client
}

// terminate ends TLS here.
func (x *streamed) terminate(ctx context.Context) (*upstream.Handle, net.Conn) {
	s := x.server
	t := tls.Server(x.client, s.streamTLS(x.st))
	if err := t.HandshakeContext(ctx); err != nil {
		s.counters.unshaken.Add(1)
		x.refuse("TLS: " + err.Error())
		return nil, nil
	}
	state := t.ConnectionState()
	if state.DidResume {
		s.counters.resumed.Add(1)
	} else {
		s.counters.shaken.Add(1)
	}
	if state.NegotiatedProtocol == acmeTLS {
		x.access.Ended = "the certificate was the answer to a challenge"
		t.Close()
		return nil, nil
	}
	x.access.TLS = tls.VersionName(state.Version)
	name, err := x.st.named(state.ServerName)
	if err != nil { // the handshake let it pass
		x.refuse(err.Error())
		return nil, nil
	}
	x.access.Host = name
	if why := x.st.clients.refuses(&state); why != "" {
		x.refuse(why)
		t.Close()
		return nil, nil
	}
	to, ok := x.st.find(name)
	if !ok {
		to = x.st.names[name] // the first may be a wildcard
	}
	return to, t
}

// read looks at the name that a client asks for, and leaves TLS to the back end.
func (x *streamed) read(ctx context.Context) (*upstream.Handle, net.Conn) {
	hello, c, err := stream.ReadHello(ctx, x.client)
	if err != nil {
		x.refuse(err.Error())
		return nil, nil
	}
	to := x.st.back
	if name, err := normalHost(hello.Name); err == nil {
		x.access.Host = name
		if h, ok := x.st.find(name); ok {
			to = h
		}
	}
	if to == nil {
		x.refuse(errNoName.Error())
		stream.Unknown(x.client)
		return nil, nil
	}
	return to, c
}

// refuses says why the client of a connection may not come by its certificate; "" is that it may.
func (c *clients) refuses(state *tls.ConnectionState) string {
	if c == nil {
		return ""
	}
	leaf, err := verifyClient(state.PeerCertificates, c.pool)
	switch {
	case err != nil:
		return "client certificate: " + err.Error()
	case leaf == nil:
		return "no client certificate"
	case len(c.allow) > 0 && !slices.ContainsFunc(certNames(leaf), func(n string) bool { return slices.Contains(c.allow, strings.ToLower(n)) }):
		return "client certificate has none of the allowed names"
	}
	return ""
}

func (x *streamed) refuse(why string) {
	x.access.Reason = why
	x.st.counts.refused.Add(1)
}

func (x *streamed) fail(why string) {
	x.access.Reason = why
	x.st.counts.failed.Add(1)
}

// report writes the record.
func (x *streamed) report() {
	a := &x.access
	a.Time, a.Took = x.start, field.Duration(time.Since(x.start))
	if x.pipe != nil {
		a.Received, a.Sent = x.pipe.Received.Load(), x.pipe.Sent.Load()
	}
	x.server.report(*a)
}

// unmapped is an address as it is compared.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
