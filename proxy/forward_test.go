package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream"
)

// rawBackend answers each connection by hand, after the head of a request.
func rawBackend(t *testing.T, serve func(c *net.TCPConn, r *bufio.Reader, req *http.Request)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					serve(c.(*net.TCPConn), r, req)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// dialSite is a client that writes HTTP/1.1 by hand.
func (s *site) dial(t *testing.T) (*tls.Conn, *bufio.Reader) {
	t.Helper()
	c, err := tls.Dial("tcp", s.https, &tls.Config{RootCAs: s.ca.pool, ServerName: "a.test", NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

func TestRouteToGroup(t *testing.T) {
	var urls []upstream.Server
	for _, name := range []string{"one", "two"} {
		b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s %s", name, r.URL.Path, r.Host)
		}))
		t.Cleanup(b.Close)
		urls = append(urls, upstream.Server{URL: b.URL})
	}
	c := Config{Upstreams: []upstream.Group{{Name: "app", Servers: urls}}, Routes: []Route{{Host: "a.test", Path: "/shop", Backend: "upstream:app"}, {Host: "a.test", Path: "/own", Backend: "upstream:app", PreserveHost: Off}}}
	s := newSite(t, c)
	got := map[string]int{}
	for range 4 {
		_, body := say(t, s.client(t, "HTTP/2.0"), "GET", "https://a.test/shop/x", nil)
		got[body]++
	}
	if want := map[string]int{"one /x a.test": 2, "two /x a.test": 2}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, body := say(t, s.client(t, "HTTP/1.1"), "GET", "https://a.test/own", nil); !strings.Contains(body, strings.TrimPrefix(urls[0].URL, "http://")) {
		t.Errorf("got %q, want the host of the server", body)
	}
	if st := s.Upstreams(); len(st) != 2 || st[0].Requests+st[1].Requests != 5 || st[0].InFlight != 0 {
		t.Errorf("got status %+v", st)
	}
	err := s.Test(Config{Upstreams: []upstream.Group{{Name: "app"}}, Routes: []Route{{Host: "a.test", Backend: "upstream:none"}, {Host: "b.test", Backend: "upstream:app", SNIName: "x", BackendTimeouts: BackendTimeout{Answer: field.Duration(time.Second)}}}})
	for _, want := range []string{"upstreams[0].servers: is empty", `routes[0].backend: there is no upstream "none"`, "routes[1].sni_name: ", "routes[1].backend_timeouts: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q in %v", want, err)
		}
	}
}

func TestTrailersBothWays(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Announced")
		fmt.Fprintf(w, "%d %v te=%s", len(body), r.Trailer, r.Header.Get("Te"))
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	}))
	t.Cleanup(b.Close)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	for _, p := range protocols[:2] {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://a.test/", struct{ io.Reader }{strings.NewReader("hello")})
		req.Trailer = http.Header{"X-Sum": {"7"}}
		req.Header.Set("Te", "trailers")
		resp, err := s.client(t, p).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "5 map[X-Sum:[7]] te=trailers" {
			t.Errorf("%s: got %q, %v", p, body, err)
		}
		if want := (http.Header{"X-Announced": {"1"}, "X-Late": {"2"}}); !maps.EqualFunc(resp.Trailer, want, slices.Equal) {
			t.Errorf("%s: got trailers %v", p, resp.Trailer)
		}
	}
}

func TestEarlyHints(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		io.WriteString(w, "done")
	}))
	t.Cleanup(b.Close)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	for _, p := range protocols[:2] {
		var hints []string
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		}}), "GET", "https://a.test/", nil)
		resp, err := s.client(t, p).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := []string{"103 </a.css>; rel=preload"}; !slices.Equal(hints, want) || string(body) != "done" || resp.Header.Get("Link") != "" || resp.Header.Get("X-Content-Type-Options") == "" {
			t.Errorf("%s: got %v, then %q with %v", p, hints, body, resp.Header)
		}
	}
}

// Each event goes on before the next is there.
func TestEventsAreNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-next
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	}))
	t.Cleanup(b.Close)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	for _, p := range protocols {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://a.test/", nil)
		resp, err := s.client(t, p).Do(req) // the head comes without an event
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(resp.Body)
		for i := range 3 {
			next <- struct{}{}
			line, err := in.ReadString('\n')
			if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", p, line, err, want)
			}
			in.ReadString('\n')
		}
		resp.Body.Close()
	}
}

// What a back end says in two meanings is not passed on in either.
func TestBadAnswersAreNotPassedOn(t *testing.T) {
	var answer atomic.Pointer[string]
	b := rawBackend(t, func(c *net.TCPConn, _ *bufio.Reader, _ *http.Request) {
		io.WriteString(c, *answer.Load())
		c.Close()
	})
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b}}})
	for name, text := range map[string]string{
		"both":        "HTTP/1.1 200 OK\r\nSet-Cookie: leaked=1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"bad chunk":   "HTTP/1.1 200 OK\r\nSet-Cookie: leaked=1\r\nTransfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n0\r\n\r\n",
		"folded":      "HTTP/1.1 200 OK\r\nSet-Cookie: leaked=1\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
		"line feed":   "HTTP/1.1 200 OK\nSet-Cookie: leaked=1\nContent-Length: 0\n\n",
		"no protocol": "leaked\r\n\r\n",
		"nothing":     "",
	} {
		answer.Store(&text)
		for _, p := range protocols {
			resp, body := say(t, s.client(t, p), "GET", "https://a.test/", nil)
			if resp.StatusCode != 502 || strings.Contains(body, "leaked") || resp.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s, %s: got %d %q with %v", name, p, resp.StatusCode, body, resp.Header)
			}
		}
	}
	cut := "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
	answer.Store(&cut)
	for _, p := range protocols {
		resp, err := s.client(t, p).Get("https://a.test/")
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: an answer that was cut off looks whole", p)
		}
	}
}

