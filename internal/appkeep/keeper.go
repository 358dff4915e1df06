// Package appkeep keeps the apps of a host as the document says: it makes what is missing, starts what should run, brings
// updates to their end or takes them back, and says how each app is.
//
// The model in words. A pass lists what the engine holds, once, and compares it with what the document means
// (apps.Compile, apps.Diff). An app with something to do gets a worker of its own, so that one that takes long delays no
// other; at most one works on an app. Passes are made when the document changed, when the engine says that something
// happened, when a worker is done, and after a while in any case.
//
// An update is a Version called Next in the document. Its worker stops the current version, copies its data, starts the
// next one on the copy, and waits until it is healthy; then the document makes it the current one, in one revision. When it
// does not become healthy, Next is taken out of the document, and the current version is started on its own data, which
// nobody has touched. A daemon that was killed meanwhile begins the update anew. So there is always one whole version.
//
// Whoever waits follows the events of an app (Follow). The package knows no Docker, and decides nothing about the host's
// other parts; what it writes into the document goes through the same gate as everything else.
package appkeep

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/health"
)

// Engine is what the keeper needs beyond apps.Engine.
type Engine interface {
	apps.Engine
	// Watch calls changed for what happens to containers of ours, until ctx or the engine ends.
	Watch(ctx context.Context, changed func(app, event string)) error
	// Ended says how a container ended: its exit code, and whether the kernel killed it for want of memory.
	Ended(ctx context.Context, name string) (code int, oom bool, err error)
	// Logs copies the last lines that a container wrote, and with follow those that come.
	Logs(ctx context.Context, name string, tail int, follow bool, out io.Writer) error
	// Usage is what a container used since it was started.
	Usage(ctx context.Context, name string) (apps.Usage, error)
}

// Profiles puts AppArmor profiles into the kernel. Load replaces; removing what is not there is no error.
type Profiles interface {
	Load(ctx context.Context, a *apps.App) error
	Remove(ctx context.Context, app string) error
}

// Config of a Keeper.
type Config struct {
	Engine Engine
	// Profiles is nil on a kernel without AppArmor.
	Profiles Profiles
	// Folder holds the data of all apps.
	Folder string
	// Current is what the document says of apps.
	Current func() apps.Config
	// Settle makes a change of the document that ends an update, and returns when the host agrees.
	Settle func(ctx context.Context, action activity.Action, app, summary string, edit func(*apps.Config) error) error
	// Secret is a value that was generated for an app; the same each time.
	Secret func(ctx context.Context, app, name string) (string, error)
	// Ready returns when what keeps an app apart from others is in force; no network is made and no container started before.
	// Nil is at once.
	Ready func(ctx context.Context, app string) error
	// Shift is what the engine adds to user and group numbers (userns-remap).
	Shift  int
	Record func(ctx context.Context, r activity.Record)
	Health *health.Registry
	Now    func() time.Time
	Log    *slog.Logger
	// Every is the pause between passes that nobody asked for, Poll that between looks at an app that starts, and Drain how
	// long the old version stays after an update without a pause. Zero values are 30s, 200ms and 10s.
	Every, Poll, Drain time.Duration
}

// Keeper keeps the apps. Its methods are safe for concurrent use.
type Keeper struct {
	cfg  Config
	wake chan struct{}
	// listen wakes watch, which has nothing to listen for while there are no apps.
	listen chan struct{}
	// measure wakes sample likewise.
	measure chan struct{}
	news    *news

	mu    sync.Mutex
	apps  map[string]*book
	ready bool // the engine answered in the last pass
	err   error
}

// New makes a keeper that does nothing before Run.
func New(cfg Config) *Keeper {
	for d, v := range map[*time.Duration]time.Duration{&cfg.Every: 30 * time.Second, &cfg.Poll: 200 * time.Millisecond, &cfg.Drain: 10 * time.Second} {
		if *d == 0 {
			*d = v
		}
	}
	return &Keeper{cfg: cfg, wake: make(chan struct{}, 1), listen: make(chan struct{}, 1), measure: make(chan struct{}, 1), news: newNews(cfg.Now), apps: map[string]*book{}}
}

// Wake asks for a pass.
func (k *Keeper) Wake() {
	for _, c := range []chan struct{}{k.wake, k.listen, k.measure} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Run makes passes until ctx ends. Then it waits for its workers, which leave containers as they are.
func (k *Keeper) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	workers.Go(func() { k.watch(ctx) })
	workers.Go(func() { k.sample(ctx) })
	for {
		k.pass(ctx, &workers)
		var later <-chan time.Time
		if c := k.cfg.Current(); len(c.Apps) > 0 {
			later = time.After(k.soon())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-k.wake:
		case <-later:
		}
	}
}

// watch listens to the engine, and listens again when it was gone.
func (k *Keeper) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if c := k.cfg.Current(); len(c.Apps) == 0 {
			select {
			case <-ctx.Done():
			case <-k.listen:
			}
			continue
		}
		err := k.cfg.Engine.Watch(ctx, func(string, string) { k.Wake() })
		k.Wake()
		if ctx.Err() == nil {
			k.cfg.Log.Debug("watch the container engine", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

// soon is when the next container may be started again after it ended, or the next health check is due.
func (k *Keeper) soon() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, now := k.cfg.Every, k.cfg.Now()
	for _, b := range k.apps {
		for _, t := range []time.Time{b.startAt, b.checkAt} {
			if !b.busy && t.After(now) {
				next = min(next, t.Sub(now))
			}
		}
	}
	return next
}
