// Package daemon is platformd: it opens the stores, runs the reconcile loop and the parts around it, and answers the API.
//
// The story of one wish. A request reaches Change with an edit. The edit is made on a copy of the document; the result is
// validated, compiled, and held against the lock-out guard. It is stored as a revision, provisionally where the guard says
// so. The reconcile loop puts what it means into the kernel and reads it back. Open connections of blocked addresses are
// ended. A record in the activity log says who asked, what changed, and whether the kernel agrees. Only then does the
// caller get an answer.
//
// This is one of two composition roots: it alone knows which drivers there are. It parses nothing that comes from the
// internet; that is done by a process without privileges.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/conntrack"
	"github.com/platformd/platformd/internal/accesslog"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/doctor/probe"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/host"
	"github.com/platformd/platformd/internal/reconcile"
	"github.com/platformd/platformd/internal/sqlite"
	"github.com/platformd/platformd/internal/state"
)

// Config is what a daemon needs of its surroundings.
type Config struct {
	// DataDir holds everything that must survive; it is made if it is not there.
	DataDir string
	// Socket is where the API listens.
	Socket string
	// Driver overrides the firewall driver of the document; empty does not.
	Driver  string
	Drivers Drivers
	Version string
	Log     *slog.Logger
	Now     func() time.Time
	// First is the document of a host that has none yet; nil is state.Default with the ports that sshd listens on.
	First func() state.State
	// StartGuard starts a process outside of the daemon that calls TakeWayBack and gives up some time after until. Nil
	// leaves reverting to the daemon alone.
	StartGuard func(dataDir string, until time.Time) error
	// Worker is the command line of the unprivileged worker for what comes from outside.
	Worker []string
	// WorkerUser is its user; empty is "platform-outbound", or nobody where there is no such user.
	WorkerUser string
	// AuthLog is a file in which sshd writes, beside the journal; empty is /var/log/auth.log where it exists.
	AuthLog string
	// HTTP and HTTPS are the addresses that the proxy listens on, as "host:port"; empty ones are not listened on. HTTP/3 has
	// the address of HTTPS.
	HTTP, HTTPS string
	// Patience is how long a worker of the proxy may not answer before another takes its place; 0 is a minute.
	Patience time.Duration
	// FileRoots are the folders below which the proxy may serve files.
	FileRoots []string
	// DockerHost is the container engine, as DOCKER_HOST; empty is that of Docker.
	DockerHost string
	// Credentials is systemd's folder of credentials, or empty.
	Credentials string
}

// Daemon implements api.Host.
type Daemon struct {
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	store    *state.Store
	activity *activity.Log
	health   *health.Registry
	filter   *packetFilter
	loop     *reconcile.Loop
	loopRuns atomic.Bool
	lists    *lists
	bans     *banBook
	certs    *certBook
	drops    *drops
	sshd     sshdWatch
	probes   *probes
	edge     *edge
	apps     *appBook
	resolver *resolving
	access   *accesslog.Log
	counts   *counts
	tallies  tallies

	changes   sync.Mutex // one change at a time
	guardWake chan struct{}
	own       atomic.Pointer[[]netip.Addr]
	savedSum  [32]byte // of the ruleset in last-good.json; owned by the loop's goroutine
	drifted   bool     // drift is on record, and its repair is not; the same
}

