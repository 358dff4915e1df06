package nstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Blast is a flood from one address with a counter at the receiver.
type Blast struct {
	Sent     atomic.Int64
	Received atomic.Int64
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// Stop ends the flood and, after what was under way has had time to arrive, the counting.
func (b *Blast) Stop() { b.stop(); b.done.Wait() }

// BlastUDP floods to (a free port of the namespace at) with datagrams from f until Stop, each datagram being a new flow as
// long as none gets through, and counts in at what arrives. It fails the test if nothing could be sent.
func (f From) BlastUDP(t testing.TB, at *NS, to netip.AddrPort) *Blast {
	t.Helper()
	b := &Blast{}
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	var sink *net.UDPConn
	at.must(t, func() error {
		var err error
		sink, err = net.ListenUDP(network, &net.UDPAddr{Port: int(to.Port())})
		return err
	})
	c, err := f.dial("udp", to, Patience)
	if err != nil {
		t.Fatalf("%s: blast %v: %v", f.Name, to, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.done.Add(2)
	go func() {
		defer b.done.Done()
		defer sink.Close()
		buf := make([]byte, 64)
		for {
			_, from, err := sink.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if from.Addr().Unmap() == netip.MustParseAddrPort(c.LocalAddr().String()).Addr() {
				b.Received.Add(1)
			}
		}
	}()
	go func() {
		defer b.done.Done()
		b.send(ctx, t, c)
		c.Close()
		// What was sent is in the receiver's queue already: veth delivers in the sender's context or its softirq.
		_ = sink.SetReadDeadline(time.Now().Add(Patience))
	}()
	t.Cleanup(b.Stop)
	return b
}

func (b *Blast) send(ctx context.Context, t testing.TB, c net.Conn) {
	payload := []byte("blast")
	for ctx.Err() == nil {
		switch _, err := c.Write(payload); {
		case err == nil:
			b.Sent.Add(1)
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EPERM):
		default:
			t.Errorf("blast: %v", err)
			return
		}
	}
}

// BlastSYN opens TCP connections from f to to, a Server in at, until Stop, with at most 64 SYNs under way. Received is
// how many connections opened.
func (f From) BlastSYN(t testing.TB, to netip.AddrPort) *Blast {
	t.Helper()
	b := &Blast{}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	for range 64 {
		b.done.Add(1)
		go func() {
			defer b.done.Done()
			for ctx.Err() == nil {
				b.Sent.Add(1)
				c, err := f.dial("tcp", to, 20*time.Millisecond)
				if err == nil {
					b.Received.Add(1)
					_ = c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
			}
		}()
	}
	t.Cleanup(b.Stop)
	return b
}

// String is for messages of failed tests.
func (b *Blast) String() string {
	return fmt.Sprintf("%d sent, %d received", b.Sent.Load(), b.Received.Load())
}
