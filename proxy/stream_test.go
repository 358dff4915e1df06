package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream"
	"github.com/platformd/platformd/ratelimit"
)

// to is a back end of some servers.
func to(urls ...string) *upstream.Group {
	g := &upstream.Group{}
	for _, u := range urls {
		g.Servers = append(g.Servers, upstream.Server{URL: u})
	}
	return g
}

// listenAt is a listener of TCP that ends with the test.
func listenAt(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// answering is a back end that serves each connection by a function, over TLS where conf is not nil.
func answering(t *testing.T, addr string, conf *tls.Config, serve func(net.Conn)) string {
	t.Helper()
	l := listenAt(t, addr)
	at := l.Addr().String()
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(func() { l.Close() })
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(time.Minute))
				serve(c)
			})
		}
	})
	return at
}

// echo gives back what comes, behind its name, when the client has ended.
func echo(name string) func(net.Conn) {
	return func(c net.Conn) {
		b, err := io.ReadAll(c)
		if err != nil {
			return
		}
		fmt.Fprintf(c, "%s:%s", name, b)
		if w, ok := c.(interface{ CloseWrite() error }); ok {
			w.CloseWrite()
		}
	}
}

// streamAt has a stream served on an address, and gives where that is. The stream's port becomes the one that was free.
func (s *site) streamAt(t *testing.T, addr string, st *Stream) string {
	t.Helper()
	l := listenAt(t, addr)
	st.Port = int(addressOf(l.Addr()).Port())
	c := s.table.Load().cfg
	c.AddStream(*st)
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	go s.ServeStream(st.Key(), l)
	return l.Addr().String()
}

// ask sends a text, ends that side, and reads the answer.
func ask(c net.Conn, text string) (string, error) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

