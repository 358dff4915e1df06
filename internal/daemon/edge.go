package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/host"
	"github.com/platformd/platformd/internal/worker"
	"github.com/platformd/platformd/internal/worker/link"
	"github.com/platformd/platformd/proxy"
)

// edge keeps the proxy worker running on our listening sockets, and tells it what to serve. The sockets stay open here too,
// so that clients wait in them, and are not refused, while one worker takes the place of another.
type edge struct {
	http, https string
	cfg         worker.WebConfig
	current     func() proxy.Config
	lands       func() ranges.Info
	health      *health.Registry
	replaced    func(message string) // writes into the activity log

	wake   chan struct{}
	begun  chan struct{} // closed when a worker was started, or could not be, for the first time
	landed landed

	// Of the goroutine that runs.
	keys   proxy.Keys
	keysAt time.Time
	shared *worker.WebProcess // that has them
	told   told

	mu         sync.Mutex
	sockets    []worker.WebSocket
	streams    []worker.WebSocket
	process    *worker.WebProcess
	tried      *proxy.Config // what the worker was last asked to serve
	said       error         // what it answered
	challenges worker.Challenges
	left       []*worker.WebProcess // that cannot be talked to any more, and may still run
	mourned    time.Time            // when the last was killed
	changed    chan struct{}        // closed and made anew when the worker has answered
}

// Drain times: what a worker that is replaced, or told to end, may take.
var edgeDrain = worker.WebDrain{Idle: 10 * time.Second, Grace: 10 * time.Minute}

func newEdge(cfg Config, web worker.WebConfig, h *health.Registry, current func() proxy.Config, lands func() ranges.Info) *edge {
	return &edge{lands: lands, http: cfg.HTTP, https: cfg.HTTPS, cfg: web, current: current, health: h, wake: make(chan struct{}, 1), begun: make(chan struct{}), changed: make(chan struct{})}
}

// enabled reports whether there is anything to listen on.
func (e *edge) enabled() bool { return e.http != "" || e.https != "" || len(e.current().Streams) > 0 }

// run keeps the worker until ctx ends. The worker goes on after that.
func (e *edge) run(ctx context.Context) error {
	e.adopt(ctx)
	go e.beat(ctx)
	pause := time.Duration(0)
	var begin sync.Once
	for {
		taken := e.listenStreams()
		if !e.enabled() {
			e.rest(ctx)
			begin.Do(func() { close(e.begun) })
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-e.wake:
			}
			continue
		}
		err := e.listen()
		if err == nil {
			err = e.ensure(ctx)
		}
		begin.Do(func() { close(e.begun) })
		var missing error
		if p := e.worker(); err == nil && p != nil {
			err = e.share(ctx, p, time.Now())
		}
		if err == nil {
			if missing = e.bringCountries(ctx); missing != nil {
				e.cfg.Log.Warn("give the proxy country data", "error", missing)
			}
			err = e.bringStreams(ctx)
		}
		if err == nil {
			err = e.apply(ctx)
		}
		if err == nil {
			e.bury()
			err = errors.Join(missing, taken)
		}
		var gone <-chan struct{}
		if p := e.worker(); p != nil {
			gone = p.Gone()
		}
		if err != nil {
			pause = min(max(2*pause, 250*time.Millisecond), 5*time.Second)
		} else {
			pause = time.Hour
		}
		select {
		case <-ctx.Done():
			e.close()
			return ctx.Err()
		case <-gone:
			e.lost()
			pause = 0
		case <-e.wake:
		case <-time.After(pause):
		}
	}
}

// adopt takes over what a daemon before this one has left: the newest worker where it is of our version, its sockets in
// any case.
func (e *edge) adopt(ctx context.Context) {
	found := worker.AdoptWeb(ctx, e.cfg)
	for i, p := range found {
		newest := i == len(found)-1
		if newest {
			e.keepSockets(p.Sockets)
			e.inherit(ctx, p)
		} else {
			for _, s := range p.Sockets {
				s.File.Close()
			}
		}
		if newest && p.Version == e.cfg.Version && e.enabled() && e.fits(p.Sockets) {
			e.mu.Lock()
			e.process = p
			e.mu.Unlock()
			e.told = told{p, socketNames(slices.DeleteFunc(slices.Clone(p.Sockets), func(s worker.WebSocket) bool { return !s.OfStream() }))}
			continue
		}
		// It serves until there is another on the same sockets.
		defer func() {
			if err := p.Drain(ctx, edgeDrain); err != nil {
				e.cfg.Log.Warn("drain the proxy worker that was left", "error", err)
			}
		}()
		if newest && e.enabled() {
			_ = e.listenStreams() // it is tried again
			if err := e.listen(); err == nil {
				if err := e.ensure(ctx); err == nil {
					_ = e.bringCountries(ctx) // both are tried again
					if err := e.share(ctx, e.worker(), time.Now()); err != nil {
						e.cfg.Log.Warn("give the proxy worker its keys", "error", err)
					}
					e.handLimits(ctx, p)
					_ = e.apply(ctx)
					e.handLimits(ctx, p) // what it counted until the next one served
				}
			}
		}
	}
}

