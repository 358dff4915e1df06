package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/platformd/platformd/proxy/cache"
)

// clientCA signs certificates of clients.
type clientCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newClientCA(t *testing.T) *clientCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clients"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &clientCA{c, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func (a *clientCA) sign(t *testing.T, name string, use x509.ExtKeyUsage) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(0xabc), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"dns." + name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{use}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// showing is a client with a certificate, nil for none. With name, every connection is made for that host.
func (s *site) showing(t *testing.T, protocol string, cert *tls.Certificate, name string) *http.Client {
	t.Helper()
	c := s.client(t, protocol)
	conf := &tls.Config{RootCAs: s.ca.pool, ServerName: name, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if cert == nil {
			return new(tls.Certificate), nil
		}
		return cert, nil
	}}
	switch tr := c.Transport.(type) {
	case *http.Transport:
		tr.TLSClientConfig = conf
	case *http3.Transport:
		tr.TLSClientConfig = conf
	}
	return c
}

func TestClientCertificates(t *testing.T) {
	b := mirror(t)
	ca, other := newClientCA(t), newClientCA(t)
	alice, bob := ca.sign(t, "alice", x509.ExtKeyUsageClientAuth), ca.sign(t, "bob", x509.ExtKeyUsageClientAuth)
	server, stranger := ca.sign(t, "alice", x509.ExtKeyUsageServerAuth), other.sign(t, "alice", x509.ExtKeyUsageClientAuth)
	conf := Config{Routes: []Route{
		{Host: "a.test", Backend: b.URL, ClientAuth: &ClientAuth{CA: ca.pem, Allow: []string{"dns.Alice"}}},
		{Host: "mixed.b.test", Backend: b.URL},
		{Host: "mixed.b.test", Path: "/in", Backend: b.URL, ClientAuth: &ClientAuth{CA: ca.pem}},
		{Host: "mixed.b.test", Path: "/maybe", Backend: b.URL, ClientAuth: &ClientAuth{CA: ca.pem, Mode: "optional"}},
		{Host: "*.b.test", Backend: b.URL},
	}}
	s := newSite(t, conf)
	const tlsError = -1
	for _, p := range protocols {
		for _, x := range []struct {
			name string
			cert *tls.Certificate
			url  string
			want int
		}{
			{"who may come", alice, "https://a.test/", 200},
			{"another of the CA", bob, "https://a.test/", 403},
			{"nobody", nil, "https://a.test/", tlsError},
			{"another CA", stranger, "https://a.test/", tlsError},
			{"not for clients", server, "https://a.test/", tlsError},
			{"open path", nil, "https://mixed.b.test/", 200},
			{"closed path", nil, "https://mixed.b.test/in", 403},
			{"closed path, who may come", bob, "https://mixed.b.test/in", 200},
			{"optional, nobody", nil, "https://mixed.b.test/maybe", 200},
			{"optional, who may come", bob, "https://mixed.b.test/maybe", 200},
			{"optional, another CA", stranger, "https://mixed.b.test/maybe", tlsError},
			{"a host that asks nobody", stranger, "https://x.b.test/", 200},
		} {
			c := s.showing(t, p, x.cert, "")
			req, err := http.NewRequest("GET", x.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Client-Cert-Subject", "CN=forged")
			req.Header.Set("Client-Cert", ":forged:")
			resp, err := c.Do(req)
			got := tlsError
			body := ""
			if err == nil {
				got, body = resp.StatusCode, read(t, resp)
			}
			if got != x.want || strings.Contains(body, "forged") {
				t.Errorf("%s %s: got %d %v %s, want %d", p, x.name, got, err, body, x.want)
			}
			if x.want == 200 && x.cert == alice && (!strings.Contains(body, "\nX-Client-Cert-Subject: CN=alice\n") || !strings.Contains(body, "\nX-Client-Cert-Serial: abc\n") ||
				!strings.Contains(body, "\nX-Client-Cert-Names: alice, dns.alice\n") || !strings.Contains(body, "\nX-Client-Cert-Verify: SUCCESS\n")) {
				t.Errorf("%s %s: the back end saw\n%s", p, x.name, body)
			}
			if x.name == "optional, nobody" && !strings.Contains(body, "\nX-Client-Cert-Verify: NONE\n") {
				t.Errorf("%s %s: the back end saw\n%s", p, x.name, body)
			}
		}
		// A connection for one host is not one for another, in either direction.
		for _, x := range []struct{ sni, host string }{{"x.b.test", "a.test"}, {"a.test", "x.b.test"}, {"mixed.b.test", "x.b.test"}} {
			c := s.showing(t, p, alice, x.sni)
			req, _ := http.NewRequest("GET", "https://"+x.sni+"/", nil)
			req.Host = x.host
			resp, err := c.Do(req)
			if err != nil || resp.StatusCode != 421 {
				t.Errorf("%s: for %s on a connection for %s: got %v, %v, want 421", p, x.host, x.sni, resp, err)
			}
		}
		if resp, _ := say(t, s.showing(t, p, nil, "x.b.test"), "GET", "https://y.b.test/", nil); resp.StatusCode != 200 {
			t.Errorf("%s: hosts that ask nobody share connections: got %d", p, resp.StatusCode)
		}
	}
}

func read(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A route that begins to ask, or asks for another CA, does so on connections that are there, and of sessions that are resumed.
func TestClientCertificatesAfterAReload(t *testing.T) {
	b := mirror(t)
	ca, other := newClientCA(t), newClientCA(t)
	alice := ca.sign(t, "alice", x509.ExtKeyUsageClientAuth)
	auth := func(c *clientCA) Config {
		return Config{Routes: []Route{{Host: "a.test", Backend: b.URL, ClientAuth: &ClientAuth{CA: c.pem}}, {Host: "a.test", Path: "/open", Backend: b.URL}}}
	}
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	for _, p := range protocols {
		if err := s.Configure(Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}}); err != nil {
			t.Fatal(err)
		}
		c := s.showing(t, p, alice, "")
		say(t, c, "GET", "https://a.test/", nil)
		if err := s.Configure(auth(ca)); err != nil {
			t.Fatal(err)
		}
		if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != 403 {
			t.Errorf("%s: a connection without a certificate goes on: %d", p, resp.StatusCode)
		}
		c = s.showing(t, p, alice, "")
		switch tr := c.Transport.(type) { // sessions are resumed
		case *http.Transport:
			tr.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		case *http3.Transport:
			tr.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		}
		if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != 200 {
			t.Errorf("%s: got %d", p, resp.StatusCode)
		}
		if err := s.Configure(auth(other)); err != nil {
			t.Fatal(err)
		}
		if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != 403 {
			t.Errorf("%s: a certificate of the CA before goes on: %d", p, resp.StatusCode)
		}
		c.CloseIdleConnections()
		req, _ := http.NewRequestWithContext(context.Background(), "GET", "https://a.test/", nil)
		if resp, err := c.Do(req); err == nil && resp.StatusCode != 403 {
			t.Errorf("%s: a session of the CA before is resumed: %d", p, resp.StatusCode)
		}
	}
}

