// Package proxytest starts real servers for the tests of the proxy's handlers: what a handler does is looked at from a
// client's side of a socket, by HTTP/1.1 and by HTTP/2. Only tests import it.
package proxytest

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Server is one running server and a client that speaks one version of the protocol to it.
type Server struct {
	URL    string
	Client *http.Client
	tb     testing.TB
}

// Each runs a test against the handler, once by HTTP/1.1 and once by HTTP/2.
func Each(t *testing.T, handler http.Handler, test func(t *testing.T, s *Server)) {
	t.Helper()
	for _, v := range []struct {
		name string
		two  bool
	}{{"h1", false}, {"h2", true}} {
		t.Run(v.name, func(t *testing.T) { test(t, start(t, handler, v.two)) })
	}
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
	client := server.Client()
	client.Timeout = 30 * time.Second
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Server{URL: server.URL, Client: client, tb: tb}
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