// ensure starts a worker where there is none.
func (e *edge) ensure(ctx context.Context) error {
	if e.worker() != nil {
		return nil
	}
	e.mu.Lock()
	sockets, streams := slices.Concat(e.sockets, e.streams), socketNames(e.streams)
	e.mu.Unlock()
	if err := ownFolder(e.cfg.WorkDir, e.cfg.UID, e.cfg.GID); err != nil {
		return fmt.Errorf("make the proxy's folder: %w", err)
	}
	p, err := worker.StartWeb(ctx, e.cfg, sockets)
	if err != nil {
		e.health.Set(health.Condition{ID: "proxy-worker", Severity: health.Critical, Message: err.Error(), Remedy: "it is tried again by itself; the journal says more"})
		return err
	}
	e.health.Clear("proxy-worker")
	e.told = told{p, streams}
	e.mu.Lock()
	e.process, e.tried = p, nil
	challenges := e.challenges
	e.mu.Unlock()
	return p.Challenge(ctx, challenges)
}

// rest ends the worker where there is nothing left to listen on.
func (e *edge) rest(ctx context.Context) {
	p := e.worker()
	if p == nil {
		return
	}
	if err := p.Drain(ctx, edgeDrain); err != nil {
		e.cfg.Log.Warn("drain the proxy worker", "error", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.process = nil
}

// apply tells the worker what to serve. A configuration that it refuses is a condition, and no reason to tell it again.
func (e *edge) apply(ctx context.Context) error {
	c := e.current()
	p := e.worker()
	if p == nil || e.answered(&c) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := p.Configure(ctx, c)
	_, refused := errors.AsType[*link.RemoteError](err)
	if err != nil {
		e.health.Set(health.Condition{ID: "proxy-config", Severity: health.Critical, Message: "the proxy still serves what it did before: " + err.Error(),
			Remedy: "platformctl route list shows the routes; correct or remove the one that is named"})
	} else {
		e.health.Clear("proxy-config")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.said = err; err == nil || refused {
		e.tried, err = &c, nil
	}
	close(e.changed)
	e.changed = make(chan struct{})
	return err
}

// answered reports whether the worker has said something to c.
func (e *edge) answered(c *proxy.Config) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.process != nil && e.tried != nil && reflect.DeepEqual(e.tried, c)
}

// sync waits until the worker serves what is wanted now, or says why not.
func (e *edge) sync(ctx context.Context) error {
	if !e.enabled() {
		return nil
	}
	c := e.current()
	for {
		e.mu.Lock()
		changed, said := e.changed, e.said
		e.mu.Unlock()
		if e.answered(&c) {
			return said
		}
		e.kick()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the proxy does not serve this yet: %w", errors.Join(said, ctx.Err()))
		}
	}
}

func (e *edge) kick() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *edge) worker() *worker.WebProcess {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.process
}

func (e *edge) lost() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = append(e.left, e.process)
	e.process = nil
}

// edgeDir holds what the proxy worker needs on disk.
func edgeDir(dataDir string) string { return filepath.Join(dataDir, "proxy") }

// openEdge makes the edge of this daemon. It starts nothing.
func (d *Daemon) openEdge() error {
	uid, gid := workerUser("platform-proxy")
	dir := edgeDir(d.cfg.DataDir)
	// The worker enters its own folder through a parent that lets anybody pass and nobody look.
	web := worker.WebConfig{UID: uid, GID: gid, RunDir: filepath.Join(dir, "run"), WorkDir: filepath.Join(dir, "work"), Roots: d.cfg.FileRoots, Version: d.cfg.Version,
		Patience: cmp.Or(d.cfg.Patience, time.Minute), Hung: func() { d.edge.mourn() }, Args: []string{"platformd", "worker"}, Log: d.log, Certificate: d.certificate, Logs: d.access.Append, Strike: d.webStrike, Counts: d.counts.samples,
		Seccomp: func() string { s, _ := d.store.Current(); return cmp.Or(s.Proxy.Seccomp, "filter") }}
	if (d.cfg.HTTP != "" || d.cfg.HTTPS != "") && d.cfg.HTTP == d.cfg.HTTPS {
		return fmt.Errorf("--http and --https are both %s; give each its own", d.cfg.HTTP)
	}
	d.edge = newEdge(d.cfg, web, d.health, func() proxy.Config {
		s, _ := d.store.Current()
		return host.Proxy(&s)
	}, d.countryData)
	d.edge.replaced = func(message string) {
		d.record(context.Background(), activity.Record{Actor: "platformd", Source: "local", Action: activity.WorkerReplaced, Object: "proxy", Outcome: activity.OK, Message: message})
	}
	return nil
}

// ownFolder makes a folder for a user.
func ownFolder(path string, uid, gid int) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if uid == 0 {
		return nil
	}
	return os.Chown(path, uid, gid)
}

// keepEdge runs the edge, and tells it of every revision.
func (d *Daemon) keepEdge(ctx context.Context) error {
	go func() {
		for range d.store.Watch(ctx) {
			d.edge.kick()
		}
	}()
	return d.edge.run(ctx)
}
