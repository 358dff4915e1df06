package proxy

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream"
)

// backends makes the handlers of routes, and keeps their connections from one table to the next.
type backends struct {
	roots []string
	set   *upstream.Set
}

func newBackends(roots []string, log *slog.Logger) *backends {
	return &backends{roots: roots, set: upstream.NewSet(upstream.Options{Log: log})}
}

// plan is the back ends of a table that does not serve yet.
type plan struct {
	*backends
	next   *upstream.Plan
	groups map[string]*upstream.Handle
}

// plan begins with the groups of a configuration that was validated; what is wrong with them otherwise comes with the routes.
func (b *backends) plan(c Config) (*plan, error) {
	p := &plan{backends: b, next: b.set.Plan(), groups: map[string]*upstream.Handle{}}
	var e field.Errors
	for i := range c.Upstreams {
		g := &c.Upstreams[i]
		if _, twice := p.groups[g.Name]; twice || g.Validate() != nil {
			continue // Compile says so
		}
		h, err := p.next.Add(upstream.Spec{Group: *g, Timeouts: g.Timeouts.Durations()})
		e.Join(field.Index("upstreams", i), err)
		p.groups[g.Name] = h
	}
	return p, e.Err()
}

// handler implements Back.
func (p *plan) handler(r *Route) (http.Handler, error) {
	kind, target := r.kind()
	f := &forwarder{keepHost: r.PreserveHost != Off}
	switch kind {
	case backendRedirect:
		return redirector(r, target), nil
	case backendFiles:
		return p.files(r, target)
	case backendGroup:
		if f.group = p.groups[target]; f.group == nil {
			return nil, fmt.Errorf("backend: there is no upstream %q", target)
		}
		return f, nil
	}
	u, err := r.backendTarget()
	if err != nil {
		return nil, err
	}
	f.base = u.EscapedPath()
	s := upstream.Server{URL: u.Scheme + "://" + u.Host, SNIName: r.SNIName, CA: r.CA, ProxyProtocol: r.ProxyProtocol}
	t := upstream.Timeouts{Connect: time.Duration(r.BackendTimeouts.Connect), Answer: time.Duration(r.BackendTimeouts.Answer), Stall: time.Duration(r.BackendTimeouts.Stall)}
	// The name holds all that the connections depend on, and is none that a group can have.
	name := fmt.Sprint("=", s, t)
	f.group, err = p.next.Add(upstream.Spec{Group: upstream.Group{Name: name, Servers: []upstream.Server{s}}, Timeouts: t, Single: true})
	return f, err
}
