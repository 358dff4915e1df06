package worker

import (
	"bytes"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/internal/worker/link"
	"github.com/platformd/platformd/proxy"
)

// accessLog sends records to the daemon in batches, each record a line of JSON. A request never waits for it: what does not
// fit is counted and left out. Without a daemon records are kept until the queue is full.
type accessLog struct {
	queue   chan proxy.Access
	link    atomic.Pointer[link.Link]
	dropped atomic.Int64
	flushed chan chan struct{}
}

const (
	accessQueue = 8192
	accessBatch = 256 << 10
	accessEvery = 200 * time.Millisecond
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

func (a *accessLog) run(ended <-chan struct{}) {
	tick := time.NewTicker(accessEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			a.send()
		case done := <-a.flushed:
			a.send()
			close(done)
		}
	}
}

// send empties the queue.
func (a *accessLog) send() {
	l := a.link.Load()
	if l == nil {
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for range accessQueue {
		select {
		case r := <-a.queue:
			if err := enc.Encode(r); err != nil {
				a.dropped.Add(1)
			}
			if b.Len() < accessBatch {
				continue
			}
		default:
		}
		if b.Len() == 0 {
			return
		}
		if l.SendRaw(b.Bytes()) != nil {
			return
		}
		b.Reset()
	}
}
