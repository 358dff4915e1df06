package http1

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/platformd/platformd/proxy/serving"
)

// errAsleep says that the connection is with another goroutine.
var errAsleep = errors.New("the connection rests")

// await reads the first bytes of a request. The connection has been without one since a time; zero is now.
func (c *conn) await(since time.Time) error {
	now := time.Now()
	if since.IsZero() {
		since = now
	}
	wait := c.s.cfg.Idle
	if c.first {
		wait = c.s.cfg.Header
	}
	// A deadline that is a little late is as good, and need not be moved for each request.
	rest := min(serving.RestAfter, wait)
	if left := c.readUntil.Sub(now); c.readMoved.Swap(false) || left < rest/2 || left > rest*3/2 {
		c.readUntil = now.Add(rest)
		if err := c.net.SetReadDeadline(c.readUntil); err != nil {
			return err
		}
	}
	err := c.read()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c.readUntil = since.Add(wait)
	if err := c.net.SetReadDeadline(c.readUntil); err != nil {
		return err
	}
	if c.socket == nil {
		return c.read()
	}
	c.release()
	c.mu.Lock()
	c.timer, c.armed, c.seen, c.resting = nil, false, nil, true
	c.mu.Unlock()
	go c.sleep(since)
	return errAsleep
}

// read reads something where nothing was.
func (c *conn) read() error {
	if c.in == nil {
		c.in = ins.Get().(*[]byte)
	}
	n, err := c.net.Read(*c.in)
	if n == 0 {
		return err
	}
	if c.w = n; !c.begin() {
		return net.ErrClosed
	}
	return nil
}

// sleep waits until the socket has something to read, with a stack that has never grown.
func (c *conn) sleep(since time.Time) {
	if err := serving.Wait(c.socket); err != nil {
		c.end()
		return
	}
	c.mu.Lock()
	c.resting = false
	c.mu.Unlock()
	c.serve(since)
}
