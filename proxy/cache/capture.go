package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/proxy/header"
)

// fate is what a capture decided about a response when it saw its header.
type fate int

const (
	unknown fate = iota
	storing      // it goes into a spool, from which the client reads too
	passing      // it goes to the client, and to nobody else
	renewed      // it was a 304: what was stored is right again
	stale        // it was a failure, and what is stored may stand in
	useless      // nobody is there to have it
)

var errUseless = errors.New("nobody wants this response")

// capture is the http.ResponseWriter of a fetch. The fetch runs on a goroutine of its own, so that a slow client holds up
// neither the store nor those who wait for the same. A response that is not stored is written to the client by that
// goroutine, while the client's own waits for its end.
type capture struct {
	cache  *Cache
	flight *flight
	r      *http.Request // the client's, for what decides about storing
	old    *object       // what is being revalidated; nil for nothing
	why    string        // of Cache-Status: what the store lacked
	asked  time.Time
	ctx    context.Context
	cancel context.CancelFunc
	unlink func() bool // takes the client's context off the fetch

	header http.Header
	status int
	fate   fate
	meta   meta
	fresh  *object     // of renewed: what is right now
	sent   http.Header // of storing: the header as it was decided on; the handler may go on changing its own
	spool  *spool
	want   int64 // the length that was promised, or -1
	direct bool  // the spool was given up: writes go to the client

	decided  chan struct{} // closed when fate is known
	ended    chan struct{} // closed when the fetch is over
	broke    any           // what the fetch panicked with
	overflow chan struct{} // closed when the spool is given up
	drained  chan struct{} // closed when the client has all that was in it

	mu      sync.Mutex
	client  http.ResponseWriter // nil when there is none, or it has gone
	claimed bool                // the fetch writes to the client, which must stay until the end
	reads   bool                // the client holds the spool
	gone    chan struct{}       // closed when the client has gone
}

// Header implements http.ResponseWriter.
func (c *capture) Header() http.Header { return c.header }

// WriteHeader implements http.ResponseWriter: here it is decided what becomes of the response.
func (c *capture) WriteHeader(status int) {
	if c.status != 0 {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		c.inform(status)
		return
	}
	c.status = status
	c.want = -1
	if n, err := strconv.ParseInt(c.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		c.want = n
	}
	now := c.cache.store.now()
	switch {
	case c.ctx.Err() != nil:
		// The client has gone, and what comes now is what the next handler made of that.
		c.cache.store.land(c.flight, failed)
		c.decide(useless)
		return
	case status == http.StatusNotModified && c.old != nil:
		var keep bool
		if c.fresh, keep = c.cache.refreshed(c.old, c.r, c.header, c.asked, now); keep {
			c.cache.store.refresh(c.flight, c.old, c.fresh)
			c.land(c.fresh.remaining(now))
		} else {
			c.dropOld()
			c.cache.store.land(c.flight, unreusable)
		}
		c.decide(renewed)
		return
	case c.mayStandIn(status, now):
		c.cache.store.land(c.flight, unlucky)
		c.decide(stale)
		return
	}
	var ok bool
	c.meta, ok = c.cache.storable(c.flight.key, c.r, status, c.header, c.asked, now)
	if ok && c.want <= c.cache.store.config.MaxObjectBytes {
		c.spool, c.sent = c.cache.store.newSpool(), c.header.Clone()
		c.unlink()
		c.mu.Lock()
		if c.client != nil {
			c.spool.retain()
			c.reads = true
		}
		c.mu.Unlock()
		c.decide(storing)
		return
	}
	if status < 500 {
		c.dropOld()
	}
	c.pass()
}

// mayStandIn reports whether what is stored is better than this failure (RFC 5861, section 4).
func (c *capture) mayStandIn(status int, now time.Time) bool {
	return c.old != nil && slices.Contains([]int{500, 502, 503, 504}, status) && c.old.usableOnError(now)
}

func (m *meta) usableOnError(now time.Time) bool {
	return !m.Strict && m.StaleError > 0 && -m.remaining(now) <= m.StaleError
}

func (c *capture) dropOld() {
	if c.old != nil {
		c.cache.store.drop(c.old.Key, func(m *meta) bool { return m.sameVariant(&c.old.meta) })
	}
}

// land tells those who wait what was stored.
func (c *capture) land(lifetime time.Duration) {
	if lifetime > 0 && !c.flight.doomed.Load() {
		c.cache.store.land(c.flight, reusable)
	} else {
		c.cache.store.land(c.flight, unreusable)
	}
}

func (c *capture) decide(f fate) {
	c.fate = f
	close(c.decided)
}

