package nstest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Server answers in a namespace on one port of IPv4 and IPv6. TCP: the line "SOURCE" when a connection is accepted, then
// every line back. UDP: "SOURCE DATAGRAM" to every datagram.
type Server struct {
	// Accepted counts TCP connections or UDP datagrams that reached the server.
	Accepted atomic.Int64
}

// Serve starts a server in n that ends with the test. proto is "tcp" or "udp".
func (n *NS) Serve(t testing.TB, proto string, port uint16) *Server {
	t.Helper()
	s := &Server{}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		return err
	}}
	for _, fam := range []string{"4", "6"} {
		addr := fmt.Sprintf(":%d", port)
		n.must(t, func() error {
			if proto == "tcp" {
				l, err := lc.Listen(context.Background(), "tcp"+fam, addr)
				if err != nil {
					return err
				}
				t.Cleanup(func() { l.Close() })
				go s.tcp(l)
				return nil
			}
			c, err := lc.ListenPacket(context.Background(), "udp"+fam, addr)
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
			go s.udp(c.(*net.UDPConn))
			return nil
		})
	}
	return s
}

func (s *Server) tcp(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.Accepted.Add(1)
		go func() {
			defer c.Close()
			a := c.RemoteAddr().(*net.TCPAddr).AddrPort()
			if _, err := fmt.Fprintln(c, a.Addr().Unmap()); err != nil {
				return
			}
			_, _ = io.Copy(c, c)
		}()
	}
}

func (s *Server) udp(c *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		k, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		s.Accepted.Add(1)
		_, _ = c.WriteToUDPAddrPort(fmt.Appendf(nil, "%v %s", from.Addr().Unmap(), buf[:k]), from)
	}
}

// Conn is an open TCP connection to a Server.
type Conn struct {
	net.Conn
	r *bufio.Reader
	// Source is the address the server has seen.
	Source netip.Addr
}

// newConn reads the server's greeting.
func newConn(c net.Conn) (*Conn, error) {
	k := &Conn{Conn: c, r: bufio.NewReader(c)}
	line, err := k.r.ReadString('\n')
	if err != nil {
		return k, err
	}
	k.Source, err = netip.ParseAddr(strings.TrimSpace(line))
	return k, err
}

// Echo sends a line and reports whether it came back within the connection's deadline.
func (c *Conn) Echo(line string) error {
	if _, err := fmt.Fprintln(c, line); err != nil {
		return err
	}
	got, err := c.r.ReadString('\n')
	if err == nil && strings.TrimSpace(got) != line {
		err = fmt.Errorf("echo: got %q, want %q", got, line)
	}
	return err
}
