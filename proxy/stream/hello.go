package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/platformd/platformd/proxy/announce"
)

// Hello is what a TLS client says first.
type Hello struct {
	// Name is the server that it asks for, as it wrote it; "" where it names none.
	Name string
	// Protocols are those that it offers (ALPN).
	Protocols []string
}

// maxHello bounds what is kept of a client that has not said which server it wants. A hello is one handshake message, which
// crypto/tls bounds to 64 KiB, in records of at least one byte with five bytes of head.
const maxHello = 128 << 10

// ReadHello reads the hello of a client, which crypto/tls understands or nobody does, and gives a connection on which it comes
// again. Nothing is written to the client.
func ReadHello(ctx context.Context, c net.Conn) (Hello, net.Conn, error) {
	var out Hello
	seen := false
	r := &recorder{Conn: c}
	err := tls.Server(r, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		out, seen = Hello{Name: h.ServerName, Protocols: h.SupportedProtos}, true
		return nil, errEnough
	}}).HandshakeContext(ctx)
	if !seen {
		return out, nil, fmt.Errorf("read TLS hello: %w", err)
	}
	if err := c.SetDeadline(time.Time{}); err != nil { // crypto/tls may have ended a read with it
		return out, nil, err
	}
	return out, announce.Begun(c, r.read), nil
}

var (
	errEnough  = errors.New("the hello was read")
	errTooLong = errors.New("the hello is too long")
)

// recorder keeps what is read, and throws away what is written.
type recorder struct {
	net.Conn
	read []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	if len(r.read) >= maxHello {
		return 0, errTooLong
	}
	n, err := r.Conn.Read(b[:min(len(b), maxHello-len(r.read))])
	r.read = append(r.read, b[:n]...)
	return n, err
}

// Write implements net.Conn: an alert of crypto/tls is none of the client's.
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }

// Close implements net.Conn: only a context that ends closes the connection beneath.
func (r *recorder) Close() error { return r.Conn.Close() }

// Unknown tells a client that sent a hello that there is no such server (RFC 6066, section 3), and closes the connection.
func Unknown(c net.Conn) {
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte{21, 3, 1, 0, 2, 2, 112}) // a fatal alert, unrecognized_name
	c.Close()
}
