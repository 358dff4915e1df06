package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/appkeep"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/reconcile"
	"github.com/platformd/platformd/internal/resolver"
	"github.com/platformd/platformd/internal/worker"
)

// What a name led to is reached for as long as the answer may be kept, and some time more, because programs keep answers longer than
// they should.
const (
	shortestName = 5 * time.Minute
	longestName  = 2 * time.Hour
	nameSlack    = time.Minute
	// maxAppNames is how many addresses an app reaches by name at once.
	maxAppNames = 2048
)

// resolving is the state of the apps' resolver: its sockets, and what it found.
type resolving struct {
	now     func() time.Time
	mu      sync.Mutex
	sockets map[string]worker.ResolverSocket // by network and address
	found   map[string]map[nameKey]time.Time
	told    map[string]time.Time // app and name that were refused
	failed  bool                 // a socket could not be opened: somebody else answers there
}

type nameKey struct {
	addr netip.Addr
	port uint16
}

func newResolving(now func() time.Time) *resolving {
	return &resolving{now: now, sockets: map[string]worker.ResolverSocket{}, found: map[string]map[nameKey]time.Time{}, told: map[string]time.Time{}}
}

// names are the addresses that apps reach by name.
func (r *resolving) names(now time.Time) map[string][]firewall.Admitted {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string][]firewall.Admitted{}
	for app, all := range r.found {
		for k, until := range all {
			if until.After(now) {
				out[app] = append(out[app], firewall.Admitted{Addr: k.addr, Port: k.port, Until: until})
			}
		}
	}
	return out
}

// note remembers what was found. Nothing of it is believed but that it was said.
func (r *resolving) note(f resolver.Found) error {
	special := ranges.Reserved()
	for _, a := range f.Addrs {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || slices.ContainsFunc(special, func(s ranges.Range) bool { return s.Contains(a) }) {
			return fmt.Errorf("resolver: %v is no public address", a)
		}
	}
	now := r.now()
	until := now.Add(min(max(time.Duration(f.TTL)*time.Second, shortestName), longestName) + nameSlack)
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.found[f.App]
	if all == nil {
		all = map[nameKey]time.Time{}
		r.found[f.App] = all
	}
	for k, end := range all {
		if !end.After(now) {
			delete(all, k)
		}
	}
	if len(all)+len(f.Addrs)*len(f.Ports) > maxAppNames {
		return fmt.Errorf("resolver: app %q reaches %d addresses by name already", f.App, len(all))
	}
	for _, a := range f.Addrs {
		for _, p := range f.Ports {
			if k := (nameKey{a, p}); all[k].Before(until) {
				all[k] = until
			}
		}
	}
	return nil
}

// forget leaves only the apps that may reach by name.
func (r *resolving) forget(keep func(app string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for app := range r.found {
		if !keep(app) {
			delete(r.found, app)
		}
	}
}

// news reports whether a refused name is worth telling: once in a while for each.
func (r *resolving) news(app, name string) bool {
	const pause, most = 10 * time.Minute, 1000
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for k, at := range r.told {
		if now.Sub(at) > pause || len(r.told) > most {
			delete(r.told, k)
		}
	}
	key := app + " " + name
	if _, known := r.told[key]; known {
		return false
	}
	r.told[key] = now
	return true
}

// open makes the sockets of all apps, and closes those of apps that are gone. An address need not be there yet.
func (r *resolving) open(c *apps.Config) (out []worker.ResolverSocket, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wanted := map[string]bool{}
	var errs []error
	for i := range c.Apps {
		a := &c.Apps[i]
		v4, v6 := c.Gateways(a)
		for _, at := range []netip.Addr{v4, v6} {
			for _, network := range []string{"udp", "tcp"} {
				to := netip.AddrPortFrom(at, 53)
				key := network + " " + to.String()
				s, there := r.sockets[key]
				if !there {
					f, err := listenAhead(network, to)
					if err != nil {
						errs = append(errs, err)
						continue
					}
					s.Network, s.File = network, f
				}
				s.App = a.Name
				r.sockets[key], wanted[key] = s, true
				out = append(out, s)
			}
		}
	}
	for key, s := range r.sockets {
		if !wanted[key] {
			s.File.Close()
			delete(r.sockets, key)
		}
	}
	r.failed = len(errs) > 0
	return out, errors.Join(errs...)
}

// usable reports whether port 53 of the host's addresses in networks of apps is ours, and may be asked.
func (r *resolving) usable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.failed
}

func (r *resolving) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, s := range r.sockets {
		s.File.Close()
		delete(r.sockets, key)
	}
}

// listenAhead opens a socket on an address that may come later.
func listenAhead(network string, at netip.AddrPort) (*os.File, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctl := c.Control(func(fd uintptr) {
			if at.Addr().Is4() {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
			} else {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			}
		}); ctl != nil {
			return ctl
		}
		return err
	}}
	if network == "udp" {
		c, err := lc.ListenPacket(context.Background(), "udp", at.String())
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.(*net.UDPConn).File()
	}
	l, err := lc.Listen(context.Background(), "tcp", at.String())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.(*net.TCPListener).File()
}

