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
	writing bool
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
	for (len(b.pending) > maxPending || b.writing && len(p) >= direct) && b.err == nil {
		b.wait()
	}
	if b.err != nil {
		return 0, b.err
	}
	if len(p) >= direct {
		// Nobody else writes now, and what is pending goes first; the server writes one frame after the other.
		b.writing = true
		b.mu.Unlock()
		n, err := c.Write(p)
		b.mu.Lock()
		b.written(err)
		b.writing = false
		return n, err
	}
	if b.pending == nil {
		b.pending = *batches.Get().(*[]byte)
	}
	b.pending = append(b.pending, p...)
	if !b.writing {
		b.writing = true
		go b.flush(c)
	}
	return len(p), nil
}

func (b *batch) wait() {
	if b.room == nil {
		b.room = sync.NewCond(&b.mu)
	}
	b.room.Wait()
}

func (b *batch) written(err error) {
	if err != nil && b.err == nil {
		b.err = err
	}
	if b.room != nil {
		b.room.Broadcast()
	}
}

// flush writes until nothing is left.
func (b *batch) flush(c net.Conn) {
	runtime.Gosched() // others say now what they have to say
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pending) > 0 && b.err == nil {
		out := b.pending
		b.pending = nil
		b.mu.Unlock()
		_, err := c.Write(out)
		if cap(out) <= maxPending {
			out = out[:0]
			batches.Put(&out)
		}
		b.mu.Lock()
		b.written(err)
	}
	b.writing = false
	b.written(nil)
}

// drain waits until all is written, but not long.
func (b *batch) drain(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.writing {
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	for b.writing {
		b.wait()
	}
}
