package worker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/proxy"
)

// withQUIC gives a site a UDP socket besides.
func withQUIC(s *webSite) {
	s.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer pc.Close()
	f, err := pc.(*net.UDPConn).File()
	if err != nil {
		s.Fatal(err)
	}
	if err := unix.SetNonblock(int(f.Fd()), true); err != nil {
		s.Fatal(err)
	}
	s.sockets = append(s.sockets, WebSocket{"quic", pc.LocalAddr().String(), f})
}

// quicClient speaks HTTP/3. Whose request was acknowledged by a worker that is killed then, hears no more: it soon gives up.
func (s *webSite) quicClient() (*http.Client, *http3.Transport) {
	tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, QUICConfig: &quic.Config{MaxIdleTimeout: 3 * time.Second}, Dial: func(ctx context.Context, _ string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddrEarly(ctx, s.sockets[2].Addr, t, q)
	}}
	s.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr}, tr
}

func newKeys(t *testing.T) proxy.Keys {
	t.Helper()
	k := proxy.Keys{Tickets: [][]byte{make([]byte, 32)}, Reset: make([]byte, 32)}
	for _, b := range [][]byte{k.Tickets[0], k.Reset} {
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// TestQUICTakesOverUnderLoad: one worker after the other takes the same UDP socket, and no request over HTTP/3 fails, of clients
// that keep a connection and of clients that make one for each request. When a worker is killed, only what was under way does.
func TestQUICTakesOverUnderLoad(t *testing.T) {
	s := newWebSite(t)
	withQUIC(s)
	b := backend(t)
	keys := newKeys(t)
	start := func() *WebProcess {
		p, err := StartWeb(t.Context(), s.cfg, s.sockets)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetKeys(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		if err := p.Configure(t.Context(), proxy.Config{Exempt: []string{loopback}, Routes: []proxy.Route{{Host: "a.test", Backend: b.URL}}}); err != nil {
			t.Fatal(err)
		}
		return p
	}
	var clients []func() error
	for i := range 6 {
		c, tr := s.quicClient()
		clients = append(clients, func() error {
			_, err := say(c)
			if i%2 == 1 {
				tr.CloseIdleConnections()
			}
			return err
		})
	}
	s.takeOver(start, clients, 1000)
	if left, _ := os.ReadDir(s.cfg.WorkDir); len(left) > 4 {
		t.Errorf("workers that are gone left %d files", len(left))
	}
}

// TestSessionsAreResumedAfterATakeOver: a worker resumes the sessions of the one before it, with the keys that a daemon which
// has just come finds in that one.
func TestSessionsAreResumedAfterATakeOver(t *testing.T) {
	s := newWebSite(t)
	b := backend(t)
	tickets := tls.NewLRUClientSessionCache(4)
	visit := func() bool {
		t.Helper()
		c := s.client(false)
		tr := c.Transport.(*http.Transport)
		tr.TLSClientConfig.ClientSessionCache = tickets
		resp, err := c.Get("https://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		tr.CloseIdleConnections()
		return resp.TLS.DidResume
	}
	old := s.start(b.URL)
	if err := old.SetKeys(t.Context(), newKeys(t)); err != nil {
		t.Fatal(err)
	}
	visit()
	for _, share := range []bool{true, false} {
		next := s.start(b.URL)
		keys, err := old.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !share {
			keys = newKeys(t)
		}
		if err := next.SetKeys(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		if err := old.Drain(t.Context(), WebDrain{Grace: time.Minute}); err != nil {
			t.Fatal(err)
		}
		<-old.Gone()
		if got := visit(); got != share {
			t.Errorf("with the same keys %v: resumed %v", share, got)
		}
		old = next
	}
}