// New opens the stores and honours what waits in them. It starts nothing and does not touch the kernel.
func New(ctx context.Context, cfg Config) (*Daemon, error) {
	d := &Daemon{cfg: cfg, log: cfg.Log, now: cfg.Now, started: cfg.Now(), health: health.New(cfg.Now), guardWake: make(chan struct{}, 1), probes: &probes{now: cfg.Now}}
	for _, dir := range []string{cfg.DataDir, setsDir(cfg.DataDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
	}
	if err := probe.RemoveLeftover(); err != nil {
		d.log.Warn("remove the leftover of a probe", "error", err)
	}
	if err := d.readAddresses(); err != nil {
		return nil, err
	}
	if err := d.openStores(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.filter = &packetFilter{drivers: cfg.Drivers, desired: d.compile, now: cfg.Now, cut: conntrack.Cut}
	d.loop = reconcile.New(reconcile.Config{Subsystem: d.filter, Every: time.Minute, Settle: 100 * time.Millisecond, Report: d.report, After: d.saveLastGood, Now: cfg.Now})
	d.counts = &counts{d: d}
	if err := d.openEdge(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.revertExpired(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("revert an unconfirmed change: %w", err), d.Close())
	}
	s, _ := d.store.Current()
	if err := d.lists.prepare(ctx, &s.Firewall); err != nil {
		d.health.Set(health.Condition{ID: "lists", Severity: health.Warning, Message: err.Error(), Remedy: "platformctl feeds update; platformctl geo update"})
	}
	return d, nil
}

// openStores opens what is on disk. A damaged database is moved aside: the host must be protected all the same.
func (d *Daemon) openStores(ctx context.Context) error {
	path := filepath.Join(d.cfg.DataDir, "state.db")
	cfg := state.Config{Clock: d.now, Logger: d.log, First: d.cfg.First}
	if cfg.First == nil {
		cfg.First = func() state.State { return firstState("/proc") }
	}
	var corrupt *sqlite.CorruptError
	store, err := state.Open(ctx, path, cfg)
	if errors.As(err, &corrupt) {
		aside, moveErr := state.Recover(path, d.now())
		if moveErr != nil {
			return errors.Join(err, moveErr)
		}
		d.health.Set(health.Condition{ID: "state-recovered", Severity: health.Warning,
			Message: fmt.Sprintf("the database was damaged and is now %s; the document was taken from %s, older revisions are gone", aside, state.ExportPath(path)),
			Remedy:  "look at platformctl export, and at the disk"})
		store, err = state.Open(ctx, path, cfg)
	}
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	d.store = store
	if d.activity, err = d.openActivity(ctx); err != nil {
		return fmt.Errorf("open activity log: %w", err)
	}
	if d.lists, err = d.openLists(); err != nil {
		return err
	}
	if d.bans, err = d.openBans(ctx); err != nil {
		return fmt.Errorf("open bans: %w", err)
	}
	if d.certs, err = d.openCerts(ctx); err != nil {
		return fmt.Errorf("open certificates: %w", err)
	}
	if d.apps, err = d.openApps(ctx); err != nil {
		return fmt.Errorf("open apps: %w", err)
	}
	d.resolver = newResolving(d.now)
	d.drops = newDrops()
	d.access, err = accesslog.Open(filepath.Join(d.cfg.DataDir, "logs"), accesslog.Config{})
	return err
}

// Close closes the stores. The kernel's rules stay as they are.
func (d *Daemon) Close() error {
	var errs []error
	if d.access != nil {
		errs = append(errs, d.access.Close())
	}
	if d.apps != nil {
		errs = append(errs, d.apps.Close())
	}
	if d.resolver != nil {
		d.resolver.close()
	}
	if d.certs != nil {
		errs = append(errs, d.certs.store.Close())
	}
	if d.bans != nil {
		errs = append(errs, d.bans.Close())
	}
	if d.activity != nil {
		errs = append(errs, d.activity.Close())
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	return errors.Join(errs...)
}

// Run keeps the host as it should be and answers the API until ctx ends.
func (d *Daemon) Run(ctx context.Context) error {
	listener, err := listen(d.cfg.Socket)
	if err != nil {
		return err
	}
	d.record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.DaemonStarted, Object: "platformd", Outcome: activity.OK, Message: "version " + d.cfg.Version})
	g, ctx := errgroup.WithContext(ctx)
	d.loopRuns.Store(true)
	g.Go(func() error { return d.loop.Run(ctx) })
	g.Go(func() error { return d.watchGuard(ctx) })
	g.Go(func() error { return d.watchKernel(ctx) })
	g.Go(func() error { return d.watchAddresses(ctx) })
	g.Go(func() error { return d.keepLists(ctx) })
	g.Go(func() error { return d.keepBans(ctx) })
	g.Go(func() error { return d.keepCerts(ctx) })
	g.Go(func() error { return d.readDrops(ctx) })
	g.Go(func() error { return d.keepEdge(ctx) })
	g.Go(func() error { return d.keepApps(ctx) })
	g.Go(func() error { return d.keepBridgesFiltered(ctx) })
	g.Go(func() error { return d.keepResolver(ctx) })
	g.Go(func() error { return d.housekeep(ctx) })
	g.Go(func() error {
		return api.Serve(ctx, listener, d, api.ServerConfig{Log: d.log, Version: d.cfg.Version, Asker: d.source, Now: d.now})
	})
	g.Go(func() error {
		// After the first pass, whatever came of it: a policy that is not in force yet is a condition, and is tried again.
		if _, err := d.loop.Sync(ctx); err == nil {
			_, _ = sdnotify.SdNotify(false, sdnotify.SdNotifyReady)
		}
		return nil
	})
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	d.record(stop, activity.Record{Actor: "platformd", Source: "local", Action: activity.DaemonStopped, Object: "platformd", Outcome: activity.OK})
	return err
}

// listen makes the socket for root and the group of the folder; a socket that nobody answers on is a leftover.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make socket folder: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("listen on %s: another platformd answers there; stop it first, or choose another --socket", path)
	}
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	mode, gid := os.FileMode(0o600), groupID("platform")
	if gid >= 0 {
		mode = 0o660
		if err := os.Chown(path, 0, gid); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// facts are what the meaning of a policy depends on, at this moment.
func (d *Daemon) facts(p *firewall.Policy) host.Facts {
	feeds, geo := d.lists.sets(p)
	return host.Facts{Now: d.now(), OwnAddresses: d.addresses(), Bans: d.bans.timed(), Feeds: feeds, Geo: geo, QUIC: portOf(d.cfg.HTTPS),
		Resolver: d.resolver.usable(), Names: d.resolver.names(d.now())}
}

// portOf is the port of an address, 0 where there is none.
func portOf(addr string) uint16 {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}

// watchKernel makes the loop look when another program changed the kernel's tables.
func (d *Daemon) watchKernel(ctx context.Context) error {
	for ctx.Err() == nil {
		pause := 50 * time.Millisecond // until the first pass has chosen a driver
		w, ok := d.filter.current().(firewall.Watcher)
		if d.filter.current() != nil {
			pause = time.Second
		}
		if ok {
			err := w.Watch(ctx, func(by firewall.ChangedBy) { d.loop.Kick(reconcile.Cause{Kind: "drift", By: by}) })
			if ctx.Err() != nil {
				break
			}
			d.log.Warn("watch the kernel's tables", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return ctx.Err()
}
