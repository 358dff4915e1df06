package proxy

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/proxy/limits"
)

// exchange is one request and its answer. As a ResponseWriter it completes the head of the answer and counts.
type exchange struct {
	http.ResponseWriter
	request *http.Request
	conn    *conn
	table   *Table
	route   *route
	start   time.Time
	host    string // in normal form
	path    string // in normal form
	client  netip.Addr
	trusted bool // the peer is a proxy that we believe
	id      string

	status   int
	written  int64
	received int64 // beside body
	body     *pacedBody
	reason   string // why it was refused or failed
	hijacked bool
	detached bool      // a copy, for an answer that somebody else takes
	paced    time.Time // when the write deadline was last moved

	exempt bool // no limit concerns the client
	pass   limits.Pass
	quota  limits.Quota
	flood  bool  // it goes on though it was turned away
	attack bool  // the firewall for applications refused it
	holds  int64 // bytes of its body in memory for inspection
	found  []int // the rules of that firewall that it fell under
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// Unwrap lets http.ResponseController reach the server's own writer.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// requestID is made once, of 128 random bits.
func (x *exchange) requestID() string {
	if x.id == "" {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		x.id = hex.EncodeToString(b[:])
	}
	return x.id
}

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	if x.status != 0 {
		return
	}
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		x.ResponseWriter.WriteHeader(status)
		return
	}
	x.status = status
	if x.body != nil && !x.detached && !x.body.whole.Load() && x.request.ProtoMajor == 1 {
		// Nobody can tell what comes next on the connection: the rest of this body, or, where the client waited for 100,
		// another request.
		x.Header()["Connection"] = closing
	}
	if !x.detached {
		x.complete(x.Header())
	}
	x.pace()
	x.ResponseWriter.WriteHeader(status)
}

// complete makes the head of an answer what the route says.
func (x *exchange) complete(h http.Header) {
	for _, name := range dropped {
		delete(h, name)
	}
	if v := x.table.cfg.ServerHeader; v != "" {
		h["Server"] = []string{v}
	}
	if alt := x.conn.altSvc(); alt != nil {
		h["Alt-Svc"] = alt
	}
	r := x.route
	if r == nil {
		noRoute.complete(h, x.conn.tls())
		return
	}
	for _, name := range r.ResponseHeaders.Remove {
		delete(h, name)
	}
	r.security.complete(h, x.conn.tls())
	x.quota.SetHeaders(h)
	setHeaders(h, r.setResp, x)
}

// dropped are headers of a back end that tell of software, or are ours to say.
var dropped = [...]string{"Server", "X-Powered-By", "X-Aspnet-Version", "X-Aspnetmvc-Version", "Alt-Svc"}

// noRoute is for answers that no route makes.
var noRoute = (&Security{ContentSecurityPolicy: "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"}).compile()

// Write implements http.ResponseWriter.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	x.pace()
	n, err := x.ResponseWriter.Write(b)
	x.written += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom with a buffer of the pool.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{x}, struct{ io.Reader }{r}, *b)
}

// FlushError lets http.ResponseController flush.
func (x *exchange) FlushError() error {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	x.pace()
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (x *exchange) Flush() { _ = x.FlushError() }

// Hijack takes the connection over for another protocol. It has no deadlines after that.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	x.hijacked = true
	x.conn.server.tunnels.Add(1)
	delete(x.Header(), "Connection") // which said that no other protocol was agreed on
	if x.status == 0 {
		x.status = http.StatusSwitchingProtocols
	}
	return c, rw, c.SetDeadline(time.Time{})
}

// pace gives the client time to take what is written next. It is moved at most once a second.
func (x *exchange) pace() {
	if x.detached {
		return
	}
	now := time.Now()
	if now.Sub(x.paced) < time.Second {
		return
	}
	x.paced = now
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(now.Add(x.stallTime()))
}

// minRate is how many bytes a second a client has to send of a body, once the stall time is used up.
const minRate = 500

// pacedBody is a request body of a client that must not dawdle: it may take the stall time, and one second more for each
// minRate bytes that have come. (A total would cut slow uploads off; a pause alone would admit a byte a minute.) It may be
// read while the answer is written.
type pacedBody struct {
	io.ReadCloser
	to     http.ResponseWriter // of the server
	stall  time.Duration
	length int64
	since  time.Time
	moved  time.Time
	taken  atomic.Int64
	whole  atomic.Bool

	mu    sync.Mutex // of deadlines
	ended bool
}

func (b *pacedBody) Read(p []byte) (int, error) {
	now := time.Now()
	if b.since.IsZero() {
		b.since = now
	}
	if now.Sub(b.moved) > time.Second {
		b.moved = now
		earned := time.Duration(b.taken.Load()/minRate) * time.Second
		end := b.since.Add(b.stall + earned)
		if last := now.Add(b.stall); last.Before(end) {
			end = last // what was earned is no credit for a long pause
		}
		if !b.allow(end) {
			return 0, os.ErrDeadlineExceeded
		}
	}
	n, err := b.ReadCloser.Read(p)
	if b.taken.Add(int64(n)) == b.length || err == io.EOF {
		b.whole.Store(true)
	}
	return n, err
}

// allow moves the deadline, if nobody has ended the body.
func (b *pacedBody) allow(end time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	_ = http.NewResponseController(b.to).SetReadDeadline(end)
	return true
}

// stopBody makes whoever waits for more of the request's body return.
func (x *exchange) stopBody() {
	if b := x.body; b != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended = true
		_ = http.NewResponseController(b.to).SetReadDeadline(time.Unix(1, 0))
	}
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}
