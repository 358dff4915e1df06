package http2

import (
	"sync"
	"time"
)

// crew is goroutines that serve one request after the other: a new one would have to grow its stack each time.
type crew struct {
	mu    sync.Mutex
	idle  []*hand // the last used at the end
	timer *time.Timer
}

type hand struct {
	work  chan *stream
	since time.Time
}

// handIdle is how long a goroutine is kept without work.
const handIdle = 2 * time.Second

// serve has a stream served.
func (w *crew) serve(st *stream) {
	w.mu.Lock()
	var h *hand
	if n := len(w.idle); n > 0 {
		h = w.idle[n-1]
		w.idle[n-1] = nil
		w.idle = w.idle[:n-1]
	}
	w.mu.Unlock()
	if h != nil {
		h.work <- st
		return
	}
	go w.run(&hand{work: make(chan *stream, 1)}, st)
}

func (w *crew) run(h *hand, st *stream) {
	for ok := true; ok; st, ok = <-h.work {
		st.serve()
		st = nil
		w.mu.Lock()
		h.since = time.Now()
		w.idle = append(w.idle, h)
		if w.timer == nil {
			w.timer = time.AfterFunc(handIdle, w.prune)
		} else if len(w.idle) == 1 {
			w.timer.Reset(handIdle)
		}
		w.mu.Unlock()
	}
}

// prune ends those that were idle for too long.
func (w *crew) prune() {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := time.Now().Add(-handIdle)
	n := 0
	for n < len(w.idle) && !w.idle[n].since.After(limit) {
		close(w.idle[n].work)
		n++
	}
	m := copy(w.idle, w.idle[n:])
	clear(w.idle[m:])
	if w.idle = w.idle[:m]; m > 0 {
		w.timer.Reset(max(time.Until(w.idle[0].since.Add(handIdle)), time.Millisecond))
	}
}
