package worker

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
)

// TestWebKeepsTunnels: a WebSocket without traffic goes on through a new configuration and through the draining of its worker,
// until the grace is over.
func TestWebKeepsTunnels(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, rw)
	}))
	t.Cleanup(b.Close)
	s := newWebSite(t)
	p := s.start(b.URL)
	c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: s.pool, ServerName: "a.test"}}).DialContext(t.Context(), "tcp", s.sockets[1].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %+v, %v", resp, err)
	}
	say := func(when string) {
		t.Helper()
		fmt.Fprintf(c, "%s\n", when)
		if got, err := r.ReadString('\n'); got != when+"\n" {
			t.Fatalf("%s: got %q, %v", when, got, err)
		}
	}
	say("at first")
	if err := p.Configure(t.Context(), proxy.Config{}); err != nil {
		t.Fatal(err)
	}
	say("without its route")
	next := s.start(b.URL)
	if err := p.Drain(t.Context(), WebDrain{Idle: time.Millisecond, Grace: time.Minute}); err != nil {
		t.Fatal(err)
	}
	// The old worker takes no connection any more when it has given its control socket away; what is asked now is the new one's.
	s.until("the next worker serves", func() bool {
		st, err := next.Status(t.Context())
		_, errSay := s.client(false).Get("https://a.test/")
		return err == nil && errSay == nil && st.Stats.Requests > 0
	})
	say("while its worker drains")
	c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case <-p.Gone():
	case <-ctx.Done():
		t.Error("the worker goes on without it")
	}
}
