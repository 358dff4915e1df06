package main

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/nstest"
)

// A block ends what is open: a connection over which the client sends, and one over which the host does nothing but send.
// Connections of others go on.
func TestBlockCutsOpenConnections(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		m.sendFor(80)
		for i, addresses := range [][2]string{{"198.51.100.50", "198.51.100.60"}, {"2001:db8:7::50", "2001:db8:8::60"}} {
			var from [2]nstest.From
			for k, a := range addresses {
				m.AddSource(m.T, m.Client1, netip.MustParseAddr(a))
				from[k] = m.Client1.From(netip.MustParseAddr(a))
				if got := from[k].Eventually(m.T, "tcp", m.host(i, 22), nstest.Open); got != nstest.Open {
					m.Fatalf("%s: got %s", a, got)
				}
			}
			var talks [2]*nstest.Conn
			var received [2]*atomic.Int64
			for k := range from {
				talks[k] = from[k].Connect(m.T, m.host(i, 22), 10*time.Second)
				if err := talks[k].Echo("before"); err != nil {
					m.Fatal(err)
				}
				received[k] = m.receive(from[k], m.host(i, 80))
			}
			m.block(addresses[0])
			if err := talks[0].Echo("after"); err == nil {
				m.Errorf("%s: an open connection still answers", addresses[0])
			}
			if err := talks[1].Echo("after"); err != nil {
				m.Errorf("%s, which is not blocked: %v", addresses[1], err)
			}
			was := [2]int64{received[0].Load(), received[1].Load()}
			m.until("the one that is not blocked gets more", func() bool { return received[1].Load() > was[1]+100 })
			if n := received[0].Load() - was[0]; n != 0 {
				m.Errorf("%s: got %d more bytes from a host that only sends", addresses[0], n)
			}
		}
	})
}

// sendFor serves a port of the host on which the host only sends, a byte each few milliseconds.
func (m *machine) sendFor(port uint16) {
	m.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: int(port)})
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for tick := time.NewTicker(3 * time.Millisecond); ; <-tick.C {
					if _, err := c.Write([]byte{1}); err != nil {
						return
					}
				}
			}()
		}
	}()
}

// receive counts what comes over a connection of its own.
func (m *machine) receive(from nstest.From, to netip.AddrPort) *atomic.Int64 {
	m.Helper()
	c, err := from.Stream(to, 10*time.Second)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { c.Close() })
	n := &atomic.Int64{}
	go func() {
		buf := make([]byte, 512)
		for {
			k, err := c.Read(buf)
			if err != nil {
				return
			}
			n.Add(int64(k))
		}
	}()
	m.until("something is received", func() bool { return n.Load() > 10 })
	return n
}
