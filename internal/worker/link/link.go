// Package link is how the daemon and a worker that lives on talk: both may ask and both may tell, over one unix stream.
//
// The model in words. A frame is its length, a kind, and that many bytes. A message is a frame of JSON: a question has a
// number and a method, its answer the same number; a note has a method and no number. A raw frame is bytes that the other
// side takes as they are, for what is too much to encode twice (access logs). Each side bounds what it takes: a frame that
// is longer ends the link, and so does one that is no message. Questions are answered by as many goroutines as Config says at
// most; more of them wait in memory, up to a bound that ends the link too. They do not wait in the socket: two sides that both
// stop reading until they have written would wait for ever.
//
// It trusts the other side with nothing but its own memory within those bounds; what a message says is for the handler to
// check.
package link

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Config of one side.
type Config struct {
	// MaxFrame bounds what is taken from the other side, in bytes.
	MaxFrame int
	// Handle answers questions and takes notes (whose answer is not sent). It may be called from many goroutines.
	Handle func(ctx context.Context, method string, params json.RawMessage) (any, error)
	// Raw takes raw frames, one at a time, in order; it does not keep the bytes.
	Raw func([]byte)
	// Handlers is how many questions may be under way at once; 0 is 64.
	Handlers int
	// WriteWithin bounds how long the other side may take no byte of a frame; after that the link is closed. 0 is no bound, and
	// needs a connection with deadlines otherwise.
	WriteWithin time.Duration
}

// Link is one side. Its methods may be called from many goroutines.
type Link struct {
	cfg Config
	rw  io.ReadWriteCloser

	write sync.Mutex
	mu    sync.Mutex
	next  uint64
	open  map[uint64]chan message
	ended error

	busy    int       // goroutines that answer
	waiting []message // for one of them
}

// maxWaiting bounds the questions that wait.
const maxWaiting = 10_000

// ErrClosed is what questions end with when the other side is gone.
var ErrClosed = errors.New("link is closed")

const (
	kindMessage = 0
	kindRaw     = 1
	headerLen   = 5
)

type message struct {
	ID     uint64          `json:"id,omitempty"`
	Method string          `json:"method,omitempty"` // of a question or a note; an answer has none
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// New makes a link over rw. Nothing is read before Run.
func New(rw io.ReadWriteCloser, cfg Config) *Link {
	if cfg.Handlers == 0 {
		cfg.Handlers = 64
	}
	return &Link{cfg: cfg, rw: rw, open: map[uint64]chan message{}}
}

// Run takes what the other side says until it is gone or ctx ends. The link is closed after that.
func (l *Link) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.rw.Close() })
	defer stop()
	var group sync.WaitGroup
	err := l.read(ctx, &group)
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
		err = nil
	}
	l.rw.Close()
	cancel()
	l.mu.Lock()
	l.ended = errors.Join(ErrClosed, err)
	for id, ch := range l.open {
		close(ch)
		delete(l.open, id)
	}
	l.mu.Unlock()
	group.Wait()
	return err
}

func (l *Link) read(ctx context.Context, group *sync.WaitGroup) error {
	r := bufio.NewReaderSize(l.rw, 64<<10)
	var head [headerLen]byte
	var raw []byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head[:])
		if uint64(n) > uint64(l.cfg.MaxFrame) {
			return fmt.Errorf("a frame of %d bytes came, at most %d are taken", n, l.cfg.MaxFrame)
		}
		switch head[4] {
		case kindRaw:
			if cap(raw) < int(n) {
				raw = make([]byte, n)
			}
			if _, err := io.ReadFull(r, raw[:n]); err != nil {
				return err
			}
			if l.cfg.Raw != nil {
				l.cfg.Raw(raw[:n])
			}
		case kindMessage:
			data := make([]byte, n)
			if _, err := io.ReadFull(r, data); err != nil {
				return err
			}
			var m message
			if err := json.Unmarshal(data, &m); err != nil {
				return fmt.Errorf("a frame is no message: %w", err)
			}
			if m.Method == "" {
				l.answered(m)
				continue
			}
			if err := l.take(ctx, m, group); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a frame is of unknown kind %d", head[4])
		}
	}
}

