package serving

import (
	"context"
	"sync"
	"sync/atomic"
)

// Member is a connection of a Group.
type Member interface {
	comparable
	// EndIdle lets the connection end with what it does, at once where it does nothing.
	EndIdle()
	// Close ends it at once.
	Close()
}

// Group is the connections of a server. It is safe for concurrent use, and its zero value is empty.
type Group[M Member] struct {
	ending atomic.Bool // changed under mu

	mu      sync.Mutex
	members map[M]struct{}
	empty   chan struct{} // closed when the last has ended; made by who waits for that
}

// Add takes a connection in. It reports false where the server ends.
func (g *Group[M]) Add(m M) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending.Load() {
		return false
	}
	if g.members == nil {
		g.members = map[M]struct{}{}
	}
	g.members[m] = struct{}{}
	return true
}

// Remove is for connections that have ended, or are no longer the server's.
func (g *Group[M]) Remove(m M) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.members, m)
	if len(g.members) == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// Each shows all connections. It must not be kept waiting.
func (g *Group[M]) Each(show func(M)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for m := range g.members {
		show(m)
	}
}

// Ending reports whether nothing new is to begin.
func (g *Group[M]) Ending() bool { return g.ending.Load() }

// Shutdown ends the connections that do nothing, and waits until the others have ended.
func (g *Group[M]) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.ending.Store(true)
	for m := range g.members {
		m.EndIdle()
	}
	if len(g.members) == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all connections at once.
func (g *Group[M]) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ending.Store(true)
	for m := range g.members {
		m.Close()
	}
	return nil
}
