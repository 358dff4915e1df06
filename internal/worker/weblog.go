package worker

import (
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/internal/worker/link"
	"github.com/platformd/platformd/proxy"
)

// accessLog sends records to the daemon in batches, each record a line of JSON. A request never waits for it: what does not
// fit is counted and left out, and so is what comes while there is no daemon.
type accessLog struct {
	queue   chan proxy.Access
	link    atomic.Pointer[link.Link]
	dropped atomic.Int64
	flushed chan chan struct{}
	buffer  []byte // of the goroutine that sends
}

const (
	accessQueue = 8192
	accessBatch = 256 << 10
	accessAfter = 20 * time.Millisecond
)

func newAccessLog() *accessLog {
	return &accessLog{queue: make(chan proxy.Access, accessQueue), flushed: make(chan chan struct{})}
}

// Access implements proxy.Reporter.
func (a *accessLog) Access(r proxy.Access) {
	select {
	case a.queue <- r:
	default:
		a.dropped.Add(1)
	}
}

func (a *accessLog) to(l *link.Link)     { a.link.Store(l) }
func (a *accessLog) forget(l *link.Link) { a.link.CompareAndSwap(l, nil) }

// flush waits until what is in the queue was sent.
func (a *accessLog) flush() {
	done := make(chan struct{})
	select {
	case a.flushed <- done:
		<-done
	case <-time.After(2 * time.Second):
	}
}

// run sends what is in the queue, a moment after something came.
func (a *accessLog) run(ended <-chan struct{}) {
	for {
		var first *proxy.Access
		var done chan struct{}
		select {
		case <-ended:
			return
		case done = <-a.flushed:
		case r := <-a.queue:
			first = &r
			select {
			case <-ended:
				return
			case done = <-a.flushed:
			case <-time.After(accessAfter):
			}
		}
		a.send(first)
		if done != nil {
			close(done)
		}
	}
}

// send empties the queue. Without a daemon the records are lost, and counted.
func (a *accessLog) send(first *proxy.Access) {
	b, lines := a.buffer[:0], int64(0)
	add := func(r *proxy.Access) {
		b = append(r.AppendJSON(b), '\n')
		lines++
	}
	if first != nil {
		add(first)
	}
	for more := true; more; {
		select {
		case r := <-a.queue:
			add(&r)
			more = len(b) < accessBatch
		default:
			more = false
		}
	}
	l := a.link.Load()
	if lines > 0 && (l == nil || l.SendRaw(b) != nil) {
		a.dropped.Add(lines)
	}
	if a.buffer = b; cap(b) > 2*accessBatch || lines < accessQueue/64 {
		a.buffer = nil // it is quiet, and memory is for others
	}
}