func dialTo(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ended waits for the record of a connection.
func (s *site) ended(t *testing.T, st *Stream) Access {
	t.Helper()
	a := s.journal.find(t, func(a Access) bool { return a.Stream == st.Key() })
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	s.journal.list = nil
	return a
}

func TestStreams(t *testing.T) {
	s := newSite(t, Config{})
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		back := answering(t, host, nil, echo("back"))
		st := &Stream{Backend: to("tcp://" + back)}
		at := s.streamAt(t, host, st)
		if got, err := ask(dialTo(t, at), "hello"); got != "back:hello" || err != nil {
			t.Errorf("%s: got %q, %v", host, got, err)
		}
		a := s.ended(t, st)
		want := netip.MustParseAddrPort(at).Addr()
		if a.Received != 5 || a.Sent != 10 || a.Client != want || a.Backend != "tcp://"+back || a.Ended != "both sides have ended" || a.Protocol != "TCP" || a.Reason != "" {
			t.Errorf("%s: the record is %+v", host, a)
		}
		// More than any buffer holds.
		big := make([]byte, 20<<20)
		rand.Read(big)
		if got, err := ask(dialTo(t, at), string(big)); got != "back:"+string(big) || err != nil {
			t.Errorf("%s: %d bytes came back as %d, %v", host, len(big), len(got), err)
		}
		if a := s.ended(t, st); a.Received != int64(len(big)) || a.Sent != int64(len(big))+5 {
			t.Errorf("%s: counted %d and %d", host, a.Received, a.Sent)
		}
	}
	eventually(t, "all is over", func() bool {
		for _, st := range s.Streams() {
			if st.Open != 0 || st.Total != 2 || st.Received != 20<<20+5 || st.Sent != 20<<20+15 {
				return false
			}
		}
		return len(s.Streams()) == 2
	})
	key := s.Streams()[0].Stream
	c := s.table.Load().cfg
	c.Metrics.Path = "/__metrics"
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	_, text := say(t, s.client(t, "HTTP/1.1"), "GET", "https://a.test/__metrics", nil)
	for _, want := range []string{"stream_connections{stream=%q} 0", "stream_connections_total{stream=%q} 2", "stream_received_bytes_total{stream=%q} 2.0971525e+07"} {
		if want = "platformd_proxy_" + fmt.Sprintf(want, key) + "\n"; !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

// TestStreamHalfClose: each side ends for itself, and the other hears of it.
func TestStreamHalfClose(t *testing.T) {
	s := newSite(t, Config{})
	back := answering(t, "127.0.0.1:0", nil, func(c net.Conn) {
		io.WriteString(c, "first") // and nothing more
		c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		if string(b) != "later" {
			t.Errorf("the back end read %q", b)
		}
	})
	at := s.streamAt(t, "127.0.0.1:0", &Stream{Backend: to("tcp://" + back)})
	c := dialTo(t, at)
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if b, err := io.ReadAll(c); string(b) != "first" || err != nil {
		t.Fatalf("got %q, %v", b, err)
	}
	if _, err := io.WriteString(c, "later"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	eventually(t, "it is over", func() bool { return s.Streams()[0].Open == 0 })
}

func TestStreamTLS(t *testing.T) {
	s := newSite(t, Config{})
	ca, stranger := newClientCA(t), newClientCA(t)
	back := answering(t, "127.0.0.1:0", nil, echo("plain"))
	named := answering(t, "127.0.0.1:0", nil, echo("named"))
	own := newAuthority(t, "back.test")
	secret := answering(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own.cert}}, echo("secret"))
	secured := to("tls://" + secret)
	secured.Servers[0].SNIName, secured.Servers[0].CA = "back.test", pemOf(own)
	st := &Stream{Mode: StreamTLS, Backend: to("tcp://" + back), ALPN: []string{"echo"},
		Names: []StreamName{{Name: "a.test"}, {Name: "*.b.test", Backend: to("tcp://" + named)}, {Name: "127.0.0.1", Backend: secured}}}
	at := s.streamAt(t, "127.0.0.1:0", st)
	try := func(at, name string, change func(*tls.Config)) (string, tls.ConnectionState, error) {
		conf := &tls.Config{RootCAs: s.ca.pool, ServerName: name, NextProtos: []string{"x", "echo"}}
		if change != nil {
			change(conf)
		}
		c := tls.Client(dialTo(t, at), conf)
		if err := c.Handshake(); err != nil {
			return "", tls.ConnectionState{}, err
		}
		got, err := ask(c, "hello")
		return got, c.ConnectionState(), err
	}
	for name, want := range map[string]string{"a.test": "plain:hello", "x.b.test": "named:hello"} {
		if got, state, err := try(at, name, nil); got != want || err != nil || state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "echo" {
			t.Errorf("%s: got %q by %x %s, %v", name, got, state.Version, state.NegotiatedProtocol, err)
		}
		if a := s.ended(t, st); a.Host != name || a.TLS != "TLS 1.3" || a.Protocol != "TCP" {
			t.Errorf("%s: the record is %+v", name, a)
		}
	}
	if _, _, err := try(at, "c.test", nil); err == nil {
		t.Error("another name was served")
	}
	if a := s.ended(t, st); !strings.Contains(a.Reason, "no such name here") {
		t.Errorf("another name: the record is %+v", a)
	}
	skip := func(c *tls.Config) { c.InsecureSkipVerify = true }
	if got, _, err := try(at, "", skip); got != "plain:hello" || err != nil {
		t.Errorf("without a name: got %q, %v", got, err)
	}
	if got, state, err := try(at, "a.test", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }); got != "plain:hello" || err != nil || !strings.Contains(tls.CipherSuiteName(state.CipherSuite), "_GCM_") {
		t.Errorf("TLS 1.2: got %q, %v", got, err)
	}
	for name, old := range map[string]func(*tls.Config){
		"TLS 1.1": func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
		"CBC suite": func(c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		},
	} {
		if _, _, err := try(at, "a.test", old); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	// Sessions are resumed, by the keys that all processes share.
	if err := s.SetKeys(Keys{Tickets: [][]byte{make([]byte, 32)}, Reset: make([]byte, 32)}); err != nil {
		t.Fatal(err)
	}
	tickets := tls.NewLRUClientSessionCache(4)
	for i := range 2 {
		if _, state, err := try(at, "a.test", func(c *tls.Config) { c.ClientSessionCache = tickets }); err != nil || state.DidResume != (i == 1) {
			t.Errorf("visit %d: resumed %v, %v", i, state.DidResume, err)
		}
	}
	// TLS to the back end, which has to prove its name.
	st2 := &Stream{Mode: StreamTLS, Names: []StreamName{{Name: "a.test", Backend: secured}}}
	if got, _, err := try(s.streamAt(t, "127.0.0.1:0", st2), "a.test", nil); got != "secret:hello" || err != nil {
		t.Errorf("TLS on both sides: got %q, %v", got, err)
	}
	wrong := *secured
	wrong.Servers = []upstream.Server{{URL: "tls://" + secret, SNIName: "other.test", CA: pemOf(own)}}
	st3 := &Stream{Backend: &wrong}
	if got, _ := ask(dialTo(t, s.streamAt(t, "127.0.0.1:0", st3)), "hello"); got != "" {
		t.Errorf("a back end with another name: got %q", got)
	}
	if a := s.ended(t, st3); !strings.Contains(a.Reason, "other.test") {
		t.Errorf("a back end with another name: the record is %+v", a)
	}
	// Clients with certificates.
	st4 := &Stream{Mode: StreamTLS, Backend: to("tcp://" + back), Names: []StreamName{{Name: "a.test"}}, ClientAuth: &ClientAuth{CA: ca.pem, Allow: []string{"good"}}}
	at4 := s.streamAt(t, "127.0.0.1:0", st4)
	for name, x := range map[string]struct {
		cert *tls.Certificate
		ok   bool
	}{"good": {ca.sign(t, "good", x509.ExtKeyUsageClientAuth), true}, "another name": {ca.sign(t, "bad", x509.ExtKeyUsageClientAuth), false},
		"another CA": {stranger.sign(t, "good", x509.ExtKeyUsageClientAuth), false}, "none": {&tls.Certificate{}, false}} {
		got, _, err := try(at4, "a.test", func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return x.cert, nil }
		})
		if ok := got == "plain:hello" && err == nil; ok != x.ok {
			t.Errorf("client certificate %s: got %q, %v", name, got, err)
		}
	}
}

