package stream

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// session is one client, and the socket by which its datagrams reach the back end.
type session struct {
	of     *Sessions
	ends   ends
	flow   *Flow
	ctx    context.Context // a session's life is that of its goroutine
	cancel context.CancelFunc

	// With the lock of Sessions:
	place   *list.Element
	lasting bool

	born           time.Time
	active         atomic.Int64 // when something passed last, since it was born
	answered       atomic.Bool  // the client was sent something
	evicted        atomic.Bool
	received, sent atomic.Int64

	mu      sync.Mutex
	back    *Back
	pending [][]byte // until there is one
}

func (x *session) touch() { x.active.Store(int64(time.Since(x.born))) }

// deliver sends a datagram to the back end, or keeps it until there is one. One that does not get through is lost, as on any
// network.
func (x *session) deliver(data []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.back == nil {
		if len(x.pending) < maxPending {
			x.pending = append(x.pending, append([]byte(nil), data...))
		}
		return
	}
	x.forward(data)
}

func (x *session) forward(data []byte) {
	x.received.Add(int64(len(data)))
	if len(x.back.Prefix) == 0 {
		_, _ = x.back.Conn.Write(data)
		return
	}
	buf := datagrams.Get().(*[]byte)
	defer datagrams.Put(buf)
	if n := copy(*buf, x.back.Prefix); n+len(data) <= len(*buf) {
		n += copy((*buf)[n:], data)
		_, _ = x.back.Conn.Write((*buf)[:n])
	}
}

// run connects the session and passes answers to the client, until it ends.
func (x *session) run() {
	why := x.serve()
	if x.evicted.Load() {
		why = EndedEvicted
	} else if x.ctx.Err() != nil {
		why = EndedClosed
	}
	x.cancel()
	x.of.mu.Lock()
	x.of.remove(x)
	x.of.mu.Unlock()
	x.flow.Ended(x.received.Load(), x.sent.Load(), why)
}

func (x *session) serve() string {
	back, err := x.flow.Connect(x.ctx)
	if err != nil {
		return "back end: " + err.Error()
	}
	defer back.Close()
	stop := context.AfterFunc(x.ctx, func() { back.Conn.Close() })
	defer stop()
	x.mu.Lock()
	x.back = &back
	for _, data := range x.pending {
		x.forward(data)
	}
	x.pending = nil
	x.mu.Unlock()
	raw, err := back.Conn.SyscallConn()
	if err != nil {
		return "back end: " + err.Error()
	}
	bound := addrPort(x.of.Conn)
	source, to := sendFrom(bound.Addr(), x.ends.local.Addr()), x.ends.client
	if bound.Addr().Is6() && to.Addr().Is4() {
		to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	}
	for {
		idle := x.born.Add(time.Duration(x.active.Load()) + x.flow.Idle)
		if err := back.Conn.SetReadDeadline(idle); err != nil {
			return EndedClosed
		}
		err := receive(raw, func(data []byte) {
			x.touch()
			x.answered.Store(true)
			if n, _, err := x.of.Conn.WriteMsgUDPAddrPort(data, source, to); err == nil {
				x.sent.Add(int64(n))
			}
		})
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if time.Since(x.born)-time.Duration(x.active.Load()) >= x.flow.Idle {
				return EndedIdle
			}
		case errors.Is(err, syscall.ECONNREFUSED):
			back.Refused()
			return EndedRefused
		case errors.Is(err, net.ErrClosed):
			return EndedClosed
		default:
			return "back end: " + err.Error()
		}
	}
}

// receive waits for a datagram, which has a buffer only while it is looked at: most sessions wait most of the time.
func receive(raw syscall.RawConn, take func([]byte)) error {
	var buf *[]byte
	var n int
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		buf = datagrams.Get().(*[]byte)
		for {
			if n, failed = syscall.Read(int(fd), *buf); failed != syscall.EINTR {
				break
			}
		}
		if failed == syscall.EAGAIN {
			datagrams.Put(buf)
			buf, failed = nil, nil
			return false
		}
		return true
	})
	if buf != nil {
		defer datagrams.Put(buf)
	}
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	}
	take((*buf)[:n])
	return nil
}
