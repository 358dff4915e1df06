package upstream

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream/h1"
)

// Options are what a Set needs of its surroundings. All may be left out.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
}

// Set holds groups from one configuration to the next. It is safe for concurrent use.
type Set struct {
	log      *slog.Logger
	now      func() time.Time
	checking chan struct{} // bounds the checks that run at once
	ctx      context.Context
	end      context.CancelFunc

	mu     sync.Mutex
	groups map[string]*group
}

// maxChecks is how many health checks run at once.
const maxChecks = 32

// NewSet makes a set without groups.
func NewSet(o Options) *Set {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Set{log: o.Log, now: o.Now, checking: make(chan struct{}, maxChecks), groups: map[string]*group{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// Spec is a group with what its connections depend on.
type Spec struct {
	Group
	Timeouts Timeouts
	// Single says that there is one server, which is asked however it is: a route's own back end.
	Single bool
}

// Plan is the groups of a new configuration, beside those that serve. Nothing has changed until it is applied.
type Plan struct {
	set    *Set
	groups map[string]*group
	specs  map[string]Spec
}

// Plan begins a new configuration.
func (s *Set) Plan() *Plan {
	return &Plan{set: s, groups: map[string]*group{}, specs: map[string]Spec{}}
}

// Add takes a group that was validated. Servers that serve already under the same name are taken over. A name that was added
// before must mean the same.
func (p *Plan) Add(spec Spec) (*Handle, error) {
	if g := p.groups[spec.Name]; g != nil {
		return &Handle{g}, nil
	}
	p.set.mu.Lock()
	old := p.set.groups[spec.Name]
	p.set.mu.Unlock()
	g := &group{conf: spec.Group, timeouts: spec.Timeouts, now: p.set.now, queue: &queue{}}
	if old != nil {
		g.queue = old.queue
	}
	for i := range spec.Servers {
		c := spec.Servers[i]
		srv := old.find(c, spec.Timeouts)
		if srv == nil {
			l, u, err := newLink(&c, spec.Timeouts)
			if err != nil {
				var e field.Errors
				e.Join(field.Index("servers", i), err)
				return nil, e.Err()
			}
			srv = &server{conf: c, url: u, link: l, healthy: true}
		}
		g.announces = g.announces || c.ProxyProtocol != ""
		g.members = append(g.members, &member{server: srv, weight: orInt(c.Weight, 1), backup: c.Backup, drain: c.Drain, key: hashOf(c.URL)})
	}
	g.scratch = make([]candidate, 0, len(g.members))
	if spec.Single && len(g.members) == 1 {
		g.single = g.members[0]
	}
	p.groups[spec.Name], p.specs[spec.Name] = g, spec
	return &Handle{g}, nil
}

// find gives the server that is the same as far as connections and health go.
func (g *group) find(c Server, t Timeouts) *server {
	if g == nil || g.timeouts != t {
		return nil
	}
	for _, m := range g.members {
		if o := m.server.conf; o.URL == c.URL && o.SNIName == c.SNIName && o.CA == c.CA && o.ProxyProtocol == c.ProxyProtocol {
			return m.server
		}
	}
	return nil
}

// Apply puts the plan in the place of what served before: checks begin and end, and servers that are gone are closed when
// their requests are over.
func (p *Plan) Apply() {
	s := p.set
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := map[*server]bool{}
	for name, g := range p.groups {
		for _, m := range g.members {
			kept[m.server] = true
			s.supervise(name, m.server, g.conf.Health)
		}
	}
	for name, g := range s.groups {
		for _, m := range g.members {
			if !kept[m.server] {
				m.server.retire()
			}
		}
		if p.groups[name] != g {
			g.wakeAll()
		}
	}
	s.groups = p.groups
}

// supervise makes the checks of a server those that are wanted.
func (s *Set) supervise(name string, srv *server, h *Health) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if h != nil && srv.stop != nil && same(srv.checks, *h) {
		return
	}
	if srv.stop != nil {
		srv.stop()
		srv.stop = nil
	}
	if h == nil {
		srv.healthy = true // nobody would ever say so again
		return
	}
	var ctx context.Context
	ctx, srv.stop = context.WithCancel(s.ctx)
	srv.checks = *h
	go s.watch(ctx, srv, name, *h)
}

func same(a, b Health) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// retire ends a server that no configuration has any more.
func (s *server) retire() {
	s.mu.Lock()
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	s.mu.Unlock()
	s.link.CloseIdle()
}

// changed lets those who wait for a server of a group look again.
func (s *Set) changed(name string) {
	s.mu.Lock()
	g := s.groups[name]
	s.mu.Unlock()
	if g == nil {
		return
	}
	g.wakeAll()
}

// Close ends all checks and closes idle connections.
func (s *Set) Close() {
	s.end()
	s.Plan().Apply()
}

// Handle is a group, for those who send requests to it.
type Handle struct{ g *group }

// Announces reports whether a server is told who the client is: then announce.With has to say it in the context of Do.
func (h *Handle) Announces() bool { return h.g.announces }

// Do sends a request for a client, and reads the head of the answer.
func (h *Handle) Do(ctx context.Context, r *h1.Request, client netip.Addr) (*h1.Response, error) {
	return h.g.do(ctx, r, client)
}

// Status is how a server is.
type Status struct {
	Group    string `json:"group"`
	URL      string `json:"url"`
	Drain    bool   `json:"drain,omitempty"`
	Healthy  bool   `json:"healthy"`
	Open     bool   `json:"open,omitempty"` // set aside for failures of real requests
	InFlight int64  `json:"in_flight"`
	Requests int64  `json:"requests"`
	Failures int64  `json:"failures"`
	Reason   string `json:"reason,omitempty"` // of the last check that failed
}

// Status says how all servers of groups with a name are.
func (s *Set) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Status
	for name, g := range s.groups {
		if g.single != nil {
			continue
		}
		for _, m := range g.members {
			m.mu.Lock()
			out = append(out, Status{Group: name, URL: m.conf.URL, Drain: m.drain, Healthy: m.healthy, Open: m.breaker.state != closed, InFlight: m.inFlight.Load(),
				Requests: m.requests.Load(), Failures: m.failures.Load(), Reason: m.reason})
			m.mu.Unlock()
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.URL, b.URL)) })
	return out
}
