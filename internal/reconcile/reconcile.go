// Package reconcile brings one part of the host to what is wanted, and keeps it there.
//
// A Loop makes passes, one at a time. A pass applies what is wanted, looks at the host again, and is verified when nothing
// differs. A pass is made when somebody asks for it (Sync waits for one that began after the call), when the host is said
// to have changed (Kick), after a while in any case, and again with growing pauses while a pass is not verified. An error
// from Apply alone proves nothing: only looking at the host tells.
//
// The loop knows nothing of firewalls, and it decides nothing: what is wanted is the subsystem's to compile, afresh in
// each pass.
package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
)

// Subsystem is one part of the host. The loop calls it from one goroutine.
type Subsystem interface {
	// Plan looks at the host and lists how it differs from what is wanted now.
	Plan(ctx context.Context) ([]firewall.Change, error)
	// Apply makes the host agree. It may be called any number of times. It lists how the host differed, before anything was
	// changed, from what was seen there when Verify last found no difference; also where it returns an error.
	Apply(ctx context.Context) (drift []firewall.Change, err error)
	// Verify looks at the host and lists how it differs from what Apply was to put there, whatever is wanted meanwhile.
	Verify(ctx context.Context) ([]firewall.Change, error)
}

// Cause is why a pass is made.
type Cause struct {
	// Kind is "request" (what is wanted changed), "drift" (the host is said to have changed), "timer" or "retry".
	Kind string
	// By is who changed the host, where that is known.
	By firewall.ChangedBy
}

// Result is what one pass did.
type Result struct {
	Causes []Cause
	// Drift is how the host differed from what a pass had put there and seen there. A request that comes between another
	// program's change and word of it finds it too.
	Drift []firewall.Change
	// Left is how it still differs after Apply.
	Left []firewall.Change
	// Err joins what went wrong. A verified pass can have one: Apply failed and yet did its work.
	Err      error
	Verified bool
	Took     time.Duration
}

// Config of a Loop.
type Config struct {
	Subsystem Subsystem
	// Every is the pause between passes that nobody asked for.
	Every time.Duration
	// Settle is how long the loop waits after word of a change, for the changes that come with it.
	Settle time.Duration
	// Report is called after each pass, before those who wait for it go on; After when they have gone on. Both are called
	// from the loop's goroutine.
	Report, After func(Result)
	Now           func() time.Time
}

// Retry pauses.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Loop makes passes. Kick and Sync are safe for concurrent use.
type Loop struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	causes  []Cause
	waiting []chan Result
}

// New makes a loop that does nothing before Run.
func New(cfg Config) *Loop { return &Loop{cfg: cfg, wake: make(chan struct{}, 1)} }

// Kick asks for a pass and does not wait.
func (l *Loop) Kick(c Cause) {
	l.mu.Lock()
	if !slices.Contains(l.causes, c) {
		l.causes = append(l.causes, c)
	}
	l.mu.Unlock()
	l.signal()
}

// Sync asks for a pass and waits for the end of one that began after the call.
func (l *Loop) Sync(ctx context.Context) (Result, error) {
	done := make(chan Result, 1)
	l.mu.Lock()
	l.causes = append(l.causes, Cause{Kind: "request"})
	l.waiting = append(l.waiting, done)
	l.mu.Unlock()
	l.signal()
	select {
	case r := <-done:
		return r, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

func (l *Loop) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run makes passes until ctx ends. The first one is made at once.
func (l *Loop) Run(ctx context.Context) error {
	l.Kick(Cause{Kind: "request"})
	retry, next := firstRetry, Cause{Kind: "timer"}
	timer := time.NewTimer(l.cfg.Every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			l.Kick(next)
			<-l.wake
		case <-l.wake:
		}
		causes, waiting := l.take(ctx)
		if len(causes) == 0 {
			continue
		}
		r := l.pass(ctx, causes)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if l.cfg.Report != nil {
			l.cfg.Report(r)
		}
		for _, done := range waiting {
			done <- r
		}
		if l.cfg.After != nil {
			l.cfg.After(r)
		}
		if r.Verified {
			retry, next = firstRetry, Cause{Kind: "timer"}
			timer.Reset(l.cfg.Every)
			continue
		}
		next = Cause{Kind: "retry"}
		timer.Reset(retry)
		retry = min(2*retry, lastRetry)
	}
}

// take empties the list of causes. Where nobody waits for an answer, it lets the changes arrive first that come with the
// one it was told of.
func (l *Loop) take(ctx context.Context) ([]Cause, []chan Result) {
	settled := time.After(l.cfg.Settle)
	for !l.awaited() {
		select {
		case <-l.wake:
			continue
		case <-settled:
		case <-ctx.Done():
		}
		break
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	causes, waiting := l.causes, l.waiting
	l.causes, l.waiting = nil, nil
	return causes, waiting
}

func (l *Loop) awaited() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.causes, func(c Cause) bool { return c.Kind == "request" })
}

func (l *Loop) pass(ctx context.Context, causes []Cause) Result {
	start := l.cfg.Now()
	r := Result{Causes: causes}
	asked := slices.ContainsFunc(causes, func(c Cause) bool { return c.Kind == "request" || c.Kind == "retry" })
	if !asked && l.agrees(ctx) {
		r.Verified, r.Took = true, l.cfg.Now().Sub(start)
		return r
	}
	r.Drift, r.Err = l.cfg.Subsystem.Apply(ctx)
	left, err := l.cfg.Subsystem.Verify(ctx)
	r.Left, r.Err = left, errors.Join(r.Err, err)
	r.Verified = err == nil && len(left) == 0
	r.Took = l.cfg.Now().Sub(start)
	if len(r.Drift) > 0 {
		r.Causes = append(r.Causes, l.culprits(ctx, causes)...)
	}
	return r
}

// agrees reports whether the host is as it is wanted. Where that cannot be told, Apply has to say why.
func (l *Loop) agrees(ctx context.Context) bool {
	changes, err := l.cfg.Subsystem.Plan(ctx)
	return err == nil && len(changes) == 0
}

// culprits waits a moment for word of who changed the host, where the causes of a pass that found drift do not say it, and
// takes it from the causes of the next pass.
func (l *Loop) culprits(ctx context.Context, causes []Cause) []Cause {
	named := func(c Cause) bool { return c.Kind == "drift" && c.By.Program != "" }
	if slices.ContainsFunc(causes, named) {
		return nil
	}
	settled := time.After(l.cfg.Settle)
	for {
		l.mu.Lock()
		var found []Cause
		for _, c := range l.causes {
			if named(c) {
				found = append(found, c)
			}
		}
		l.mu.Unlock()
		if len(found) > 0 {
			return found
		}
		select {
		case <-l.wake:
			defer l.signal() // the pass it announced is still to be made
		case <-settled:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