// A client that leaves takes its request away from the back end.
func TestClientLeaves(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	t.Cleanup(b.Close)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	for _, p := range protocols {
		ctx, cancel := contextFor(t)
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://a.test/", nil)
		go func() { <-began; cancel() }()
		if _, err := s.client(t, p).Do(req); err == nil {
			t.Errorf("%s: got an answer", p)
		}
		<-ended
		s.journal.find(t, func(a Access) bool { return a.Protocol == p && a.Status == statusClientLeft })
	}
}

// A back end that has heard enough is believed, and what is left of the body holds nothing up.
func TestEarlyAnswers(t *testing.T) {
	b := rawBackend(t, func(c *net.TCPConn, r *bufio.Reader, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n")
		io.Copy(io.Discard, r)
	})
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b}}})
	c, r := s.dial(t)
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nthe beginning")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 403 || string(body) != "no\n" || err != nil || !resp.Close {
		t.Errorf("HTTP/1.1: got %d %q, %v, close %v", resp.StatusCode, body, err, resp.Close)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection goes on in the middle of a body")
	}
	in, out := io.Pipe()
	go io.WriteString(out, "the beginning")
	defer out.Close()
	resp, text := say(t, s.client(t, "HTTP/2.0"), "POST", "https://a.test/", in)
	if resp.StatusCode != 403 || text != "no\n" {
		t.Errorf("HTTP/2: got %d %q", resp.StatusCode, text)
	}
}

func TestExpectContinue(t *testing.T) {
	b := rawBackend(t, func(c *net.TCPConn, r *bufio.Reader, req *http.Request) {
		if req.Header.Get("Expect") != "100-continue" {
			t.Errorf("the back end was not asked: %v", req.Header)
		}
		if req.URL.Path == "/no" {
			io.WriteString(c, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	})
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b}}})
	c, r := s.dial(t)
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if line, err := r.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("got %q, %v", line, err)
	}
	r.ReadString('\n')
	fmt.Fprint(c, "hello")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "hello" {
		t.Errorf("got %q", body)
	}
	fmt.Fprint(c, "POST /no HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if resp, err = http.ReadResponse(r, nil); err != nil || resp.StatusCode != 417 || !resp.Close {
		t.Fatalf("refused: got %+v, %v", resp, err)
	}
	// Neither side may take what follows for a body, or for a request.
	fmt.Fprint(c, "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("after the refusal came %q", rest)
	}
}

func TestTunnelEndsByHalves(t *testing.T) {
	b := rawBackend(t, func(c *net.TCPConn, r *bufio.Reader, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nServer: secret\r\n\r\n")
		all, _ := io.ReadAll(r) // until the client ends its side
		fmt.Fprintf(c, "you said %s", all)
		c.CloseWrite()
	})
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b}}})
	c, r := s.dial(t)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Server") != "" {
		t.Fatalf("got %+v, %v", resp, err)
	}
	fmt.Fprint(c, strings.Repeat("hello ", 20_000))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if want := "you said " + strings.Repeat("hello ", 20_000); string(got) != want || err != nil {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
	s.journal.find(t, func(a Access) bool { return a.Status == 101 && a.Sent == int64(len(got)) && a.Received == 120_000 })
}

func TestSlowBackends(t *testing.T) {
	b := rawBackend(t, func(c *net.TCPConn, r *bufio.Reader, req *http.Request) {
		if req.URL.Path == "/stall" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		}
		io.Copy(io.Discard, r)
	})
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b, BackendTimeouts: BackendTimeout{Answer: field.Duration(time.Second), Stall: field.Duration(time.Second)}}}})
	c := s.client(t, "HTTP/1.1")
	if resp, _ := say(t, c, "GET", "https://a.test/", nil); resp.StatusCode != 504 {
		t.Errorf("no answer: got %d", resp.StatusCode)
	}
	resp, err := c.Get("https://a.test/stall")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Errorf("half an answer: got %v", err)
	}
	s.journal.find(t, func(a Access) bool { return a.Path == "/stall" && strings.Contains(a.Reason, "timeout") })
}

// A space in a query would end the request line of HTTP/1.1. (h1.TestBadRequests is the same for the client to back ends.)
func TestTargetsThatAreNotOne(t *testing.T) {
	b := mirror(t)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://a.test/", nil)
	req.URL.RawQuery = "x HTTP/1.1"
	resp, err := s.client(t, "HTTP/2.0").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("got %s", resp.Status)
	}
}

// A back end that has closed does not leave a silent client's tunnel open.
func TestTunnelOfASilentClientEnds(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		rw.Flush()
		c.Close()
	}))
	defer b.Close()
	s := newSite(t, Config{Timeouts: Timeout{Stall: field.Duration(time.Second)}, Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	c, err := tls.Dial("tcp", s.https, &tls.Config{RootCAs: s.ca.pool, ServerName: "a.test", NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	s.journal.find(t, func(a Access) bool { return a.Status == 101 }) // the record is written when the tunnel has ended
}