// TestPassthrough: by the name in TLS alone, which the back ends end; however the hello comes in pieces.
func TestPassthrough(t *testing.T) {
	s := newSite(t, Config{})
	backs := map[string]*authority{}
	url := func(name string) string {
		backs[name] = newAuthority(t, name)
		return "tcp://" + answering(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{backs[name].cert}}, echo(name))
	}
	st := &Stream{Mode: StreamPassthrough, Names: []StreamName{{Name: "one.test", Backend: to(url("one.test"))}, {Name: "*.two.test", Backend: to(url("x.two.test"))}}}
	at := s.streamAt(t, "127.0.0.1:0", st)
	for name, ca := range backs {
		for _, size := range []int{1, 7, 100, 1 << 20} {
			c := tls.Client(&choppy{Conn: dialTo(t, at), size: size}, &tls.Config{RootCAs: ca.pool, ServerName: name})
			if err := c.Handshake(); err != nil {
				t.Errorf("%s in pieces of %d: %v", name, size, err)
				continue
			}
			if got, err := ask(c, "hello"); got != name+":hello" || err != nil {
				t.Errorf("%s in pieces of %d: got %q, %v", name, size, got, err)
			}
			if a := s.ended(t, st); a.Host != name || a.TLS != "" {
				t.Errorf("%s: the record is %+v", name, a)
			}
		}
	}
	for _, name := range []string{"three.test", "two.test", "a.x.two.test", ""} {
		err := tls.Client(dialTo(t, at), &tls.Config{InsecureSkipVerify: true, ServerName: name}).Handshake()
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q, which nobody has: got %v", name, err)
		}
		s.ended(t, st)
	}
	if got, err := ask(dialTo(t, at), "GET / HTTP/1.1\r\n\r\n"); got != "" {
		t.Errorf("without TLS: got %q, %v", got, err)
	}
	if a := s.ended(t, st); !strings.Contains(a.Reason, "read TLS hello") {
		t.Errorf("without TLS: the record is %+v", a)
	}
	st.Backend = to(url("default.test"))
	c := s.table.Load().cfg
	c.AddStream(*st)
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	other := tls.Client(dialTo(t, at), &tls.Config{InsecureSkipVerify: true, ServerName: "three.test"})
	if got, err := ask(other, "hello"); got != "default.test:hello" || err != nil {
		t.Errorf("with a back end for all others: got %q, %v", got, err)
	}
}

// choppy writes in pieces, each a packet.
type choppy struct {
	net.Conn
	size int
}

