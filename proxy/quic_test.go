package proxy

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/platformd/platformd/proxy/field"
)

// dialQUIC connects to one address, whatever the name.
func dialQUIC(addr string) func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
	return func(ctx context.Context, _ string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddrEarly(ctx, addr, t, q)
	}
}

// A connection of HTTP/3 without requests ends when the document says so, also where the client keeps it alive with packets that
// ask for nothing; one with a request under way does not.
func TestQUICIdleTimeout(t *testing.T) {
	held := make(chan struct{})
	b := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			<-held
		}
	}))
	t.Cleanup(b.Close)
	s := newSite(t, Config{Timeouts: Timeout{Idle: field.Duration(time.Second)}, Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	for name, alive := range map[string]time.Duration{"silent": 0, "pinging": 100 * time.Millisecond} {
		var conns [2]*quic.Conn
		var clients [2]*http.Client
		for i := range conns {
			tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: s.ca.pool}, QUICConfig: &quic.Config{KeepAlivePeriod: alive, MaxIdleTimeout: time.Minute},
				Dial: func(ctx context.Context, addr string, t *tls.Config, q *quic.Config) (*quic.Conn, error) {
					c, err := dialQUIC(s.https)(ctx, addr, t, q)
					conns[i] = c
					return c, err
				}}
			t.Cleanup(func() { tr.Close() })
			clients[i] = &http.Client{Transport: tr}
			say(t, clients[i], "GET", "https://a.test/", nil)
		}
		answered := make(chan int)
		if alive > 0 { // a client that is silent, and hears nothing, may be gone
			go func() {
				resp, err := clients[1].Get("https://a.test/held")
				if err != nil {
					answered <- 0
					return
				}
				resp.Body.Close()
				answered <- resp.StatusCode
			}()
		}
		select {
		case <-conns[0].Context().Done():
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the connection goes on though nothing is asked", name)
		}
		if alive == 0 {
			continue
		}
		select {
		case <-conns[1].Context().Done():
			t.Errorf("%s: the connection ended in the middle of a request", name)
		default:
		}
		close(held)
		if got := <-answered; got != 200 {
			t.Errorf("%s: the request that took longer than that got %d", name, got)
		}
	}
}
