package serving

import (
	"sync"
	"time"
)

// Crew is goroutines that do one piece of work after the other: a new one would have to grow its stack each time. It is safe for
// concurrent use, and its zero value has none.
type Crew struct {
	mu    sync.Mutex
	idle  []*hand // the last used at the end
	timer *time.Timer
}

type hand struct {
	work  chan func()
	since time.Time
}

// handIdle is how long a goroutine is kept without work, and maxIdle how many are.
const (
	handIdle = 2 * time.Second
	maxIdle  = 1024
)

// Do has f done at once, by a goroutine of its own as long as it takes. It does not wait.
func (w *Crew) Do(f func()) {
	w.mu.Lock()
	var h *hand
	if n := len(w.idle); n > 0 {
		h = w.idle[n-1]
		w.idle[n-1] = nil
		w.idle = w.idle[:n-1]
	}
	w.mu.Unlock()
	if h != nil {
		h.work <- f
		return
	}
	go w.run(&hand{work: make(chan func(), 1)}, f)
}

func (w *Crew) run(h *hand, f func()) {
	for ok := true; ok; f, ok = <-h.work {
		f()
		f = nil
		if !w.rest(h) {
			return
		}
	}
}

// rest lets a goroutine wait for work.
func (w *Crew) rest(h *hand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) >= maxIdle {
		return false
	}
	h.since = time.Now()
	w.idle = append(w.idle, h)
	if w.timer == nil {
		w.timer = time.AfterFunc(handIdle, w.prune)
	} else if len(w.idle) == 1 {
		w.timer.Reset(handIdle)
	}
	return true
}

// prune ends those that were idle for too long.
func (w *Crew) prune() {
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
