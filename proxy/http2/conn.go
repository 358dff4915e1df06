package http2

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/platformd/platformd/proxy/serving"
)

// What is agreed on with every client.
const (
	maxFrame     = 16 << 10  // bytes of a frame, in both directions (RFC 9113, section 4.2: everybody takes that)
	streamWindow = 256 << 10 // bytes of a body that nobody has read
	connWindow   = 1 << 20   // and of all bodies of a connection
	firstWindow  = 64<<10 - 1
)

// conn is one connection.
type conn struct {
	s      *Server
	net    net.Conn
	socket syscall.RawConn // what net reads from in the end; nil where that is not known
	cork   serving.Corker  // what net writes to; nil where that cannot gather
	base   *http.Request   // what all requests have in common
	ctx    context.Context

	// Of the goroutine that reads:
	in        *bufio.Reader  // nil while nothing is read
	frames    *http2.Framer  // nil while nothing is read
	fields    *hpack.Decoder // what the client has taught us
	readUntil time.Time
	quiet     time.Time // when the last request ended, or nothing has come since
	settled   bool      // the client has said its settings

	closing atomic.Bool // it leaves, or has failed

	mu      sync.Mutex // of all that follows
	streams map[uint32]*stream
	highest uint32 // stream of the client
	running int    // handlers
	refused int    // streams that came while as many handlers ran as may
	window  int64  // bytes of answers that may be sent
	initial int64  // window of a new stream
	recv    inflow
	blocked []*stream // that wait for the window of the connection

	encoder *hpack.Encoder // what we have taught the client
	block   bytes.Buffer   // that it writes into
	out     []byte         // what is to be written; nil where nothing is
	taken   uint64         // how often it was taken to be written
	writing bool           // a goroutine writes
	room    *sync.Cond     // there is some in out, or no one writes any more
	err     error          // why nothing can be written any more
	leaving bool           // the client was told that no new stream is taken
	pinged  bool
	resting bool

	writeUntil time.Time // of the goroutine that writes
}

var ins = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}

func newConn(s *Server, ctx context.Context, nc net.Conn, state *tls.ConnectionState) *conn {
	c := &conn{s: s, net: nc, ctx: ctx, socket: serving.Socket(nc), cork: serving.CorkOf(nc), window: firstWindow, initial: firstWindow, recv: inflow{left: firstWindow}}
	c.base = &http.Request{TLS: state, RemoteAddr: nc.RemoteAddr().String(), Proto: "HTTP/2.0", ProtoMajor: 2}
	c.room = sync.NewCond(&c.mu)
	c.fields = hpack.NewDecoder(4<<10, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	return c
}

// inflow is a window of ours that the client sends into.
type inflow struct {
	left   int64 // bytes that it may send
	unsaid int64 // bytes that it may send more, and has not been told of
}

// take is for bytes that have come; it reports whether they were allowed.
func (f *inflow) take(n int64) bool {
	f.left -= n
	return f.left >= 0
}

// give is for bytes that are read. It gives how many the client is to be told of, 0 while it is not worth a frame.
func (f *inflow) give(n, size int64) uint32 {
	if f.unsaid += n; f.unsaid < size/4 {
		return 0
	}
	n, f.unsaid = f.unsaid, 0
	f.left += n
	return uint32(n)
}

// giveBack says that bytes of bodies are not in memory any more. The lock is held.
func (c *conn) giveBack(n int64) {
	if n = int64(c.recv.give(n, connWindow)); n > 0 {
		c.windowUpdate(0, uint32(n))
	}
}

// wake lets who waits for the connection's window look again. The lock is held.
func (c *conn) wake() {
	for i, st := range c.blocked {
		st.signal()
		c.blocked[i] = nil
	}
	c.blocked = c.blocked[:0]
}

// fail ends the connection: nobody can be answered any more. The lock is held.
func (c *conn) fail(err error) {
	if c.err == nil {
		c.err = err
		c.closing.Store(true)
	}
	for _, st := range c.streams {
		st.cut(c.err)
	}
	c.room.Broadcast()
	_ = c.net.SetReadDeadline(time.Unix(1, 0)) // who reads has nothing left to do
}

// leave tells the client that no new stream is taken; those that are open go on. The lock is held.
func (c *conn) leave() {
	if c.leaving || c.err != nil {
		return
	}
	c.leaving = true
	c.closing.Store(true)
	c.goAway(http2.ErrCodeNo)
	c.kick()
}

// EndIdle implements serving.Member.
func (c *conn) EndIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave()
	if len(c.streams) == 0 {
		// Who waits for a frame waits no longer, and closes when all is written.
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close implements serving.Member.
func (c *conn) Close() { c.net.Close() }