// inform passes a 1xx response on, in which net/http clears the header afterwards.
func (c *capture) inform(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		return
	}
	h := c.client.Header()
	before := h.Clone()
	for name, values := range c.header {
		h[name] = values
	}
	c.client.WriteHeader(status)
	clear(h)
	for name, values := range before {
		h[name] = values
	}
}

// pass sends the header to the client as it is.
func (c *capture) pass() {
	r := unreusable
	if c.status >= 500 {
		r = unlucky
	}
	c.cache.store.land(c.flight, r)
	c.mu.Lock()
	client := c.client
	c.claimed = client != nil
	c.mu.Unlock()
	if client == nil {
		c.cancel()
		c.decide(useless)
		return
	}
	// The client's goroutine waits for the end from the moment it sees this fate; nobody else writes.
	c.decide(passing)
	setHeader(client.Header(), c.header)
	addStatus(client.Header(), c.cache.name, c.forwarded())
	client.WriteHeader(c.status)
}

// forwarded is the Cache-Status of what came from the back end.
func (c *capture) forwarded() string {
	if c.old != nil {
		return "fwd=stale; fwd-status=" + strconv.Itoa(c.status)
	}
	return "fwd=" + c.why
}

// Write implements io.Writer.
func (c *capture) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	switch c.fate {
	case storing:
		if c.direct {
			return c.client.Write(p)
		}
		n, err := c.spool.Write(p)
		if errors.Is(err, errTooLarge) {
			if err := c.giveUp(); err != nil {
				return 0, err
			}
			return c.client.Write(p)
		}
		return n, err
	case passing:
		return c.client.Write(p)
	case useless:
		return 0, errUseless
	}
	return len(p), nil // a failure that something stored stands in for
}

// giveUp stops storing, and goes on for the client alone as soon as it has what is in the spool.
func (c *capture) giveUp() error {
	c.dropOld()
	c.cache.store.land(c.flight, unreusable)
	close(c.overflow)
	select {
	case <-c.drained:
		c.direct = true
		return nil
	case <-c.gone:
		c.cancel()
		return errUseless
	}
}

// Flush implements http.Flusher.
func (c *capture) Flush() { _ = c.FlushError() }

// FlushError flushes what goes to the client directly; readers of a spool flush when they have all there is.
func (c *capture) FlushError() error {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	switch {
	case c.fate == passing, c.direct:
		return http.NewResponseController(c.client).Flush()
	case c.fate == storing:
		c.spool.flush()
	}
	return nil
}

// ReadFrom implements io.ReaderFrom.
func (c *capture) ReadFrom(src io.Reader) (int64, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if direct, ok := c.client.(io.ReaderFrom); ok && c.fate == passing {
		return direct.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{c}, src)
}

// run fetches. It is the body of the fetch's goroutine.
func (c *capture) run(next http.Handler, r *http.Request) {
	defer close(c.ended)
	defer c.cancel()
	defer func() {
		c.broke = recover()
		c.finish()
	}()
	next.ServeHTTP(c, r)
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
}

// finish stores what is whole.
func (c *capture) finish() {
	switch {
	case c.fate == unknown:
		c.cache.store.land(c.flight, failed)
		if c.ctx.Err() == nil && c.mayStandIn(http.StatusBadGateway, c.cache.store.now()) {
			c.broke = nil
			c.decide(stale)
		} else {
			c.decide(useless)
		}
	case c.fate == storing && !c.direct:
		var err error
		switch {
		case c.broke != nil:
			err = io.ErrUnexpectedEOF
		case c.want >= 0 && c.want != c.spool.length && bodyAllowed(c.status):
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			c.cache.store.put(c.flight, c.meta, c.spool)
			c.land(c.meta.Lifetime - c.meta.age(c.cache.store.now()))
		} else {
			c.cache.store.land(c.flight, failed)
		}
		c.spool.finish(err)
	case c.fate == passing:
		// Fields of the trailer come after the body.
		h := c.client.Header()
		declared := h["Trailer"]
		for name, values := range c.header {
			if strings.HasPrefix(name, http.TrailerPrefix) || header.Has(declared, name) {
				h[name] = values
			}
		}
	}
	if c.spool != nil {
		c.spool.release()
	}
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusResetContent
}

// leave is called when the client's goroutine goes: nobody may touch its writer any more.
func (c *capture) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = nil
	close(c.gone)
	if c.reads {
		c.spool.release()
	}
}

// mayLeave lets the client go before its time, unless the fetch writes to it already.
func (c *capture) mayLeave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claimed {
		return false
	}
	c.client = nil
	return true
}

// newSpool bounds a body as the store is bounded.
func (s *Store) newSpool() *spool {
	var create func() (*os.File, error)
	if s.disk != nil {
		create = s.disk.create
	}
	return newSpool(s.config.MemoryObjectBytes, s.config.MaxObjectBytes, create)
}
