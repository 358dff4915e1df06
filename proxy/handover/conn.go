package handover

import (
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// Conn is a UDP socket that processes share. It reads in batches, which is how quic-go reads where a connection can.
type Conn struct {
	*net.UDPConn
	relay *Relay
	batch *ipv4.PacketConn
	done  chan struct{}
	once  sync.Once
}

// Take begins to read a UDP socket in the place of all other processes that have it. A relay is for one socket.
func (r *Relay) Take(c *net.UDPConn) *Conn {
	out := &Conn{UDPConn: c, relay: r, batch: ipv4.NewPacketConn(c), done: make(chan struct{})}
	r.stop = func() { _ = c.SetReadDeadline(time.Unix(1, 0)) }
	go r.run()
	r.take()
	return out
}

// ReadBatch gives packets for this process.
func (c *Conn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if c.relay.Retired() {
		return c.forwarded(ms)
	}
	n, err := c.batch.ReadBatch(ms, flags)
	if err != nil {
		if c.relay.Retired() {
			return c.forwarded(ms)
		}
		return n, err
	}
	for i := range ms[:n] {
		m := &ms[i]
		to := c.relay.owner(m.Buffers[0][:m.N])
		if to == nil {
			continue
		}
		if from, ok := m.Addr.(*net.UDPAddr); ok && !c.relay.forward(to, from.AddrPort(), m.Buffers[0][:m.N]) {
			continue
		}
		m.N = 0 // an empty packet is ignored; its buffer has to stay where it is
	}
	return n, nil
}

// forwarded gives a packet that the reading process has sent.
func (c *Conn) forwarded(ms []ipv4.Message) (int, error) {
	select {
	case p := <-c.relay.packets:
		m := &ms[0]
		m.N, m.NN, m.Flags, m.Addr = copy(m.Buffers[0], p.data), 0, 0, net.UDPAddrFromAddrPort(p.from)
		return 1, nil
	case <-c.done:
		return 0, os.ErrDeadlineExceeded
	}
}

// SetReadDeadline with a time ends reading, for good where another process reads: that is all that quic-go uses it for.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		c.once.Do(func() { close(c.done) })
	}
	return c.UDPConn.SetReadDeadline(t)
}
