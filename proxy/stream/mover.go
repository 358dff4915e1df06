package stream

import (
	"io"
	"net"
	"sync"
	"syscall"
)

// mover moves bytes from one connection to another. Between two of TCP it reads only what is there, into a buffer that it has
// for that moment alone, and leaves it to the kernel (splice(2)) while there is much. A connection of TLS has a small buffer while
// it says little, and a large one while it says much.
type mover struct {
	to, from net.Conn
	writing  bool // the last error was of to

	probed  bool
	raw     syscall.RawConn // of from, where both are TCP
	much    bool
	spliced bool // the last step was the kernel's
	small   []byte
	large   *[]byte
}

const smallBuffer = 2 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (m *mover) free() {
	if m.large != nil {
		buffers.Put(m.large)
		m.large = nil
	}
}

// some moves what there is, waiting for it until the deadline of reading.
func (m *mover) some() (int64, error) {
	if !m.probed {
		m.probe()
	}
	m.spliced = false
	switch {
	case m.raw == nil:
		return m.encrypted()
	case m.much:
		m.spliced = true
		n, err := io.CopyN(m.to, m.from, chunk)
		m.much = n == chunk
		return n, err
	}
	return m.direct()
}

// probe finds out what kinds of connections these are. What was read of from before has to be taken first.
func (m *mover) probe() {
	if u, ok := m.from.(interface{ Under() (net.Conn, bool) }); ok {
		under, all := u.Under()
		if !all {
			return
		}
		m.from = under
	}
	m.probed = true
	if u, ok := m.to.(interface{ Beneath() net.Conn }); ok {
		m.to = u.Beneath()
	}
	from, a := m.from.(*net.TCPConn)
	_, b := m.to.(*net.TCPConn)
	if a && b {
		m.raw, _ = from.SyscallConn()
	}
}

// direct reads what is there.
func (m *mover) direct() (int64, error) {
	var buf *[]byte
	var n int
	var failed error
	err := m.raw.Read(func(fd uintptr) bool {
		buf = buffers.Get().(*[]byte)
		for {
			if n, failed = syscall.Read(int(fd), *buf); failed != syscall.EINTR {
				break
			}
		}
		if failed == syscall.EAGAIN {
			buffers.Put(buf)
			buf, n, failed = nil, 0, nil
			return false
		}
		return true
	})
	if buf != nil {
		defer buffers.Put(buf)
	}
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, io.EOF
	}
	m.much = n == len(*buf)
	return m.write((*buf)[:n])
}

// encrypted goes through memory.
func (m *mover) encrypted() (int64, error) {
	buf := m.small
	if m.much {
		if m.large == nil {
			m.large = buffers.Get().(*[]byte)
		}
		buf = *m.large
	} else if m.free(); buf == nil {
		m.small = make([]byte, smallBuffer)
		buf = m.small
	}
	n, err := m.from.Read(buf)
	m.much = n >= smallBuffer
	if n == 0 {
		return 0, err
	}
	k, werr := m.write(buf[:n])
	if werr != nil {
		return k, werr
	}
	return k, err
}

func (m *mover) write(b []byte) (int64, error) {
	n, err := m.to.Write(b)
	m.writing = err != nil
	return int64(n), err
}