func (c *choppy) Write(b []byte) (int, error) {
	for n := 0; n < len(b); n += c.size {
		if _, err := c.Conn.Write(b[n:min(n+c.size, len(b))]); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

func (c *choppy) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// TestStreamBackends: a server that is not there is tried once, and another takes its place; when none is there, the client hears
// so at once.
func TestStreamBackends(t *testing.T) {
	s := newSite(t, Config{})
	gone := listenAt(t, "127.0.0.1:0")
	nobody := "tcp://" + gone.Addr().String()
	gone.Close()
	one, two := answering(t, "127.0.0.1:0", nil, echo("one")), answering(t, "127.0.0.1:0", nil, echo("two"))
	at := s.streamAt(t, "127.0.0.1:0", &Stream{Backend: to(nobody, "tcp://"+one, "tcp://"+two)})
	count := map[string]int{}
	for range 30 {
		got, err := ask(dialTo(t, at), "")
		if err != nil {
			t.Fatal(err)
		}
		count[got]++
	}
	if count["one:"]+count["two:"] != 30 || count["one:"] < 10 || count["two:"] < 10 {
		t.Errorf("got %v", count)
	}
	st := &Stream{Backend: to(nobody)}
	if got, _ := ask(dialTo(t, s.streamAt(t, "127.0.0.1:0", st)), "hello"); got != "" {
		t.Errorf("got %q", got)
	}
	if a := s.ended(t, st); !strings.Contains(a.Reason, "connection refused") {
		t.Errorf("the record is %+v", a)
	}
	if l := s.Streams(); l[0].Failed+l[1].Failed != 1 {
		t.Errorf("got %+v", l)
	}
}

func pemOf(a *authority) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Certificate[0]}))
}

func limitOf(t *testing.T, text string) *ratelimit.Limit {
	t.Helper()
	l, err := ratelimit.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return &l
}

// TestStreamLimits: who may come, how often, and how long without a word.
func TestStreamLimits(t *testing.T) {
	s := newSite(t, Config{})
	back := answering(t, "127.0.0.1:0", nil, func(c net.Conn) {
		io.WriteString(c, "welcome")
		io.Copy(c, c)
	})
	url := "tcp://" + back
	welcome := func(addr string) bool {
		c := dialTo(t, addr)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		b := make([]byte, 7)
		_, err := io.ReadFull(c, b)
		return err == nil && string(b) == "welcome"
	}
	for name, x := range map[string]struct {
		st     Stream
		ok     bool
		reason string
	}{
		"nobody else":         {Stream{Allow: []string{"192.0.2.0/24"}}, false, "not allowed"},
		"allowed":             {Stream{Allow: []string{"127.0.0.0/8", "::1"}}, true, ""},
		"denied comes first":  {Stream{Allow: []string{"127.0.0.0/8", "::1"}, Deny: []string{"127.0.0.1", "::1/128"}}, false, "denied"},
		"a country":           {Stream{Countries: &Countries{Allow: []string{"DE"}}}, false, "country"},
		"any but one country": {Stream{Countries: &Countries{Deny: []string{"DE"}}}, true, ""},
	} {
		for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
			st := x.st
			st.Backend = to(url)
			at := s.streamAt(t, host, &st)
			if got := welcome(at); got != x.ok {
				t.Errorf("%s, %s: got %v", name, host, got)
			}
			if !x.ok {
				if a := s.ended(t, &st); !strings.Contains(a.Reason, x.reason) {
					t.Errorf("%s, %s: the record is %+v", name, host, a)
				}
			}
		}
	}
	for name, l := range map[string]StreamLimits{
		"at once":      {Client: limitOf(t, "concurrent 3")},
		"rate":         {Client: limitOf(t, "3/h")},
		"all together": {Client: limitOf(t, "off"), Total: limitOf(t, "concurrent 3")},
	} {
		st := &Stream{Backend: to(url), Limits: l}
		at := s.streamAt(t, "127.0.0.1:0", st)
		for i := range 5 {
			if got := welcome(at); got != (i < 3) {
				t.Errorf("%s: connection %d: got %v", name, i, got)
			}
		}
	}
	second := field.Duration(time.Second)
	st := &Stream{Backend: to(url), Timeouts: StreamTimeouts{First: second}}
	at := s.streamAt(t, "127.0.0.1:0", st)
	s.journal.mu.Lock()
	s.journal.list = nil
	s.journal.mu.Unlock()
	c := dialTo(t, at)
	if b, err := io.ReadAll(c); string(b) != "welcome" || err != nil {
		t.Errorf("a client that says nothing: got %q, %v", b, err)
	}
	if a := s.ended(t, st); a.Ended != "the client said nothing" {
		t.Errorf("a client that says nothing: the record is %+v", a)
	}
	for _, mode := range []string{StreamTLS, StreamPassthrough} {
		st := &Stream{Mode: mode, Names: []StreamName{{Name: "a.test"}}, Backend: to(url), Timeouts: StreamTimeouts{Handshake: second}}
		c := dialTo(t, s.streamAt(t, "127.0.0.1:0", st))
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "\x16\x03\x01\x02\x00") // a hello that never comes
		if n, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%s: a hello that does not come: %d bytes, %v", mode, n, err)
		}
		if a := s.ended(t, st); a.Reason == "" {
			t.Errorf("%s: the record is %+v", mode, a)
		}
	}
	st = &Stream{Backend: to(url), Timeouts: StreamTimeouts{Idle: 2 * second}}
	at = s.streamAt(t, "127.0.0.1:0", st)
	c = dialTo(t, at)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	// One direction moves, a little at a time, for longer than Idle; then nothing does.
	got := make([]byte, 7)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 30 {
		<-tick.C
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got[:1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("an idle connection: %v", err)
	}
	if a := s.ended(t, st); a.Ended != "nothing moved for too long" || a.Received != 30 {
		t.Errorf("an idle connection: the record is %+v", a)
	}
}

