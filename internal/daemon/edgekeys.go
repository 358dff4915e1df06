package daemon

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/platformd/platformd/internal/worker"
	"github.com/platformd/platformd/proxy"
)

// Keys of session tickets are made anew each rotateKeys, and keepTickets of them are good to resume a session. They are in
// memory alone: a daemon that comes next asks the worker for them.
const (
	rotateKeys  = 12 * time.Hour
	keepTickets = 3
)

// inherit takes the keys that a worker has from the daemon before this one. What it says is hostile input, and its keys are
// for workers alone.
func (e *edge) inherit(ctx context.Context, p *worker.WebProcess) {
	k, err := p.Keys(ctx)
	if err != nil || len(k.Tickets) == 0 || len(k.Tickets) > keepTickets || len(k.Reset) != 32 {
		return
	}
	for _, t := range k.Tickets {
		if len(t) != 32 {
			return
		}
	}
	e.keys, e.keysAt = k, time.Now()
}

// share gives the worker keys where it has none, or where it is time for others.
func (e *edge) share(ctx context.Context, p *worker.WebProcess, now time.Time) error {
	if rotated := e.rotate(now); !rotated && e.shared == p {
		return nil
	}
	if err := p.SetKeys(ctx, e.keys); err != nil {
		return err
	}
	e.shared = p
	return nil
}

// rotate makes a key where it is time, and reports whether it did.
func (e *edge) rotate(now time.Time) bool {
	if len(e.keys.Tickets) > 0 && now.Sub(e.keysAt) < rotateKeys {
		return false
	}
	fresh := func() []byte {
		b := make([]byte, 32)
		_, _ = rand.Read(b) // never fails (crypto/rand)
		return b
	}
	next := proxy.Keys{Tickets: append([][]byte{fresh()}, e.keys.Tickets...), Reset: e.keys.Reset}
	next.Tickets = next.Tickets[:min(len(next.Tickets), keepTickets)]
	if len(next.Reset) == 0 {
		next.Reset = fresh()
	}
	e.keys, e.keysAt = next, now
	return true
}

// handLimits gives the worker what the one before it knows of clients, so that nobody has a fresh allowance. A worker that cannot
// say it, as one of an older version, is no reason to wait.
func (e *edge) handLimits(ctx context.Context, from *worker.WebProcess) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if to := e.worker(); to != nil {
		if err := from.HandLimits(ctx, to); err != nil {
			e.cfg.Log.Warn("limits begin anew in the next proxy worker", "error", err)
		}
	}
}
