package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/proxy"
)

// soakBackend answers with so many bytes as the path says, takes uploads, sends slowly below /slow, and echoes what comes by
// WebSocket.
func soakBackend(t *testing.T) string {
	t.Helper()
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(c, rw)
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Cache-Control", "max-age=5")
		if r.Method == http.MethodPost {
			fmt.Fprintf(w, "took %d", n)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/slow") {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range 100 {
				if _, err := w.Write(make([]byte, 1000)); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), 4096))
	}))
	t.Cleanup(b.Close)
	return b.URL
}

// soakKind is one kind of load: every so often, by so many at once.
type soakKind struct {
	name  string
	every time.Duration
	at    int
	gives bool // it gives up on purpose
	// make gives what one of them does again and again.
	make func(s *soak) func(ctx context.Context) error
}

func soakKinds() []soakKind {
	get := func(client func() *http.Client, url string) func(*soak) func(context.Context) error {
		return func(s *soak) func(context.Context) error {
			c := client()
			s.Cleanup(c.CloseIdleConnections)
			return func(ctx context.Context) error {
				return fetch(c, "GET", strings.Replace(url, "N", fmt.Sprint(rand.IntN(300)), 1), nil, 4096)
			}
		}
	}
	h1 := func() *http.Client { return soakClient(false, true) }
	h2 := func() *http.Client { return soakClient(true, true) }
	fresh := func() *http.Client { return soakClient(false, false) }
	return []soakKind{
		{"HTTP/1.1, kept connections", 100 * time.Millisecond, 4, false, get(h1, "https://a.test/N")},
		{"HTTP/1.1, a connection for each request", 250 * time.Millisecond, 1, false, get(fresh, "https://a.test/N")},
		{"HTTP/2", 100 * time.Millisecond, 4, false, get(h2, "https://a.test/N")},
		{"HTTP/3", 100 * time.Millisecond, 2, false, get(soakQUIC, "https://a.test/N")},
		{"plain HTTP", 250 * time.Millisecond, 1, false, get(h1, "http://plain.test/N")},
		{"cached, 300 addresses", 50 * time.Millisecond, 1, false, get(h2, "https://cached.test/N")},
		{"uploads of 1 MiB", time.Second, 1, false, func(s *soak) func(context.Context) error {
			c, body := h2(), make([]byte, 1<<20)
			s.Cleanup(c.CloseIdleConnections)
			return func(context.Context) error {
				return fetch(c, "POST", "https://a.test/up", bytes.NewReader(body), len("took 1048576"))
			}
		}},
		{"WebSocket, 20 messages each", 100 * time.Millisecond, 4, false, soakSocket},
		{"answers that are given up", 500 * time.Millisecond, 2, true, soakGiveUp(http.MethodGet, "/slow")},
		{"uploads that are given up", 500 * time.Millisecond, 1, true, soakGiveUp(http.MethodPost, "/up")},
		{"handshakes that are given up", 500 * time.Millisecond, 1, true, soakHello},
		{"routes that come and go", 2 * time.Second, 1, false, soakRoutes},
	}
}

// load starts all of it.
func (s *soak) load(ctx context.Context, all *sync.WaitGroup) {
	for _, kind := range soakKinds() {
		for range kind.at {
			do := kind.make(s)
			all.Go(func() {
				tick := time.NewTicker(kind.every)
				defer tick.Stop()
				for {
					select {
					case <-ctx.Done():
						return
					case <-tick.C:
						s.count(kind.name, do(ctx))
					}
				}
			})
		}
	}
}

// fetch asks and wants an answer of so many bytes.
func fetch(c *http.Client, method, url string, body io.Reader, want int) error {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || len(b) != want) {
		err = fmt.Errorf("%s %s: %s, %d bytes", method, url, resp.Status, len(b))
	}
	return err
}

// soakTLS takes the certificate that the host made for itself.
func soakTLS() *tls.Config { return &tls.Config{ServerName: "a.test", InsecureSkipVerify: true} }

// soakDial connects to the proxy, from one of many addresses: its limits remember them.
func soakDial(ctx context.Context, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IP{127, byte(rand.IntN(256)), byte(rand.IntN(256)), byte(1 + rand.IntN(250))}}}
	return d.DialContext(ctx, "tcp", "127.0.0.1:"+port)
}

func soakClient(two, keep bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: soakTLS(), DisableKeepAlives: !keep, Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return soakDial(ctx, addr) }}
	tr.Protocols.SetHTTP1(!two)
	tr.Protocols.SetHTTP2(two)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func soakQUIC() *http.Client {
	tr := &http3.Transport{TLSClientConfig: soakTLS(), Dial: func(ctx context.Context, _ string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddrEarly(ctx, "127.0.0.1:443", t, q)
	}}
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// soakSocket speaks over one connection after the other.
func soakSocket(s *soak) func(context.Context) error {
	var c net.Conn
	var r *bufio.Reader
	said := 0
	s.Cleanup(func() {
		if c != nil {
			c.Close()
		}
	})
	return func(ctx context.Context) error {
		if c == nil || said == 20 {
			if c != nil {
				c.Close()
			}
			raw, err := soakDial(ctx, "a.test:443")
			if err != nil {
				c = nil
				return ignoreEnd(ctx, err)
			}
			c, said = tls.Client(raw, soakTLS()), 0
			r = bufio.NewReader(c)
			fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusSwitchingProtocols {
				return errors.New(resp.Status)
			}
		}
		said++
		text := fmt.Sprintf("message %d\n", said)
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		if got, err := r.ReadString('\n'); err != nil || got != text {
			return fmt.Errorf("said %q, heard %q: %w", text, got, err)
		}
		return nil
	}
}

// ignoreEnd is nil where the time is over.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// soakGiveUp begins a request and leaves in the middle of it, by HTTP/1.1 and HTTP/2 in turn.
func soakGiveUp(method, path string) func(*soak) func(context.Context) error {
	return func(s *soak) func(context.Context) error {
		clients := []*http.Client{soakClient(false, true), soakClient(true, true), soakQUIC()}
		n := 0
		return func(ctx context.Context) error {
			n++
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			var body io.Reader
			if method == http.MethodPost {
				body = io.MultiReader(bytes.NewReader(make([]byte, 100_000)), &leaver{leave: cancel, gone: ctx})
			}
			r, err := http.NewRequestWithContext(ctx, method, "https://a.test"+path, body)
			if err != nil {
				return err
			}
			resp, err := clients[n%len(clients)].Do(r)
			if err != nil {
				return err
			}
			_, _ = io.CopyN(io.Discard, resp.Body, 1500)
			cancel()
			return resp.Body.Close()
		}
	}
}

// leaver is a body that never goes on: who reads it has its request given up.
type leaver struct {
	leave context.CancelFunc
	gone  context.Context
}

func (l *leaver) Read([]byte) (int, error) {
	l.leave()
	<-l.gone.Done()
	return 0, l.gone.Err()
}

// soakHello sends the beginning of a handshake, and leaves.
func soakHello(*soak) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := soakDial(ctx, "a.test:443")
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
		return c.Close()
	}
}

// soakRoutes changes the configuration under the load.
func soakRoutes(s *soak) func(context.Context) error {
	there := false
	return func(ctx context.Context) error {
		var err error
		if there = !there; there {
			_, err = s.client.AddRoute(ctx, wire.Options{}, proxy.Route{Host: "comes.test", Backend: "http://127.0.0.1:1"}, false)
		} else {
			_, err = s.client.RemoveRoutes(ctx, wire.Options{}, "comes.test")
		}
		return ignoreEnd(ctx, err)
	}
}
