package h1

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// sender sends a body while the answer is waited for.
type sender struct {
	c     *conn
	r     *Request
	whole atomic.Bool // all of the body was read
	clean bool        // and sent; for after done
	ended atomic.Bool // nobody wants the rest
	// answered says that the head of the answer is there, whose time is over with that.
	answered atomic.Bool
	done     chan struct{}
	ask      chan struct{} // closed when the body may be sent; nil where it may at once
	once     sync.Once
	quit     chan struct{}
}

// expectWait is how long a back end may leave "Expect: 100-continue" unanswered.
const expectWait = time.Second

func newSender(c *conn, r *Request) *sender {
	s := &sender{c: c, r: r, done: make(chan struct{}), quit: make(chan struct{})}
	if r.Expect {
		s.ask = make(chan struct{})
	}
	return s
}

// proceed lets the body be sent.
func (s *sender) proceed() {
	if s.ask != nil {
		s.once.Do(func() { close(s.ask) })
	}
}

// refrain is for an answer that came in the place of 100: a body that nobody asked for is not sent any more.
func (s *sender) refrain() {
	if s.ask == nil {
		return
	}
	select {
	case <-s.ask:
	default:
		s.ended.Store(true)
		close(s.quit)
	}
}

// finished reports whether all was sent as it should.
func (s *sender) finished() bool {
	select {
	case <-s.done:
		return s.clean
	default:
	}
	if !s.whole.Load() {
		return false
	}
	// It has only to write what it holds; an answer that is over does not need more than this moment.
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-s.done:
		return s.clean
	case <-t.C:
		return false
	}
}

// endSender waits until nobody reads the request's body. The connection is closed, so that no write waits.
func (c *conn) endSender() {
	s := c.sender
	if s == nil {
		return
	}
	c.sender = nil
	s.ended.Store(true)
	select {
	case <-s.done:
		return
	default:
	}
	s.proceed()
	if s.r.Stop != nil && !s.whole.Load() {
		s.r.Stop()
	}
	<-s.done
}

func (s *sender) run() {
	defer close(s.done)
	if s.ask != nil {
		t := time.NewTimer(expectWait)
		select {
		case <-s.ask:
		case <-s.quit:
			t.Stop()
			return
		case <-t.C:
			s.proceed()
		}
		t.Stop()
	}
	large := pieces.Get().(*[]byte)
	defer pieces.Put(large)
	b := *large
	var err error
	if s.r.Length >= 0 {
		err = s.sized(b)
	} else {
		err = s.chunked(b)
	}
	s.clean = err == nil
	if err == nil && !s.answered.Load() {
		_ = s.c.net.SetReadDeadline(time.Now().Add(s.c.pool.cfg.Answer))
		_ = s.c.ended()
	}
}

var errEnded = errors.New("the rest is not wanted")

// read reads the body; an error that is the client's ends the exchange.
func (s *sender) read(b []byte) (int, error) {
	if s.ended.Load() {
		return 0, errEnded
	}
	n, err := s.r.Body.Read(b)
	if err != nil && err != io.EOF && !s.ended.Load() {
		failure := error(&BodyError{err})
		s.c.bodyErr.Store(&failure)
		s.c.abort()
	}
	return n, err
}

// write sends a piece; the back end may take the stall time for it. That it takes no more is no reason not to read its
// answer.
func (s *sender) write(b []byte) error {
	if err := s.c.net.SetWriteDeadline(time.Now().Add(s.c.pool.cfg.Stall)); err != nil {
		return err
	}
	if err := s.c.ended(); err != nil {
		return err
	}
	_, err := s.c.net.Write(b)
	return err
}

func (s *sender) sized(b []byte) error {
	for left := s.r.Length; left > 0; {
		n, err := s.read(b[:min(left, int64(len(b)))])
		if left -= int64(n); left == 0 {
			s.whole.Store(true)
		}
		if n > 0 {
			if err := s.write(b[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF && left > 0 {
			failure := error(&BodyError{io.ErrUnexpectedEOF})
			s.c.bodyErr.Store(&failure)
			s.c.abort()
			return io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// chunked sends a chunk for each piece, in one write with its size.
func (s *sender) chunked(b []byte) error {
	const before = 8 // the size of a chunk and its line end, at most
	for {
		n, err := s.read(b[before : len(b)-2])
		if err == io.EOF {
			s.whole.Store(true)
		}
		if n > 0 {
			var size [before]byte
			line := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
			start := before - len(line)
			copy(b[start:], line)
			copy(b[before+n:], "\r\n")
			if err := s.write(b[start : before+n+2]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	last := append(b[:0], "0\r\n"...)
	if s.r.Trailer != nil {
		last = appendTrailers(last, s.r.Trailer())
	} else {
		last = append(last, "\r\n"...)
	}
	return s.write(last)
}
