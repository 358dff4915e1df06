package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Pipe is a client and a back end that are connected. Its fields are not changed once it runs.
type Pipe struct {
	Client, Back net.Conn
	// First is how long the client may take for its first byte; 0 is as long as it likes.
	First time.Duration
	// Idle is how long nothing may move in either direction.
	Idle time.Duration

	// Received is how many bytes came from the client, Sent how many went to it. They are counted now and then.
	Received, Sent atomic.Int64

	origin time.Time
	moved  atomic.Int64 // when something did last, since origin
	spoken atomic.Bool  // the client has
}

// Why a Pipe ended.
const (
	EndedBoth    = "both sides have ended"
	EndedClient  = "the client broke off"
	EndedBack    = "the back end broke off"
	EndedIdle    = "nothing moved for too long"
	EndedSilent  = "the client said nothing"
	EndedStalled = "one side stopped taking what it was sent"
)

// chunk is how much is moved by the kernel before time is looked at again. A side that takes less than a chunk in the time of
// Idle is stalled.
const chunk = 256 << 10

// Run moves bytes until the pipe ends, says why, and closes both connections.
func (p *Pipe) Run() string {
	p.origin = time.Now()
	reasons := make(chan string, 2)
	go func() { reasons <- p.move(p.Back, p.Client, &p.Received, true) }()
	go func() { reasons <- p.move(p.Client, p.Back, &p.Sent, false) }()
	why := <-reasons
	if why != "" {
		p.Client.Close() // which ends the other direction too
		p.Back.Close()
	}
	if second := <-reasons; why == "" {
		why = second
	}
	p.Client.Close()
	p.Back.Close()
	if why == "" {
		why = EndedBoth
	}
	return why
}

// move is one direction. It gives "" where from has ended in order, and to was told.
func (p *Pipe) move(to, from net.Conn, count *atomic.Int64, ofClient bool) string {
	read, write := EndedBack, EndedClient
	if ofClient {
		read, write = EndedClient, EndedBack
	}
	m := mover{to: to, from: from}
	defer m.free()
	suspect := false
	for {
		now := time.Now()
		wait := max(p.Idle/8, time.Millisecond)
		silent := ofClient && p.First > 0 && !p.spoken.Load()
		if silent {
			wait = max(min(wait, p.First-now.Sub(p.origin)), time.Millisecond)
		}
		stalled := now.Add(wait + p.Idle)
		if from.SetReadDeadline(now.Add(wait)) != nil {
			return read
		}
		if to.SetWriteDeadline(stalled) != nil {
			return write
		}
		n, err := m.some()
		if n > 0 {
			count.Add(n)
			p.moved.Store(int64(time.Since(p.origin)))
			suspect = false
			if ofClient {
				p.spoken.Store(true)
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if w, ok := to.(interface{ CloseWrite() error }); !ok || w.CloseWrite() != nil {
				return write
			}
			return ""
		case errors.Is(err, os.ErrDeadlineExceeded):
			// Where the kernel moves the bytes it does not say which side it waited for; reading gives up long before writing.
			if m.writing || m.spliced && !time.Now().Before(stalled) {
				return EndedStalled
			}
			if n > 0 {
				continue
			}
			if silent && time.Since(p.origin) >= p.First {
				return EndedSilent
			}
			// A process that did not run for a while finds both that time has passed and that something has come: it looks twice.
			idle := time.Since(p.origin)-time.Duration(p.moved.Load()) > p.Idle
			if idle && suspect {
				return EndedIdle
			}
			suspect = idle
		case m.writing || errors.Is(err, syscall.EPIPE):
			return write
		default:
			return read
		}
	}
}
