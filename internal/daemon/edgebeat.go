package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/worker"
	"github.com/platformd/platformd/internal/worker/link"
)

// mournFor is how long a worker that hung is a condition after another has taken its place: it should not have, and somebody
// should look.
const mournFor = time.Hour

// beat asks the worker again and again whether it is there. One that leaves two questions in a row without an answer, each for
// half of the patience, hangs: it was stopped, or is stuck. One question is not enough, as it may have been asked just before
// this process itself stood still.
func (e *edge) beat(ctx context.Context) {
	tick := time.NewTicker(e.cfg.Patience / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.forget(time.Now())
		if p := e.worker(); p != nil && !answers(ctx, p, e.cfg.Patience/2) && !answers(ctx, p, e.cfg.Patience/2) && ctx.Err() == nil {
			e.giveUp(p)
		}
	}
}

// answers reports whether a worker says something within a time, or has ended, which others notice.
func answers(ctx context.Context, p *worker.WebProcess, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	said := make(chan error, 1)
	go func() { said <- p.Ping(ctx) }() // which may have to wait for others to get their questions off
	select {
	case err := <-said:
		return err == nil || errors.Is(err, link.ErrClosed)
	case <-ctx.Done():
		return false
	}
}

// giveUp makes way for another worker: who waits for this one is told that it is gone.
func (e *edge) giveUp(p *worker.WebProcess) {
	e.cfg.Log.Error("the proxy's worker does not answer; another takes its place", "for", e.cfg.Patience)
	e.health.Set(health.Condition{ID: "proxy-hung", Severity: health.Critical, Message: fmt.Sprintf("the proxy's worker has not answered for %v; another takes its place", e.cfg.Patience),
		Remedy: "it is done by itself; see platformctl proxy status"})
	p.Abandon()
}

// bury kills what is left of workers that cannot be talked to, now that another serves.
func (e *edge) bury() {
	e.mu.Lock()
	left := e.left
	e.left = nil
	e.mu.Unlock()
	for _, p := range left {
		killed, err := p.Kill()
		if err != nil {
			e.cfg.Log.Warn("end the worker before this one", "error", err)
		}
		if killed { // others have ended by themselves
			e.mourn()
		}
	}
}

// mourn says that a worker hung and was killed.
func (e *edge) mourn() {
	const message = "the proxy's worker did not answer any more; it was killed, and another has taken its place"
	e.mu.Lock()
	e.mourned = time.Now()
	e.mu.Unlock()
	e.health.Set(health.Condition{ID: "proxy-hung", Severity: health.Warning, Message: message,
		Remedy: "requests that it had under way are lost; if it happens again, look into the journal for what it was doing, and whether the machine has memory left"})
	e.replaced(message)
}

// forget ends the condition after a while.
func (e *edge) forget(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.mourned.IsZero() && now.Sub(e.mourned) > mournFor {
		e.mourned = time.Time{}
		e.health.Clear("proxy-hung")
	}
}
