package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// deaf is the socket of a client that hears nothing until it may: so long the handshake of the server does not end, and what
// the client sends is sent in 0-RTT.
type deaf struct {
	*net.UDPConn
	hear chan struct{}
}

func (c *deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	<-c.hear
	return c.UDPConn.ReadFrom(b)
}

// visitor is a client that comes back. It sends what it has to say before the handshake is over.
type visitor struct {
	socket *deaf
	conn   *quic.Conn
	h3     *http3.ClientConn
}

func (s *site) visit(t *testing.T, tickets tls.ClientSessionCache, tokens quic.TokenStore, hold bool) *visitor {
	t.Helper()
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{socket: &deaf{UDPConn: pc, hear: make(chan struct{})}}
	if !hold {
		close(v.socket.hear)
	}
	qt := &quic.Transport{Conn: struct{ net.PacketConn }{v.socket}} // so that it writes by WriteTo
	addr, err := net.ResolveUDPAddr("udp", s.https)
	if err != nil {
		t.Fatal(err)
	}
	if v.conn, err = qt.DialEarly(t.Context(), addr, &tls.Config{RootCAs: s.ca.pool, ServerName: "a.test", NextProtos: []string{"h3"}, ClientSessionCache: tickets}, &quic.Config{TokenStore: tokens}); err != nil {
		t.Fatal(err)
	}
	tr := &http3.Transport{}
	v.h3 = tr.NewClientConn(v.conn)
	t.Cleanup(func() { v.conn.CloseWithError(0, ""); tr.Close(); qt.Close(); pc.Close() })
	return v
}

// send sends a request without body at once, and gives the answer when it is there.
func (v *visitor) send(t *testing.T, method, path string) chan string {
	t.Helper()
	rs, err := v.h3.OpenRequestStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, "https://a.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rs.SendRequestHeader(req), rs.Close()); err != nil {
		t.Fatal(err)
	}
	answer := make(chan string, 1)
	go func() {
		resp, err := rs.ReadResponse()
		if err != nil {
			answer <- err.Error()
			return
		}
		b, _ := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(resp.StatusCode, " ", string(b))
	}()
	return answer
}

func TestEarlyData(t *testing.T) {
	b := mirror(t)
	ca := newClientCA(t)
	conf := Config{Routes: []Route{{Host: "a.test", Backend: b.URL}, {Host: "a.test", Path: "/known", Backend: b.URL, ClientAuth: &ClientAuth{CA: ca.pem, Mode: "optional"}}}}
	s := newSite(t, conf)
	tickets, tokens := tls.NewLRUClientSessionCache(4), quic.NewLRUTokenStore(4, 8) // without a token the server may say little until it knows the address
	resume := func() {
		t.Helper()
		c := s.client(t, "HTTP/3.0")
		tr := c.Transport.(*http3.Transport)
		tr.TLSClientConfig.ClientSessionCache, tr.QUICConfig = tickets, &quic.Config{TokenStore: tokens}
		say(t, c, "GET", "https://a.test/", nil)
		eventually(t, "there is a ticket", func() bool { _, ok := tickets.Get("a.test"); return ok })
	}
	resume()
	v := s.visit(t, tickets, tokens, false)
	if got := <-v.send(t, "GET", "/"); !strings.HasPrefix(got, "200 GET / ") || strings.Contains(got, "Early-Data") || v.conn.ConnectionState().Used0RTT {
		t.Errorf("switched off: got %q, in 0-RTT: %v", got, v.conn.ConnectionState().Used0RTT)
	}
	conf.EarlyData = true
	if err := s.Configure(conf); err != nil {
		t.Fatal(err)
	}
	resume()
	v = s.visit(t, tickets, tokens, true)
	s.journal.mu.Lock()
	before := len(s.journal.list)
	s.journal.mu.Unlock()
	waiting := map[string]chan string{"POST /": v.send(t, "POST", "/"), "GET /known": v.send(t, "GET", "/known"), "DELETE /": v.send(t, "DELETE", "/")}
	var first []chan string
	for range 5 { // enough for those before to go on, if they did not wait
		first = append(first, v.send(t, "GET", "/early"))
	}
	var served []string
	eventually(t, "those that change nothing are served", func() bool {
		s.journal.mu.Lock()
		defer s.journal.mu.Unlock()
		served = nil
		for _, a := range s.journal.list[before:] {
			served = append(served, a.Method+" "+a.Path)
		}
		return strings.Count(strings.Join(served, "\n"), "GET /early") == 5
	})
	if len(served) != 5 {
		t.Errorf("before the handshake was over: %v", served)
	}
	close(v.socket.hear)
	for _, answer := range first {
		if got := <-answer; !strings.HasPrefix(got, "200 GET /early ") || !strings.Contains(got, "\nEarly-Data: 1\n") {
			t.Errorf("GET before the handshake is over: got %q", got)
		}
	}
	for what, answer := range waiting {
		if got := <-answer; !strings.HasPrefix(got, "200 "+strings.Fields(what)[0]+" /") || strings.Contains(got, "Early-Data") {
			t.Errorf("%s after the handshake: got %q", what, got)
		}
	}
	// The next reload takes it away.
	resume()
	conf.EarlyData = false
	if err := s.Configure(conf); err != nil {
		t.Fatal(err)
	}
	v = s.visit(t, tickets, tokens, false)
	<-v.conn.HandshakeComplete()
	if v.conn.ConnectionState().Used0RTT {
		t.Error("0-RTT goes on after it was switched off")
	}
}
