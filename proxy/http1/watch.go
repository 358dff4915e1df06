package http1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/platformd/platformd/proxy/serving"
)

// lookAfter is how often it is looked whether a request takes long; when it does, the connection is read to notice that the
// client has left.
const lookAfter = 250 * time.Millisecond

// look begins to watch over a request.
func (c *conn) look(w *response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = w
	switch {
	case c.armed:
		return // for the request before
	case c.timer == nil:
		c.timer = time.AfterFunc(lookAfter, c.tick)
	default:
		c.timer.Reset(lookAfter)
	}
	c.armed = true
}

// tick is for requests that are there when it comes a second time.
func (c *conn) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.now
	if w == nil || c.timer == nil || c.watched != nil {
		c.armed = false
		return
	}
	if c.seen == w && w.body.over.Load() && c.w < len(*c.in) {
		if c.net.SetReadDeadline(time.Time{}) == nil {
			c.readMoved.Store(true)
			c.armed = false
			c.watched = make(chan struct{})
			go c.watch(w, (*c.in)[c.w:], c.watched)
			return
		}
	}
	c.seen = w
	c.timer.Reset(lookAfter)
}

// watch reads until there is something, which is the next request, or nobody wants to know any more.
func (c *conn) watch(w *response, into []byte, over chan struct{}) {
	defer close(over)
	n, err := c.net.Read(into)
	c.w += n
	if ne, ok := err.(net.Error); n == 0 && err != nil && !(ok && ne.Timeout()) {
		w.life.End()
	}
}

// lookAway is for the end of a request. Nobody else reads after it.
func (c *conn) lookAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = nil
	if over := c.watched; over != nil {
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
		<-over
		c.watched = nil
	}
}

// Hijack lets http.ResponseController take the connection for another protocol. It keeps the deadlines that it has.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.c
	if w.status != 0 || w.err != nil {
		return nil, nil, http.ErrHijacked
	}
	w.answered()
	c.lookAway()
	w.err = http.ErrHijacked
	c.state.Store(isTaken)
	c.s.Remove(c)
	var in io.Reader = c.net
	if c.r < c.w {
		in = io.MultiReader(bytes.NewReader(bytes.Clone((*c.in)[c.r:c.w])), c.net)
		c.r = c.w
	}
	return c.net, bufio.NewReadWriter(bufio.NewReader(in), bufio.NewWriter(c.net)), nil
}

// refuse ends a connection that sent what cannot be served, with an answer where there is one.
func (c *conn) refuse(err error) {
	r, ok := err.(*refusal)
	if !ok {
		return
	}
	c.refused(r.reason)
	text := strconv.Itoa(r.status) + " " + http.StatusText(r.status)
	c.put("HTTP/1.1 " + text + "\r\n" + "Date: " + c.s.clock.Date(time.Now()) + "\r\n" + "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + text)
	if c.flush() == nil {
		serving.Linger(c.net, *c.in)
	}
}

// refused tells of a violation.
func (c *conn) refused(reason string) {
	if c.s.cfg.Refused != nil {
		c.s.cfg.Refused(c.ctx, reason)
	}
}