func TestClientAuthNamesEveryMistake(t *testing.T) {
	ca, other := newClientCA(t).pem, newClientCA(t).pem
	c := Config{Routes: []Route{
		{Host: "a.test", Backend: "http://127.0.0.1:1", ClientAuth: &ClientAuth{CA: "x", Mode: "y", Allow: []string{""}}},
		{Host: "", Backend: "http://127.0.0.1:1", ClientAuth: &ClientAuth{CA: ca}, PlainHTTP: true, Cache: &cache.Config{}},
		{Host: "b.test", Backend: "http://127.0.0.1:1", ClientAuth: &ClientAuth{CA: ca}},
		{Host: "b.test", Path: "/x", Backend: "http://127.0.0.1:1", ClientAuth: &ClientAuth{CA: other}},
	}}
	err := c.Validate()
	if err == nil {
		t.Fatal("nothing is wrong with it")
	}
	for _, want := range []string{"routes[0].client_auth.ca", "routes[0].client_auth.mode", "routes[0].client_auth.allow[0]", "routes[1].client_auth", "routes[1].plain_http", "routes[1].cache", "routes[3].client_auth.ca"} {
		if !strings.Contains(err.Error(), want+":") {
			t.Errorf("nothing is said of %s in %v", want, err)
		}
	}
}
