// Package proxytest starts real servers for the tests of the proxy's handlers: what a handler does is looked at from a
// client's side of a socket, by HTTP/1.1, HTTP/2 and HTTP/3. Only tests import it.
package proxytest

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// Server is one running server and a client that speaks one version of the protocol to it.
type Server struct {
	URL    string
	Client *http.Client
	tb     testing.TB
}

// Each runs a test against the handler, once by HTTP/1.1, once by HTTP/2 and once by HTTP/3.
func Each(t *testing.T, handler http.Handler, test func(t *testing.T, s *Server)) {
	t.Helper()
	t.Run("h1", func(t *testing.T) { test(t, start(t, handler, false)) })
	t.Run("h2", func(t *testing.T) { test(t, start(t, handler, true)) })
	t.Run("h3", func(t *testing.T) { test(t, start3(t, handler)) })
}

// start3 runs the handler by HTTP/3, with the certificate that httptest has for 127.0.0.1.
func start3(tb testing.TB, handler http.Handler) *Server {
	tb.Helper()
	issuer := httptest.NewUnstartedServer(nil)
	issuer.StartTLS()
	defer issuer.Close()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: issuer.TLS.Certificates})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(conn) // which ends with an error when it is closed
	}()
	roots := issuer.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true}
	tb.Cleanup(func() {
		transport.Close()
		server.Close()
		conn.Close()
		<-served
	})
	return &Server{URL: "https://" + conn.LocalAddr().String(), Client: client(&http.Client{Transport: transport}), tb: tb}
}

// client follows no redirects, and waits a bounded time.
func client(c *http.Client) *http.Client {
	c.Timeout = 30 * time.Second
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Start runs the handler by HTTP/1.1 until the test ends.
func Start(tb testing.TB, handler http.Handler) *Server {
	tb.Helper()
	return start(tb, handler, false)
}

func start(tb testing.TB, handler http.Handler, two bool) *Server {
	tb.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = two
	server.StartTLS()
	tb.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport)
	transport.DisableCompression = true
	if !two {
		transport.ForceAttemptHTTP2 = false
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &Server{URL: server.URL, Client: client(server.Client()), tb: tb}
}

// Response is an answer, read to its end.
type Response struct {
	*http.Response
	Text string
	// Broken is why the body did not end as it should.
	Broken error
}

// Do sends a request with fields given as pairs of name and value, and reads the answer.
func (s *Server) Do(method, path string, fields ...string) *Response {
	s.tb.Helper()
	return s.Send(s.Request(method, path, nil, fields...))
}

// Get is Do with GET.
func (s *Server) Get(path string, fields ...string) *Response {
	s.tb.Helper()
	return s.Do(http.MethodGet, path, fields...)
}

// Request makes a request with fields given as pairs of name and value.
func (s *Server) Request(method, path string, body io.Reader, fields ...string) *http.Request {
	s.tb.Helper()
	r, err := http.NewRequest(method, s.URL+path, body)
	if err != nil {
		s.tb.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		}
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

// Send sends a request and reads the answer.
func (s *Server) Send(r *http.Request) *Response {
	s.tb.Helper()
	resp, err := s.Client.Do(r)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &Response{Response: resp, Text: string(body), Broken: err}
}

// Eventually waits until the condition holds.
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
