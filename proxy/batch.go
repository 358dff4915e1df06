package proxy

import (
	"net"
	"runtime"
	"sync"
	"time"
)

// batch puts small writes to a connection together. The HTTP/2 server writes each frame by itself, and a system call costs
// more than all that goes into one: what is written while others have something to say too leaves at once with theirs. An
// error comes with the next write. The zero value is ready.
type batch struct {
	mu      sync.Mutex
	room    *sync.Cond // made when somebody waits
	pending []byte
	coming  bool // a goroutine will look at pending
	busy    bool // somebody writes
	err     error
}

// maxPending is how much may wait, and direct from where on a write is not copied.
const (
	maxPending = 64 << 10
	direct     = 8 << 10
)

var batches = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func (b *batch) write(c net.Conn, p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.busy && b.err == nil && (len(p) >= direct || len(b.pending) > maxPending) {
		b.wait()
	}
	if b.err != nil {
		return 0, b.err
	}
	if len(p) >= direct {
		b.out(c, p)
		return len(p), b.err
	}
	if b.pending == nil {
		b.pending = *batches.Get().(*[]byte)
	}
	b.pending = append(b.pending, p...)
	if !b.coming {
		b.coming = true
		go b.flush(c)
	}
	return len(p), nil
}

// out writes what is pending, and p behind it, in one system call. The lock is held, and nobody else writes.
func (b *batch) out(c net.Conn, p []byte) {
	first := b.pending
	b.pending, b.busy = nil, true
	b.mu.Unlock()
	var err error
	switch {
	case len(first) == 0:
		_, err = c.Write(p)
	case len(p) == 0:
		_, err = c.Write(first)
	default:
		both := net.Buffers{first, p}
		_, err = both.WriteTo(c)
	}
	if cap(first) > 0 && cap(first) <= maxPending {
		first = first[:0]
		batches.Put(&first)
	}
	b.mu.Lock()
	b.busy = false
	if err != nil && b.err == nil {
		b.err = err
	}
	if b.room != nil {
		b.room.Broadcast()
	}
}

func (b *batch) wait() {
	if b.room == nil {
		b.room = sync.NewCond(&b.mu)
	}
	b.room.Wait()
}

// flush writes until nothing is left.
func (b *batch) flush(c net.Conn) {
	runtime.Gosched() // others say now what they have to say
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pending) > 0 && b.err == nil {
		if b.busy {
			b.wait()
			continue
		}
		b.out(c, nil)
	}
	b.coming = false
	if b.room != nil {
		b.room.Broadcast()
	}
}

// drain waits until all is written, but not long.
func (b *batch) drain(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.coming && !b.busy {
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	for b.coming || b.busy {
		b.wait()
	}
}
