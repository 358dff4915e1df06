package http2

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/net/http2"

	"github.com/platformd/platformd/proxy/serving"
)

// pingAfter is how long a client with open streams may be silent before it is asked whether it is there, and pingWait how long it may
// take to answer.
const (
	pingAfter = time.Minute
	pingWait  = 15 * time.Second
)

// errAsleep says that the connection is with another goroutine, errOver that it has done all that it had to.
var (
	errAsleep = errors.New("the connection rests")
	errOver   = errors.New("the connection is over")
)

// begin takes the first words of a client.
func (c *conn) begin(since time.Time) {
	c.awake()
	c.mu.Lock()
	c.settings()
	c.kick()
	c.mu.Unlock()
	c.quiet = since
	preface := make([]byte, len(http2.ClientPreface))
	err := c.within(c.s.cfg.Header)
	if err == nil {
		_, err = io.ReadFull(c.in, preface)
	}
	if err == nil && string(preface) != http2.ClientPreface {
		err = http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if err != nil {
		c.end(err)
		return
	}
	c.serve()
}

// serve acts on one frame after the other.
func (c *conn) serve() {
	for {
		err := c.await()
		if err == errAsleep {
			return // another goroutine goes on
		}
		var f http2.Frame
		if err == nil {
			f, err = c.frames.ReadFrame()
		}
		if err == nil {
			err = c.act(f)
		}
		if se, ok := err.(http2.StreamError); ok {
			err = c.refuse(se)
		}
		if err != nil {
			c.end(err)
			return
		}
	}
}

// within gives reads at least d from now on. A deadline that is a little late is as good.
func (c *conn) within(d time.Duration) error {
	now := time.Now()
	if left := c.readUntil.Sub(now); left >= d && left <= d*5/4 {
		return nil
	}
	c.readUntil = now.Add(d * 9 / 8)
	return c.net.SetReadDeadline(c.readUntil)
}

// await returns when a frame has begun to come. All of it must come in time.
func (c *conn) await() error {
	for c.in.Buffered() == 0 {
		// It looks up each second, so that it sees when there is no request any more.
		now := time.Now()
		if left := c.readUntil.Sub(now); left <= 0 || left > serving.RestAfter*3/2 {
			c.readUntil = now.Add(serving.RestAfter)
			if err := c.net.SetReadDeadline(c.readUntil); err != nil {
				return err
			}
		}
		if c.closing.Load() && c.over() { // whoever sees to that later moves the deadline
			return errOver
		}
		_, err := c.in.Peek(1)
		if err == nil {
			c.quiet = time.Time{}
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		c.readUntil = time.Time{}
		if err := c.silence(time.Now()); err != nil {
			return err
		}
	}
	if c.whole() {
		return nil
	}
	return c.within(c.s.cfg.Header)
}

// whole reports whether the next frame is there, and none has to follow it.
func (c *conn) whole() bool {
	n := c.in.Buffered()
	if n < frameHead {
		return false
	}
	b, err := c.in.Peek(frameHead)
	if err != nil || n < frameHead+int(b[0])<<16+int(b[1])<<8+int(b[2]) {
		return false
	}
	return http2.FrameType(b[3]) != http2.FrameHeaders || http2.Flags(b[4]).Has(http2.FlagHeadersEndHeaders)
}

// over reports whether nothing more is to come.
func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving && len(c.streams) == 0 || c.err != nil
}

// silence is for a time in which nothing came.
func (c *conn) silence(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet.IsZero() {
		c.quiet = now
	}
	long := now.Sub(c.quiet)
	switch {
	case c.err != nil || c.leaving && len(c.streams) == 0:
		return errOver
	case len(c.streams) > 0 && long >= pingAfter+pingWait:
		return errOver
	case len(c.streams) > 0:
		if long >= pingAfter && !c.pinged {
			c.pinged = true
			c.ping(false, [8]byte{})
			c.kick()
		}
		return nil
	case long >= c.s.cfg.Idle:
		return errOver
	case c.socket == nil || c.writing || len(c.out) > 0 || !c.settled:
		return nil
	}
	c.readUntil = c.quiet.Add(c.s.cfg.Idle)
	if err := c.net.SetReadDeadline(c.readUntil); err != nil {
		return err
	}
	c.in.Reset(nil)
	ins.Put(c.in)
	c.in, c.frames, c.streams, c.blocked = nil, nil, nil, nil
	c.block, c.resting = bytes.Buffer{}, true
	go c.sleep()
	return errAsleep
}

// sleep waits until the socket has something to read, with a stack that has never grown.
func (c *conn) sleep() {
	err := serving.Wait(c.socket)
	c.mu.Lock()
	c.resting = false
	c.mu.Unlock()
	c.awake()
	if err != nil {
		c.end(errOver)
		return
	}
	c.serve()
}

// awake makes what is needed to read.
func (c *conn) awake() {
	c.in = ins.Get().(*bufio.Reader)
	c.in.Reset(c.net)
	c.frames = http2.NewFramer(nil, c.in)
	c.frames.SetReuseFrames()
	c.frames.SetMaxReadFrameSize(maxFrame)
	c.frames.ReadMetaHeaders = c.fields
	c.frames.MaxHeaderListSize = uint32(c.s.cfg.MaxHead)
}

// end closes the connection, and tells the client why, where that is still possible.
func (c *conn) end(err error) {
	code, told := http2.ErrCodeNo, errors.Is(err, errOver)
	if ce, ok := err.(http2.ConnectionError); ok {
		code, told = http2.ErrCode(ce), true
	} else if errors.Is(err, http2.ErrFrameTooLarge) {
		code, told = http2.ErrCodeFrameSize, true
	}
	c.mu.Lock()
	if told && c.err == nil {
		c.goAway(code)
		for (c.writing || len(c.out) > 0) && c.err == nil {
			c.kick()
			c.room.Wait()
		}
		told = c.err == nil
	}
	c.fail(errOver)
	c.mu.Unlock()
	if told {
		serving.Linger(c.net, make([]byte, smallSize))
	}
	c.net.Close()
	if c.in != nil {
		c.in.Reset(nil)
		ins.Put(c.in)
		c.in = nil
	}
	c.s.Remove(c)
}
