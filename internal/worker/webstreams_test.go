package worker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream"
)

// echoes are a back end of TCP and one of UDP on the same port, that give back what they get.
func echoes(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); pc.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			pc.WriteTo(b[:n], from)
		}
	}()
	return l.Addr().String()
}

// streamSockets are sockets of a stream by TCP and one by UDP, on ports that were free.
func (s *webSite) streamSockets() (tcp, udp WebSocket) {
	s.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer l.Close()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	defer pc.Close()
	tcp, udp = WebSocket{Kind: KindTCP, Addr: l.Addr().String()}, WebSocket{Kind: KindUDP, Addr: pc.LocalAddr().String()}
	tcp.File, udp.File = must(l.(*net.TCPListener).File()), must(pc.(*net.UDPConn).File())
	for _, f := range []WebSocket{tcp, udp} {
		if err := unix.SetNonblock(int(f.File.Fd()), true); err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { f.File.Close() })
	}
	return tcp, udp
}

func streamOf(s WebSocket, backend string) proxy.Stream {
	port := 0
	fmt.Sscan(s.Addr[strings.LastIndexByte(s.Addr, ':')+1:], &port)
	return proxy.Stream{Port: port, Protocol: s.Kind, Backend: &upstream.Group{Servers: []upstream.Server{{URL: s.Kind + "://" + backend}}}, Timeouts: proxy.StreamTimeouts{Idle: field.Duration(time.Second)}}
}

// pingPong sends something and waits until it has come back.
func pingPong(c net.Conn, text string) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	_, err := io.ReadFull(c, b)
	if err == nil && string(b) != text {
		err = fmt.Errorf("got %q for %q", b, text)
	}
	return err
}

// TestStreamsTakeOverUnderLoad: one worker after the other takes the sockets of streams. No connection fails, and none that is
// open is cut; no datagram is lost. When a worker is killed, only what was under way is.
func TestStreamsTakeOverUnderLoad(t *testing.T) {
	s := newWebSite(t)
	tcp, udp := s.streamSockets()
	s.sockets = append(s.sockets, tcp, udp)
	back := echoes(t)
	keys := newKeys(t)
	overTCP := streamOf(tcp, back)
	overTCP.Timeouts.Idle = 0
	start := func() *WebProcess {
		p, err := StartWeb(t.Context(), s.cfg, s.sockets)
		if err == nil {
			err = p.SetKeys(t.Context(), keys)
		}
		if err == nil {
			err = p.Configure(t.Context(), proxy.Config{Exempt: []string{loopback}, Streams: []proxy.Stream{overTCP, streamOf(udp, back)}})
		}
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var clients []func() error
	for i := range 3 {
		clients = append(clients, func() error {
			c, err := net.Dial("tcp", tcp.Addr)
			if err != nil {
				return err
			}
			defer c.Close()
			return pingPong(c, fmt.Sprint("new connection of ", i))
		})
		var kept net.Conn // for a hundred exchanges
		n := 0
		clients = append(clients, func() (err error) {
			if kept == nil {
				if kept, err = net.Dial("tcp", tcp.Addr); err != nil {
					return err
				}
			}
			n++
			if err = pingPong(kept, fmt.Sprint("connection of ", i, " for the time ", n)); err != nil || n%100 == 0 {
				kept.Close()
				kept = nil
			}
			return err
		})
		clients = append(clients, func() error {
			c, err := net.Dial("udp", udp.Addr)
			if err != nil {
				return err
			}
			defer c.Close()
			return pingPong(c, fmt.Sprint("datagram of ", i))
		})
		session, err := net.Dial("udp", udp.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		clients = append(clients, func() error {
			return pingPong(session, fmt.Sprint("session of ", i))
		})
	}
	s.takeOver(start, clients, 3000)
}

// TestStreamsComeAndGo: a worker that runs is given sockets and gives them up, and open connections go on.
func TestStreamsComeAndGo(t *testing.T) {
	s := newWebSite(t)
	tcp, udp := s.streamSockets()
	back := echoes(t)
	p := s.start(backend(t).URL)
	configure := func(streams ...proxy.Stream) {
		t.Helper()
		if err := p.Configure(t.Context(), proxy.Config{Streams: streams}); err != nil {
			t.Fatal(err)
		}
	}
	bring := func(sockets ...WebSocket) {
		t.Helper()
		if err := p.Streams(t.Context(), sockets); err != nil {
			t.Fatal(err)
		}
	}
	dial := func(k WebSocket) net.Conn {
		t.Helper()
		c, err := net.Dial(k.Kind, k.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	waiting := dial(tcp) // in the queue of the socket, that nobody reads yet
	bring(tcp, udp)
	configure(streamOf(tcp, back), streamOf(udp, back))
	if err := pingPong(waiting, "who has waited"); err != nil {
		t.Fatal(err)
	}
	if err := pingPong(dial(udp), "datagram"); err != nil {
		t.Fatal(err)
	}
	bring(tcp, udp) // again, which changes nothing
	if err := pingPong(dial(tcp), "again"); err != nil {
		t.Fatal(err)
	}
	st, err := p.Status(t.Context())
	if err != nil || len(st.Streams) != 2 || !onlyKernel(st.Weak) {
		t.Errorf("got %+v, %v", st, err)
	}
	// The one of TCP is taken away, and its port is free as soon as we let go of it.
	configure(streamOf(udp, back))
	bring(udp)
	if err := pingPong(waiting, "still there"); err != nil {
		t.Errorf("a connection of a stream that was taken away: %v", err)
	}
	tcp.File.Close()
	l, err := net.Listen("tcp", tcp.Addr)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	l.Close()
	if err := pingPong(dial(udp), "datagram"); err != nil {
		t.Error(err)
	}
	bring()
	udp.File.Close()
	pc, err := net.ListenPacket("udp", udp.Addr)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	pc.Close()
	// What is no stream's socket is not taken, and the worker goes on.
	if err := p.Streams(t.Context(), []WebSocket{s.sockets[0]}); err == nil {
		t.Error("the worker took a socket that is of no stream")
	}
	if _, err := p.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStreamsSpliceWithinTheSandbox: the kernel moves the bytes in a worker that may do little else.
func TestStreamsSpliceWithinTheSandbox(t *testing.T) {
	s := newWebSite(t)
	tcp, _ := s.streamSockets()
	s.sockets = append(s.sockets, tcp)
	s.cfg.Seccomp = func() string { return "strict" } // which would end the process
	p, err := StartWeb(t.Context(), s.cfg, s.sockets)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Configure(t.Context(), proxy.Config{Streams: []proxy.Stream{streamOf(tcp, echoes(t))}}); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", tcp.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const size = 64 << 20
	got := 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	go func() {
		io.Copy(c, io.LimitReader(endless{}, size))
		c.(*net.TCPConn).CloseWrite()
	}()
	b := make([]byte, 1<<20)
	for {
		n, err := c.Read(b)
		if bytes.Count(b[:n], []byte("x")) != n {
			t.Fatal("other bytes came back")
		}
		if got += n; err != nil {
			break
		}
	}
	if got != size {
		t.Errorf("%d bytes came back of %d", got, size)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}
