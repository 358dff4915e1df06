package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream"
)

// echoUDP answers each datagram with who sent it, and what it was.
func echoUDP(t *testing.T, addr string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(func() { pc.Close() })
	group.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(fmt.Appendf(nil, "%s %s", from, buf[:n]), from)
		}
	})
	return pc.LocalAddr().String()
}

// datagramsAt has a stream of UDP served on a socket of its own.
func (s *site) datagramsAt(t *testing.T, addr string, st *Stream) netip.AddrPort {
	t.Helper()
	network := "udp"
	if strings.HasPrefix(addr, "0.0.0.0:") {
		network = "udp4"
	}
	pc, err := net.ListenPacket(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	at := addressOf(pc.LocalAddr())
	st.Port, st.Protocol = int(at.Port()), StreamUDP
	c := s.table.Load().cfg
	c.AddStream(*st)
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	go s.ServeDatagrams(st.Key(), pc.(*net.UDPConn))
	return at
}

// exchangeUDP sends a datagram and waits for the answer, which only counts where it comes from the address that was written to.
func exchangeUDP(c net.Conn, text string) (string, error) {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

func dialUDP(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestDatagrams: a client has one session, whose answers come from the address that it wrote to.
func TestDatagrams(t *testing.T) {
	s := newSite(t, Config{})
	back := echoUDP(t, "127.0.0.1:0")
	for socket, addrs := range map[string][]string{"[::]:0": {"127.0.0.1", "127.0.0.2", "127.9.8.7", "[::1]"}, "0.0.0.0:0": {"127.0.0.1", "127.0.0.2"}, "127.0.0.3:0": {"127.0.0.3"}, "[::1]:0": {"[::1]"}} {
		st := &Stream{Backend: to("udp://" + back)}
		at := s.datagramsAt(t, socket, st)
		for _, a := range addrs {
			c := dialUDP(t, fmt.Sprintf("%s:%d", a, at.Port()))
			source := ""
			for i := range 3 {
				want := fmt.Sprintf("hello %d%s", i, strings.Repeat("x", i*4000))
				got, err := exchangeUDP(c, want)
				from, text, _ := strings.Cut(got, " ")
				if err != nil || text != want || i > 0 && from != source {
					t.Errorf("%s on %s: got %.40q, %v; the session before was %s", a, socket, got, err, source)
					break
				}
				source = from
			}
		}
		l := s.Streams()
		if got := l[len(l)-1]; len(l) == 1 && (got.Open != int64(len(addrs)) || got.Total != got.Open || got.Refused != 0) {
			t.Errorf("%s: got %+v", socket, got)
		}
	}
	// An empty datagram is one too.
	st := &Stream{Backend: to("udp://" + back)}
	if got, err := exchangeUDP(dialUDP(t, s.datagramsAt(t, "127.0.0.1:0", st).String()), ""); err != nil || !strings.HasSuffix(got, " ") {
		t.Errorf("an empty datagram: got %q, %v", got, err)
	}
}

// TestSessionsEnd: when they are idle, with a record; and when nobody is there.
func TestSessionsEnd(t *testing.T) {
	s := newSite(t, Config{})
	back := "udp://" + echoUDP(t, "127.0.0.1:0")
	st := &Stream{Backend: to(back), Timeouts: StreamTimeouts{Idle: field.Duration(time.Second)}}
	c := dialUDP(t, s.datagramsAt(t, "127.0.0.1:0", st).String())
	first, err := exchangeUDP(c, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if a := s.ended(t, st); a.Protocol != "UDP" || a.Received != 5 || a.Sent != int64(len(first)) || a.Backend != back || a.Ended != "nothing moved for too long" || a.Client.String() != "127.0.0.1" {
		t.Errorf("the record is %+v", a)
	}
	if second, err := exchangeUDP(c, "hello"); err != nil || second == first {
		t.Errorf("after that: got %q and %q, %v", first, second, err)
	}
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "udp://" + gone.LocalAddr().String()
	gone.Close()
	st = &Stream{Backend: to(nobody)}
	c = dialUDP(t, s.datagramsAt(t, "127.0.0.1:0", st).String())
	io.WriteString(c, "hello")
	if a := s.ended(t, st); a.Ended != "the back end refuses datagrams" {
		t.Errorf("nobody is there: the record is %+v", a)
	}
	// A server that is not there is set aside, and the other gets what comes then.
	st = &Stream{Backend: to(nobody, back)}
	st.Backend.Passive = upstream.Passive{Failures: 1}
	at := s.datagramsAt(t, "127.0.0.1:0", st)
	eventually(t, "the other is asked", func() bool {
		c := dialUDP(t, at.String())
		c.SetDeadline(time.Now().Add(100 * time.Millisecond))
		io.WriteString(c, "hello")
		n, err := c.Read(make([]byte, 100))
		return err == nil && n > 0
	})
	for range 20 {
		if _, err := exchangeUDP(dialUDP(t, at.String()), "hello"); err != nil {
			t.Errorf("after the server was set aside: %v", err)
		}
	}
}

// TestSessionsAreBounded: many sources, as forged ones are, take the place of each other, and not that of a client that answers
// to answers.
func TestSessionsAreBounded(t *testing.T) {
	s := newSite(t, Config{})
	back := "udp://" + echoUDP(t, "127.0.0.1:0")
	st := &Stream{Backend: to(back), Limits: StreamLimits{Client: limitOf(t, "off"), Total: limitOf(t, "concurrent 10")}}
	at := s.datagramsAt(t, "127.0.0.1:0", st).String()
	honest := dialUDP(t, at)
	source, err := exchangeUDP(honest, "")
	for range 2 {
		if err == nil {
			source, err = exchangeUDP(honest, "")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if _, err := exchangeUDP(dialUDP(t, at), "flood"); err != nil {
			t.Fatalf("datagram %d: %v", i, err)
		}
	}
	eventually(t, "there are ten", func() bool { l := s.Streams(); return l[0].Open == 10 && l[0].Total == 201 })
	if got, err := exchangeUDP(honest, ""); got != source || err != nil {
		t.Errorf("the session of an honest client: got %q, want %q, %v", got, source, err)
	}
	// And one source alone has no more than it may.
	st = &Stream{Backend: to(back), Limits: StreamLimits{Client: limitOf(t, "concurrent 3")}, Deny: []string{"127.0.0.9"}}
	at = s.datagramsAt(t, "0.0.0.0:0", st).String()
	at = "127.0.0.1" + at[strings.LastIndexByte(at, ':'):]
	for i := range 6 {
		c := dialUDP(t, at)
		c.SetDeadline(time.Now().Add(300 * time.Millisecond))
		io.WriteString(c, "hello")
		if _, err := c.Read(make([]byte, 100)); (err == nil) != (i < 3) {
			t.Errorf("session %d: %v", i, err)
		}
	}
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: netip.MustParseAddr("127.0.0.9").AsSlice()}}
	c, err := d.DialContext(t.Context(), "udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "hello")
	eventually(t, "a denied address is refused", func() bool {
		for _, x := range s.Streams() {
			if x.Stream == st.Key() {
				return x.Refused == 4 && x.Open == 3
			}
		}
		return false
	})
}

// TestDatagramsAnnounced: each datagram has its header, and names the client.
func TestDatagramsAnnounced(t *testing.T) {
	s := newSite(t, Config{})
	st := &Stream{Backend: to("udp://" + echoUDP(t, "127.0.0.1:0"))}
	st.Backend.Servers[0].ProxyProtocol = "v2"
	c := dialUDP(t, s.datagramsAt(t, "127.0.0.1:0", st).String())
	for range 2 {
		got, err := exchangeUDP(c, "hello")
		_, data, _ := strings.Cut(got, " ")
		r := bufio.NewReader(bytes.NewReader([]byte(data)))
		h, herr := proxyproto.Read(r)
		if err != nil || herr != nil {
			t.Fatalf("got %q, %v, %v", got, err, herr)
		}
		rest, _ := io.ReadAll(r)
		if h.SourceAddr.String() != c.LocalAddr().String() || h.DestinationAddr.String() != c.RemoteAddr().String() || h.TransportProtocol != proxyproto.UDPv4 || string(rest) != "hello" {
			t.Errorf("got %+v and %q", h, rest)
		}
	}
}

// TestSessionsAreDrained: answers reach clients while their server drains, and nobody else is taken.
func TestSessionsAreDrained(t *testing.T) {
	s := newSite(t, Config{})
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	st := &Stream{Backend: to("udp://" + pc.LocalAddr().String()), Timeouts: StreamTimeouts{Idle: field.Duration(2 * time.Second)}}
	at := s.datagramsAt(t, "127.0.0.1:0", st).String()
	c := dialUDP(t, at)
	io.WriteString(c, "question")
	buf := make([]byte, 100)
	pc.SetDeadline(time.Now().Add(10 * time.Second))
	_, from, err := pc.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- s.streams.drain(t.Context()) }()
	eventually(t, "it drains", func() bool { s.streams.mu.Lock(); defer s.streams.mu.Unlock(); return s.streams.draining })
	if _, err := pc.WriteTo([]byte("answer"), from); err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(buf); string(buf[:n]) != "answer" || err != nil {
		t.Errorf("while draining: got %q, %v", buf[:n], err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
