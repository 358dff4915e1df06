package serving

import (
	"net"
	"syscall"
	"time"
)

// RestAfter is how long a connection without a request keeps its buffers: longer than one under load ever waits.
const RestAfter = time.Second

// Socket finds the socket below a connection; nil where there may be something in between that has read from it.
func Socket(nc net.Conn) syscall.RawConn {
	for {
		switch v := nc.(type) {
		case interface{ NetConn() net.Conn }: // tls.Conn is one
			nc = v.NetConn()
		case syscall.Conn:
			raw, err := v.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		default:
			return nil
		}
	}
}

// Wait returns when a socket has something to read, or has ended. It needs little of a stack.
func Wait(s syscall.RawConn) error { return s.Read(hasCome) }

func hasCome(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err != syscall.EAGAIN && err != syscall.EINTR
}

// lingerTime is how long a client may go on sending that is told to stop, and maxLinger how much.
const (
	lingerTime = 500 * time.Millisecond
	maxLinger  = 256 << 10
)

// Linger lets what was written last arrive though the client is still sending: to close at once would take it away on its way
// (RFC 9112, section 9.6).
func Linger(nc net.Conn, b []byte) {
	if w, ok := nc.(interface{ CloseWrite() error }); !ok || w.CloseWrite() != nil {
		return
	}
	if nc.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	for n := 0; n < maxLinger; {
		k, err := nc.Read(b)
		if err != nil {
			return
		}
		n += k
	}
}

// Corker is a connection that gathers what is written between two calls, for one system call.
type Corker interface {
	Cork()
	Uncork() error
}

// CorkOf finds the Corker below a connection; nil where there is none.
func CorkOf(nc net.Conn) Corker {
	for {
		switch v := nc.(type) {
		case Corker:
			return v
		case interface{ NetConn() net.Conn }:
			nc = v.NetConn()
		default:
			return nil
		}
	}
}
