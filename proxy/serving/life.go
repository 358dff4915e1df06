package serving

import (
	"context"
	"sync"
)

// Life is the context of a request: it ends with the answer, or when the client has left. It costs nothing unless somebody
// waits for it.
type Life struct {
	context.Context // of the connection, for its values

	mu    sync.Mutex
	done  chan struct{}
	err   error
	after []*watcher
}

type watcher struct {
	l *Life
	f func()
}

// Done implements context.Context.
func (l *Life) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.err != nil {
			close(l.done)
		}
	}
	return l.done
}

// Err implements context.Context.
func (l *Life) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// AfterFunc is what context.AfterFunc asks a context of another package for. It costs less when it is called directly.
func (l *Life) AfterFunc(f func()) (stop func() bool) {
	w := &watcher{l, f}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		go f()
		return func() bool { return false }
	}
	l.after = append(l.after, w)
	return w.stop
}

// stop keeps f from being called, and reports whether it did that.
func (w *watcher) stop() bool {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	for i, o := range w.l.after {
		if o == w {
			last := len(w.l.after) - 1
			w.l.after[i], w.l.after[last] = w.l.after[last], nil
			w.l.after = w.l.after[:last]
			return true
		}
	}
	return false
}

// End is for the first who calls it: the context is cancelled.
func (l *Life) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = context.Canceled
	if l.done != nil {
		close(l.done)
	}
	for _, w := range l.after {
		go w.f()
	}
	l.after = nil
}
