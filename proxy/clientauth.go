package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/field"
)

// ClientAuth is who may come by a certificate of his own (mutual TLS). Clients of a host that has it are asked for one; those of
// other hosts never are. Certificates are not looked up in lists of revoked ones: name who may come in Allow, or have the CA
// sign for short times.
type ClientAuth struct {
	// CA is the PEM of the authorities whose certificates count. All routes of a host have the same.
	CA string `json:"ca"`
	// Mode is "require" (the default), or "optional": then the back end is told whether there was one.
	Mode string `json:"mode,omitempty"`
	// Allow are names of which a certificate has to have one, as its common name, DNS name, e-mail address or URI. Empty is
	// every certificate of the CA.
	Allow []string `json:"allow,omitempty"`
}

const clientOptional = "optional"

// Validate says everything that is wrong with a.
func (a *ClientAuth) Validate() error {
	var e field.Errors
	if _, err := a.pool(); err != nil {
		e.Add("ca", "%v", err)
	}
	if a.Mode != "" && a.Mode != "require" && a.Mode != clientOptional {
		e.Add("mode", "%q must be require or optional", a.Mode)
	}
	for i, n := range a.Allow {
		if n == "" {
			e.Add(field.Index("allow", i), "is empty; write a name that certificates have")
		}
	}
	return e.Err()
}

func (a *ClientAuth) pool() (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for rest := []byte(a.CA); ; n++ {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if b.Type != "CERTIFICATE" || err != nil {
			return nil, errors.New("holds something that is no certificate; paste the PEM of the authority that signs for clients")
		}
		pool.AddCert(c)
	}
	if n == 0 {
		return nil, errors.New("holds no certificate; paste the PEM of the authority that signs for clients")
	}
	return pool, nil
}

// validateClients says what is wrong with the client certificates of hosts: a handshake knows the host, and not the path.
func (c *Config) validateClients(e *field.Errors) {
	first := map[string]int{}
	for i := range c.Routes {
		r := &c.Routes[i]
		if r.ClientAuth == nil {
			continue
		}
		at := field.Index("routes", i)
		if j, ok := first[r.Host]; !ok {
			first[r.Host] = i
		} else if r.ClientAuth.CA != c.Routes[j].ClientAuth.CA {
			e.Add(at+".client_auth.ca", "is another than that of routes[%d]; all routes of a host have the same", j)
		}
		if r.Host == "" {
			e.Add(at+".client_auth", "needs a host: only clients that name it can be asked")
		}
		if r.PlainHTTP {
			e.Add(at+".plain_http", "cannot be with client_auth: without TLS nobody has a certificate")
		}
		if r.Cache != nil {
			e.Add(at+".cache", "cannot be with client_auth: what is stored for one client would be answered to others")
		}
	}
}

// clients is a ClientAuth, ready to serve.
type clients struct {
	pool     *x509.CertPool
	optional bool
	allow    []string
}

// compile makes what was validated ready.
func (a *ClientAuth) compile() *clients {
	if a == nil {
		return nil
	}
	pool, _ := a.pool()
	out := &clients{pool: pool, optional: a.Mode == clientOptional}
	for _, n := range a.Allow {
		out.allow = append(out.allow, strings.ToLower(n))
	}
	return out
}

// asking is what a handshake with a host asks of clients.
type asking struct {
	pool *x509.CertPool
	mode tls.ClientAuthType
}

// ask finds out what handshakes with hosts ask of clients: a certificate, where any route has a use for it, and nothing less
// where all of them require it.
func (t *Table) ask() {
	for _, r := range t.routes {
		p := t.hosts[r.Host]
		switch {
		case r.clients == nil:
			p.open = true
		case p.asking == nil:
			p.asking, t.asks = &asking{pool: r.clients.pool}, true
		}
		p.open = p.open || r.clients != nil && r.clients.optional
	}
	for _, p := range t.hosts {
		if p.asking != nil {
			p.asking.mode = tls.RequireAndVerifyClientCert
			if p.open {
				p.asking.mode = tls.VerifyClientCertIfGiven
			}
		}
	}
}

// asked is what the host of a name asks of clients, nil for nothing.
func (t *Table) asked(host string) *asking {
	for _, name := range [...]string{host, parent(host), ""} {
		if p := t.hosts[name]; p != nil {
			return p.asking
		}
	}
	return nil
}