// TestStreamSlowReader: who does not take what it is sent costs a buffer, and no more than the time of Idle, also while it sends.
func TestStreamSlowReader(t *testing.T) {
	for _, sends := range []bool{false, true} {
		s := newSite(t, Config{})
		sent := make(chan int64, 1)
		back := answering(t, "127.0.0.1:0", nil, func(c net.Conn) {
			go io.Copy(io.Discard, c)
			n, _ := io.Copy(c, io.LimitReader(zeros{}, 1<<30))
			sent <- n
		})
		st := &Stream{Backend: to("tcp://" + back), Timeouts: StreamTimeouts{Idle: field.Duration(3 * time.Second)}}
		c := dialTo(t, s.streamAt(t, "127.0.0.1:0", st))
		if sends {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
				if _, err := c.Write([]byte("x")); err != nil {
					break
				}
			}
		}
		if a := s.ended(t, st); a.Ended != "one side stopped taking what it was sent" {
			t.Errorf("sends %v: the record is %+v", sends, a)
		}
		if n := <-sent; n > 64<<20 {
			t.Errorf("sends %v: %d bytes were taken from the back end", sends, n)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestStreamAnnounced: a client that a trusted proxy tells of is the client.
func TestStreamAnnounced(t *testing.T) {
	s := newSite(t, Config{Trusted: []string{"127.0.0.0/8"}})
	back := answering(t, "127.0.0.1:0", nil, echo("back"))
	st := &Stream{Backend: to("tcp://" + back), AcceptProxyProtocol: true, Deny: []string{"192.0.2.8"}}
	at := s.streamAt(t, "127.0.0.1:0", st)
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.7 127.0.0.1 1234 443\r\n": "192.0.2.7",
		bytesOf(t, signature2+"2121"+"0024"+"20010db8000000000000000000000007"+"00000000000000000000000000000001"+"1234"+"01bb"): "2001:db8::7",
	} {
		if got, err := ask(dialTo(t, at), header+"hello"); got != "back:hello" || err != nil {
			t.Errorf("%q: got %q, %v", header, got, err)
		}
		if a := s.ended(t, st); a.Client.String() != want {
			t.Errorf("%q: the record is %+v", header, a)
		}
	}
	for _, header := range []string{"PROXY TCP4 192.0.2.8 127.0.0.1 1234 443\r\n", "hello"} {
		if got, _ := ask(dialTo(t, at), header); got != "" {
			t.Errorf("%q: got %q", header, got)
		}
	}
}

// TestStreamsAreDrained: connections go on while their server drains, and are ended with it.
func TestStreamsAreDrained(t *testing.T) {
	s := newSite(t, Config{})
	back := answering(t, "127.0.0.1:0", nil, func(c net.Conn) { io.Copy(c, c) })
	at := s.streamAt(t, "127.0.0.1:0", &Stream{Backend: to("tcp://" + back)})
	say := func(c net.Conn) error {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write([]byte("ping")); err != nil {
			return err
		}
		b := make([]byte, 4)
		_, err := io.ReadFull(c, b)
		if err == nil && !bytes.Equal(b, []byte("ping")) {
			err = fmt.Errorf("got %q", b)
		}
		return err
	}
	one, two := dialTo(t, at), dialTo(t, at)
	for _, c := range []net.Conn{one, two} {
		if err := say(c); err != nil {
			t.Fatal(err)
		}
	}
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context(), time.Millisecond) }()
	eventually(t, "nobody else is taken", func() bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if err := say(one); err != nil {
		t.Errorf("while draining: %v", err)
	}
	one.Close()
	select {
	case err := <-drained:
		t.Fatalf("it has drained with a connection: %v", err)
	default:
	}
	if err := say(two); err != nil {
		t.Errorf("while draining: %v", err)
	}
	two.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
