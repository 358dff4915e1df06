package proxy

import (
	"cmp"
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/upstream"
)

// streaming is a Stream, ready to serve. It never changes.
type streaming struct {
	Stream
	key         string
	allow, deny prefixList
	nations     *nations
	clients     *clients // who has to show a certificate; nil is nobody
	limits      *limits.Rules
	back        *upstream.Handle            // nil is nobody
	names       map[string]*upstream.Handle // by name or wildcard
	counts      *streamCounts
	handshake   time.Duration
	idle        time.Duration
}

// streamTo makes the streams of a table ready, with the back ends of a plan.
func (t *Table) streamTo(p *plan) error {
	t.streams = map[string]*streaming{}
	var e field.Errors
	for i := range t.cfg.Streams {
		st := &streaming{Stream: t.cfg.Streams[i], names: map[string]*upstream.Handle{}}
		st.key = st.Key()
		st.allow, st.deny, st.nations, st.clients = parsePrefixes(st.Allow), parsePrefixes(st.Deny), st.Countries.compile(), st.ClientAuth.compile()
		st.handshake, st.idle = orDefault(st.Timeouts.Handshake, defaultHeader), orDefault(st.Timeouts.Idle, defaultStreamIdle)
		if st.UDP() {
			st.idle = orDefault(st.Timeouts.Idle, defaultUDPIdle)
		}
		at := field.Index("streams", i)
		var err error
		st.back, err = p.stream(st.key, st.Backend)
		e.Join(at+".backend", err)
		for j, n := range st.Names {
			st.names[n.Name] = st.back
			if n.Backend != nil {
				st.names[n.Name], err = p.stream(st.key+" "+n.Name, n.Backend)
				e.Join(field.Index(at+".names", j)+".backend", err)
			}
		}
		t.streams[st.key] = st
	}
	return e.Err()
}

// stream is the group of a stream's back end, which nobody else can name.
func (p *plan) stream(name string, g *upstream.Group) (*upstream.Handle, error) {
	if g == nil {
		return nil, nil
	}
	own := *g
	own.Name = "stream " + name
	if len(own.Servers) == 1 {
		own.Passive.Failures = cmp.Or(own.Passive.Failures, -1) // there is no other to ask in its place
	}
	return p.next.Add(upstream.Spec{Group: own, Timeouts: own.Timeouts.Durations()})
}

// find gives the back end for a name that a client asks for, in its normal form.
func (st *streaming) find(name string) (*upstream.Handle, bool) {
	for _, n := range [...]string{name, parent(name)} {
		if h, ok := st.names[n]; ok && n != "" {
			return h, true
		}
	}
	return nil, false
}

// limitStreams makes the limits of streams ready, and notes their names among those that are wanted.
func (t *Table) limitStreams(l *limits.Limiter, wanted map[string]bool) {
	for _, st := range t.streams {
		c := st.Limits.config(st.UDP())
		name := "stream " + st.key // which no route can have
		st.limits = l.Rules(name, &c)
		wanted[name] = true
	}
}

// refusesStream says why a client may not come; "" is that it may.
func (s *Server) refusesStream(st *streaming, client netip.Addr, exempt bool) string {
	switch {
	case st.deny.has(client):
		return "the address is denied"
	case len(st.allow) > 0 && !st.allow.has(client):
		return "the address is not allowed"
	case !exempt && !st.nations.admit(client, s.cfg.Countries):
		return "the country is not allowed"
	}
	return ""
}

// streamTLS is TLS for a client of a stream.
func (s *Server) streamTLS(st *streaming) *tls.Config {
	c := s.tls.Clone() // with the keys of tickets that are valid now
	challenged := c.GetConfigForClient
	c.NextProtos = st.ALPN
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name, err := st.named(hello.ServerName)
		if err != nil {
			return nil, err
		}
		return s.cfg.Certificates.Certificate(hello.Context(), name)
	}
	if st.clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, st.clients.pool
	}
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if isChallenge(hello) {
			return challenged(hello)
		}
		return nil, nil
	}
	return c
}

// named is the name that a client wants, in its normal form: the first, where it says nothing.
func (st *streaming) named(sni string) (string, error) {
	if sni == "" {
		return st.Names[0].Name, nil
	}
	name, err := normalHost(sni)
	if err != nil {
		return "", err
	}
	if _, ok := st.find(name); !ok {
		return "", errNoName
	}
	return name, nil
}