// take has a question answered.
func (l *Link) take(ctx context.Context, m message, group *sync.WaitGroup) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy >= l.cfg.Handlers {
		if len(l.waiting) >= maxWaiting {
			return fmt.Errorf("more than %d questions wait", maxWaiting)
		}
		l.waiting = append(l.waiting, m)
		return nil
	}
	l.busy++
	group.Go(func() {
		for more := true; more; m, more = l.another() {
			l.handle(ctx, m)
		}
	})
	return nil
}

// another is a question that waits.
func (l *Link) another() (message, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy--
		return message{}, false
	}
	m := l.waiting[0]
	l.waiting = l.waiting[1:]
	return m, true
}

func (l *Link) answered(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ch := l.open[m.ID]; ch != nil {
		delete(l.open, m.ID)
		ch <- m
	}
}

func (l *Link) handle(ctx context.Context, m message) {
	result, err := l.cfg.Handle(ctx, m.Method, m.Params)
	if m.ID == 0 {
		return
	}
	answer := message{ID: m.ID}
	if err != nil {
		answer.Error = err.Error()
	} else if answer.Result, err = json.Marshal(result); err != nil {
		answer.Error = err.Error()
	}
	_ = l.send(answer) // a link that is broken ends in read
}

func (l *Link) send(m message) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return l.frame(kindMessage, data)
}

func (l *Link) frame(kind byte, data []byte) error {
	b := make([]byte, headerLen, headerLen+len(data))
	binary.BigEndian.PutUint32(b, uint32(len(data)))
	b[4] = kind
	l.write.Lock()
	defer l.write.Unlock()
	if d, ok := l.rw.(interface{ SetWriteDeadline(time.Time) error }); ok && l.cfg.WriteWithin > 0 {
		if err := d.SetWriteDeadline(time.Now().Add(l.cfg.WriteWithin)); err != nil {
			return err
		}
	}
	_, err := l.rw.Write(append(b, data...))
	if err != nil {
		l.rw.Close() // a part of the frame may be on its way: the other side could not tell where the next begins
	}
	return err
}

// Close ends the link; Run returns, and open questions get ErrClosed.
func (l *Link) Close() { l.rw.Close() }

// RemoteError is what the other side answered.
type RemoteError struct{ Text string }

// Error implements error.
func (e *RemoteError) Error() string { return e.Text }

// Ask asks and waits for the answer, which is decoded into result unless that is nil.
func (l *Link) Ask(ctx context.Context, method string, params, result any) error {
	data, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("ask %s: %w", method, err)
	}
	ch := make(chan message, 1)
	l.mu.Lock()
	if l.ended != nil {
		l.mu.Unlock()
		return fmt.Errorf("ask %s: %w", method, l.ended)
	}
	l.next++
	id := l.next
	l.open[id] = ch
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.open, id)
		l.mu.Unlock()
	}()
	if err := l.send(message{ID: id, Method: method, Params: data}); err != nil {
		return fmt.Errorf("ask %s: %w", method, errors.Join(ErrClosed, err))
	}
	select {
	case m, ok := <-ch:
		switch {
		case !ok:
			return fmt.Errorf("ask %s: %w", method, ErrClosed)
		case m.Error != "":
			return &RemoteError{m.Error}
		case result == nil:
			return nil
		}
		if err := json.Unmarshal(m.Result, result); err != nil {
			return fmt.Errorf("ask %s: read answer: %w", method, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ask %s: %w", method, ctx.Err())
	}
}

// Tell sends a note.
func (l *Link) Tell(method string, params any) error {
	data, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("tell %s: %w", method, err)
	}
	return l.send(message{Method: method, Params: data})
}

// SendRaw sends a raw frame.
func (l *Link) SendRaw(data []byte) error { return l.frame(kindRaw, data) }
