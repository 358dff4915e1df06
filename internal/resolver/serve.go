package resolver

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

// Bounds of what one app may ask at once, and of its connections.
const (
	maxUnderWay    = 64
	maxConnections = 16
	maxOnOne       = 100 // questions on one connection
	maxQuery       = 4096
	idle           = 10 * time.Second
)

// Turns bounds how many questions of an app are under way, on all of its sockets together.
type Turns chan struct{}

// NewTurns makes one.
func NewTurns() Turns { return make(Turns, maxUnderWay) }

// ServeUDP answers datagrams until ctx ends or c fails. Those that come while the app has too many questions under way are not
// answered.
func (r *Resolver) ServeUDP(ctx context.Context, c net.PacketConn, app *App, turns Turns) error {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	for {
		buf := make([]byte, maxQuery)
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		select {
		case turns <- struct{}{}:
		default:
			continue
		}
		go func() {
			defer func() { <-turns }()
			if out := r.reply(ctx, app, buf[:n], false); out != nil {
				_, _ = c.WriteTo(out, from)
			}
		}()
	}
}

// ServeTCP answers connections until ctx ends or l fails.
func (r *Resolver) ServeTCP(ctx context.Context, l net.Listener, app *App, turns Turns) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	open := make(chan struct{}, maxConnections)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		select {
		case open <- struct{}{}:
		default:
			c.Close()
			continue
		}
		go func() {
			defer func() { c.Close(); <-open }()
			r.connection(ctx, c, app, turns)
		}()
	}
}

// connection answers one question after the other (RFC 7766).
func (r *Resolver) connection(ctx context.Context, c net.Conn, app *App, turns Turns) {
	for range maxOnOne {
		if err := c.SetDeadline(time.Now().Add(idle)); err != nil {
			return
		}
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > maxQuery {
			return
		}
		buf := make([]byte, n)
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		out := r.reply(ctx, app, buf, true)
		<-turns
		if out == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

// reply is the whole way of a question; nil is that it deserves no answer.
func (r *Resolver) reply(ctx context.Context, app *App, query []byte, stream bool) []byte {
	q := new(dns.Msg)
	if err := q.Unpack(query); err != nil || q.Response {
		return nil
	}
	answer := r.answer(ctx, app, q)
	size := dns.MaxMsgSize
	if opt := q.IsEdns0(); !stream {
		size = dns.MinMsgSize
		if opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), wireSize)
		}
	}
	if q.IsEdns0() != nil {
		answer.SetEdns0(wireSize, false)
	}
	answer.Truncate(size)
	out, err := answer.Pack()
	if err != nil {
		return nil
	}
	return out
}
