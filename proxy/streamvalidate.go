package proxy

import (
	"net/netip"

	"github.com/platformd/platformd/proxy/field"
)

// validateStreams says what is wrong with the streams of a configuration, alone and together.
func (c *Config) validateStreams(e *field.Errors) {
	sockets := 0
	seen := map[string]int{}
	for i := range c.Streams {
		s, at := &c.Streams[i], field.Index("streams", i)
		e.Join(at, s.Validate())
		if j, twice := seen[s.Key()]; twice {
			e.Add(at, "%q is also streams[%d]; remove one of them, or choose another port", s.Key(), j)
		}
		seen[s.Key()] = i
		if s.AcceptProxyProtocol && len(c.Trusted) == 0 {
			e.Add(at+".accept_proxy_protocol", "needs trusted_proxies: without them anybody could claim any address")
		}
		sockets += max(1, len(s.Addresses))
	}
	if sockets > MaxStreamSockets {
		e.Add("streams", "need %d sockets, which are too many; at most %d", sockets, MaxStreamSockets)
	}
}

// Validate says everything that is wrong with s.
func (s *Stream) Validate() error {
	var e field.Errors
	if s.Port < 1 || s.Port > 65535 {
		e.Add("port", "%d must be between 1 and 65535", s.Port)
	}
	if p := s.protocol(); p != StreamTCP && p != StreamUDP {
		e.Add("protocol", "%q must be tcp or udp", p)
	}
	seen := map[string]bool{}
	for i, text := range s.Addresses {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || a.Zone() != "" || a.Is4In6():
			e.Add(field.Index("addresses", i), "%q is not an address of this host; write for example 192.0.2.1 or 2001:db8::1", text)
		case a.IsUnspecified():
			e.Add(field.Index("addresses", i), "%q is every address; leave addresses out", text)
		case text != a.String():
			e.Add(field.Index("addresses", i), "%q: write it as %q", text, a.String())
		case seen[text]:
			e.Add(field.Index("addresses", i), "%q is there twice", text)
		}
		seen[text] = true
	}
	switch m := s.mode(); {
	case m != streamPlain && m != StreamTLS && m != StreamPassthrough:
		e.Add("mode", "%q must be plain, tls or passthrough", m)
	case s.UDP() && m != streamPlain:
		e.Add("mode", "%q is for TCP; of UDP only plain streams are known", m)
	}
	s.validateBackends(&e)
	s.validateTLS(&e)
	prefixes(&e, "allow", s.Allow)
	prefixes(&e, "deny", s.Deny)
	if s.Countries != nil {
		e.Join("countries", s.Countries.Validate())
	}
	c := s.Limits.config(false)
	for _, l := range []struct {
		at  string
		err error
	}{{"limits.client", c.Requests.Validate()}, {"limits.total", c.Total.Validate()}} {
		e.Join(l.at, l.err)
	}
	if l := s.Limits.Subnet; l != nil {
		e.Join("limits.subnet", l.Validate())
	}
	if s.UDP() && s.Limits.Total != nil && s.Limits.Total.Concurrent > maxSessions {
		e.Add("limits.total", "%d sessions are too many; at most %d", s.Limits.Total.Concurrent, maxSessions)
	}
	duration(&e, "timeouts.handshake", s.Timeouts.Handshake)
	duration(&e, "timeouts.first", s.Timeouts.First)
	duration(&e, "timeouts.idle", s.Timeouts.Idle)
	if s.UDP() && (s.Timeouts.First != 0 || s.Timeouts.Handshake != 0) {
		e.Add("timeouts", "has only idle for UDP: a session begins with a datagram, and there is no handshake")
	}
	if s.UDP() && s.AcceptProxyProtocol {
		e.Add("accept_proxy_protocol", "is for TCP")
	}
	oneOf(&e, "firewall", s.Firewall)
	return e.Err()
}

func (s *Stream) validateBackends(e *field.Errors) {
	if s.Backend != nil {
		e.Join("backend", s.Backend.ValidateStream(s.UDP()))
	} else if len(s.Names) == 0 {
		e.Add("backend", `is missing; write for example {"servers": [{"url": "tcp://127.0.0.1:5432"}]}`)
	}
	if len(s.Names) > maxStreamNames {
		e.Add("names", "%d are too many; at most %d", len(s.Names), maxStreamNames)
	}
	seen := map[string]int{}
	for i, n := range s.Names {
		at := field.Index("names", i)
		if n.Name == "" || n.Name[0] == '[' {
			e.Add(at+".name", "%q is not a name; write for example db.example.org or *.example.org", n.Name)
		} else if err := checkHost(n.Name); err != "" {
			e.Add(at+".name", "%q %s", n.Name, err)
		}
		if j, twice := seen[n.Name]; twice {
			e.Add(at, "%q is also names[%d]", n.Name, j)
		}
		seen[n.Name] = i
		if n.Backend != nil {
			e.Join(at+".backend", n.Backend.ValidateStream(false))
		} else if s.Backend == nil {
			e.Add(at+".backend", "is missing, and so is that of the stream")
		}
	}
}

func (s *Stream) validateTLS(e *field.Errors) {
	m := s.mode()
	if m == streamPlain && len(s.Names) > 0 {
		e.Add("names", "are for tls and passthrough: without TLS a client names no server")
	}
	if m == StreamTLS && len(s.Names) == 0 {
		e.Add("names", "are missing: without a name there is no certificate")
	}
	if m != StreamTLS && len(s.ALPN) > 0 {
		e.Add("alpn", "is for tls")
	}
	for i, p := range s.ALPN {
		if p == "" || len(p) > 255 {
			e.Add(field.Index("alpn", i), "%q is not a protocol; write for example postgresql", p)
		}
	}
	if s.ClientAuth == nil {
		return
	}
	e.Join("client_auth", s.ClientAuth.Validate())
	if m != StreamTLS {
		e.Add("client_auth", "is for tls: nobody else sees certificates of clients")
	}
	if s.ClientAuth.Mode == clientOptional {
		e.Add("client_auth.mode", "must be require: a back end is not told whether there was one")
	}
}