// keepResolver runs the resolver of apps while there are any, anew when what it is to do changes.
func (d *Daemon) keepResolver(ctx context.Context) error {
	changes := d.store.Watch(ctx)
	const look = 30 * time.Second // at the host's name servers
	var running string
	stop, done := func() {}, make(chan struct{})
	close(done)
	defer func() { stop(); <-done }()
	for {
		before := d.resolver.usable()
		job := d.resolverJob()
		if d.resolver.usable() != before {
			d.loop.Kick(reconcile.Cause{Kind: "request"})
		}
		order, err := json.Marshal([]any{job.Upstreams, job.Apps, len(job.Sockets)})
		if err != nil {
			return err
		}
		ended := false
		select {
		case <-done:
			ended = true
		default:
		}
		if string(order) != running || ended {
			stop()
			<-done
			running, done = string(order), make(chan struct{})
			inner, cancel := context.WithCancel(ctx)
			ended := done
			stop = cancel
			go func() {
				defer close(ended)
				defer cancel()
				d.resolve(inner, job)
			}()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-changes:
			if !open {
				return ctx.Err()
			}
		case <-done:
		case <-time.After(look):
		}
	}
}

// resolve runs one resolver until ctx ends or it fails, and then waits a moment.
func (d *Daemon) resolve(ctx context.Context, job worker.ResolverJob) {
	if len(job.Sockets) == 0 || len(job.Upstreams) == 0 {
		<-ctx.Done()
		return
	}
	err := d.lists.pool.Resolve(ctx, job)
	if ctx.Err() != nil {
		return
	}
	d.health.Set(health.Condition{ID: "resolver", Severity: health.Warning, Message: fmt.Sprintf("the resolver of apps ended: %v", err),
		Remedy: "it is started again; platformctl doctor looks at the host"})
	d.log.Error("resolver of apps", "error", err)
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

// resolverJob is what the resolver is to do by the document.
func (d *Daemon) resolverJob() worker.ResolverJob {
	s, _ := d.store.Current()
	job := worker.ResolverJob{Upstreams: nameServers(&s.Apps), Admit: d.admitName, Refused: d.refusedName}
	lists := map[string]bool{}
	for i := range s.Apps.Apps {
		a := &s.Apps.Apps[i]
		g := a.EffectiveEgress()
		app := resolver.App{Name: a.Name, Mode: g.Mode}
		for _, h := range g.Hosts {
			if dest, why := apps.ParseDestination(h); why == "" && dest.Name != "" {
				app.Names = append(app.Names, resolver.Name{Name: dest.Name, Port: dest.Port})
			}
		}
		lists[a.Name] = g.Mode == apps.EgressList
		job.Apps = append(job.Apps, app)
	}
	d.resolver.forget(func(app string) bool { return lists[app] })
	sockets, err := d.resolver.open(&s.Apps)
	job.Sockets = sockets
	switch {
	case err != nil:
		d.health.Set(health.Condition{ID: "resolver", Severity: health.Warning, Message: "apps cannot find names: " + strings.ReplaceAll(err.Error(), "\n", "; "),
			Remedy: "look which program listens on port 53 of every address (ss -lunp 'sport = 53'), and let it listen on its own alone"})
	case len(job.Apps) > 0 && len(job.Upstreams) == 0:
		d.health.Set(health.Condition{ID: "resolver", Severity: health.Warning, Message: "apps cannot find names: the host has no name server",
			Remedy: "name one in /etc/resolv.conf, or in apps.resolvers of the document"})
	default:
		d.health.Clear("resolver")
	}
	return job
}

// admitName lets an app reach what a name of its list led to.
func (d *Daemon) admitName(ctx context.Context, f resolver.Found) error {
	var noted error
	err := d.filter.admit(ctx, func() map[string][]firewall.Admitted {
		noted = d.resolver.note(f)
		return d.resolver.names(d.now())
	})
	if err = errors.Join(noted, err); err != nil {
		d.log.Warn("admit what a name led to", "app", f.App, "error", err)
	}
	return err
}

// refusedName tells of a name that an app asked for and may not.
func (d *Daemon) refusedName(app, name string) {
	if d.resolver.news(app, name) {
		d.apps.Tell(appkeep.Event{App: app, Text: fmt.Sprintf("asked for the name %q, which its egress does not let it have", name)})
	}
}

// nameServers are those of the document, else those of the host.
func nameServers(c *apps.Config) []netip.AddrPort {
	var out []netip.AddrPort
	for _, r := range c.Resolvers {
		if at, err := apps.ParseResolver(r); err == nil {
			out = append(out, at)
		}
	}
	if len(out) > 0 {
		return out
	}
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	defer f.Close()
	const most = 3 // resolv.conf(5), MAXNS
	for lines := bufio.NewScanner(f); lines.Scan() && len(out) < most; {
		if w := strings.Fields(lines.Text()); len(w) > 1 && w[0] == "nameserver" {
			if a, err := netip.ParseAddr(w[1]); err == nil {
				out = append(out, netip.AddrPortFrom(a, 53))
			}
		}
	}
	return out
}
