package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The appliance's servers: what answers is no SSH and no database, because only the packets matter here.
func services() map[uint16]string {
	return map[uint16]string{22: "SSH-2.0-demo", 80: "hello from the web server", 5432: "hello from the database"}
}

// patience is how long a client waits before it says that nobody answers.
const patience = 1500 * time.Millisecond

// beat is how often a server says something on an open connection.
const beat = 100 * time.Millisecond

// serve opens a port for IPv4 and IPv6. The server greets, and then sends a line at each beat, so that it is our side that
// keeps a connection busy.
func serve(port uint16, greeting string) error {
	// A connection whose other end is gone ends here too, soon, instead of being sent to for many minutes (tcp(7)).
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(patience.Milliseconds()))
		})
		return errors.Join(err, set)
	}}
	l, err := lc.Listen(context.Background(), "tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for line := greeting; ; line = "still here" {
					if _, err := fmt.Fprintln(c, line); err != nil {
						return
					}
					time.Sleep(beat)
				}
			}()
		}
	}()
	return nil
}

// call connects to a port of the appliance and waits for the greeting. A nil connection is no answer.
func (c *client) call(port uint16, v6, abroad bool) net.Conn {
	conn, err := c.dial(port, v6, abroad)
	if err != nil {
		return nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err == nil {
		_, err = bufio.NewReader(conn).ReadString('\n')
		if err == nil {
			return conn
		}
	}
	conn.Close()
	return nil
}

// dial connects to a port of the appliance.
func (c *client) dial(port uint16, v6, abroad bool) (conn net.Conn, err error) {
	to := netip.MustParsePrefix(applianceV4)
	if v6 {
		to = netip.MustParsePrefix(applianceV6)
	}
	err = within(c.ns, func() (err error) {
		d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.addr(v6, abroad), 0))}
		conn, err = d.Dial("tcp", netip.AddrPortFrom(to.Addr(), port).String())
		return err
	})
	return conn, err
}

// reaches reports whether the port answers.
func (c *client) reaches(port uint16, v6, abroad bool) bool {
	conn := c.call(port, v6, abroad)
	if conn == nil {
		return false
	}
	conn.Close()
	return true
}

// falls reports whether an open connection, on which the server speaks at each beat, goes silent.
func falls(conn net.Conn) bool {
	buf := make([]byte, 4096)
	for range 50 {
		if err := conn.SetReadDeadline(time.Now().Add(10 * beat)); err != nil {
			return true
		}
		if _, err := conn.Read(buf); err != nil {
			return true
		}
	}
	return false
}