// configFor is TLS for a client whose host asks for a certificate; nil is TLS as for everybody.
func (s *Server) configFor(hello *tls.ClientHelloInfo) *tls.Config {
	t := s.table.Load()
	if !t.asks {
		return nil
	}
	name, err := normalHost(hello.ServerName)
	if err != nil {
		return nil
	}
	a := t.asked(name)
	if a == nil {
		return nil
	}
	c := s.tls.Clone() // with the keys of tickets that are valid now
	c.GetConfigForClient = nil
	c.ClientAuth, c.ClientCAs = a.mode, a.pool
	return c
}

// certified holds a request to what its route says of client certificates, tells the back end of it, and reports whether it
// may go on.
func (s *Server) certified(x *exchange) bool {
	if !x.table.asks || !x.conn.tls() {
		return true
	}
	// What was asked for in the handshake was asked for one host. HTTP/2 and HTTP/3 let a client use a connection for others.
	if sni := x.conn.name(); sni != x.host && (x.table.asked(sni) != nil || x.table.asked(x.host) != nil) {
		s.fail(x, http.StatusMisdirectedRequest, "the connection was made for another host")
		return false
	}
	c := x.route.clients
	if c == nil {
		return true
	}
	h := x.request.Header
	for name := range h {
		if certHeader(name) {
			delete(h, name)
		}
	}
	leaf, err := x.conn.certificate(c)
	switch {
	case err != nil:
		s.fail(x, http.StatusForbidden, "client certificate: "+err.Error())
		return false
	case leaf == nil && !c.optional:
		s.fail(x, http.StatusForbidden, "no client certificate")
		return false
	case leaf == nil:
		h["X-Client-Cert-Verify"] = []string{"NONE"}
		return true
	}
	names := certNames(leaf)
	if len(c.allow) > 0 && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(c.allow, strings.ToLower(n)) }) {
		s.fail(x, http.StatusForbidden, "client certificate has none of the allowed names")
		return false
	}
	print := sha256.Sum256(leaf.Raw)
	for name, value := range map[string]string{"Verify": "SUCCESS", "Subject": leaf.Subject.String(), "Issuer": leaf.Issuer.String(), "Serial": leaf.SerialNumber.Text(16),
		"Fingerprint": hex.EncodeToString(print[:]), "Names": strings.Join(names, ", "), "Not-After": leaf.NotAfter.UTC().Format(time.RFC3339)} {
		if !httpguts.ValidHeaderFieldValue(value) {
			value = url.PathEscape(value)
		}
		h["X-Client-Cert-"+name] = []string{value}
	}
	return true
}

// certHeader reports whether a header, by its canonical name, tells of a client's certificate (also as RFC 9440 does).
func certHeader(name string) bool {
	return strings.HasPrefix(name, "X-Client-Cert") || strings.HasPrefix(name, "Client-Cert")
}

// certNames are all names of a certificate.
func certNames(c *x509.Certificate) []string {
	var out []string
	if c.Subject.CommonName != "" {
		out = append(out, c.Subject.CommonName)
	}
	out = append(append(out, c.DNSNames...), c.EmailAddresses...)
	for _, u := range c.URIs {
		out = append(out, u.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// shown is the certificate that the client of a connection has shown, looked at with the eyes of one route.
type shown struct {
	by   *clients
	leaf *x509.Certificate
	err  error
}

// certificate is that of the client, nil where it has shown none. It is verified here, whatever the handshake has seen: that
// may have been a session resumed from another host, or under a configuration that is gone.
func (c *conn) certificate(by *clients) (*x509.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shown.by != by {
		c.shown = shown{by: by}
		state := c.state
		if c.fresh != nil {
			state = c.fresh()
		}
		c.shown.leaf, c.shown.err = verifyClient(state.PeerCertificates, by.pool)
	}
	if l := c.shown.leaf; l != nil && time.Now().After(l.NotAfter) {
		return nil, errors.New("has expired")
	}
	return c.shown.leaf, c.shown.err
}

func verifyClient(chain []*x509.Certificate, roots *x509.CertPool) (*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, nil
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, err
	}
	return chain[0], nil
}

// name is the host that the connection was made for, in its normal form; "" where the client named none.
func (c *conn) name() string {
	n, err := normalHost(c.state.ServerName)
	if err != nil {
		return ""
	}
	return n
}
