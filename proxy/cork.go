package proxy

import (
	"net"
	"sync"
)

// corked is what is written to a connection while it is gathered: crypto/tls writes each record by itself, and a system call
// for four of them costs less than four. The zero value gathers nothing.
type corked struct {
	mu  sync.Mutex // crypto/tls may say goodbye while somebody writes
	on  bool
	buf *[]byte // nil where nothing is gathered
}

// corkSize is how much is gathered at most: four full records of TLS, with what that puts around them.
const corkSize = 4 * (16<<10 + 64)

var corks = sync.Pool{New: func() any { b := make([]byte, 0, corkSize); return &b }}

// write gathers b where that is wanted and it fits.
func (k *corked) write(c net.Conn, b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.on || len(b) > corkSize {
		if err := k.flush(c); err != nil {
			return 0, err
		}
		return c.Write(b)
	}
	if k.buf == nil {
		k.buf = corks.Get().(*[]byte)
	}
	if len(*k.buf)+len(b) > corkSize {
		if err := k.flush(c); err != nil {
			return 0, err
		}
		k.buf = corks.Get().(*[]byte)
	}
	*k.buf = append(*k.buf, b...)
	return len(b), nil
}

// begin gathers what is written from now on.
func (k *corked) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.on = true
}

// end writes what was gathered.
func (k *corked) end(c net.Conn) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.on = false
	return k.flush(c)
}

// flush is for who has the lock.
func (k *corked) flush(c net.Conn) error {
	if k.buf == nil {
		return nil
	}
	b := k.buf
	k.buf = nil
	_, err := c.Write(*b)
	*b = (*b)[:0]
	corks.Put(b)
	return err
}
