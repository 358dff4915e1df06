package proxy

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/metrics"
	"github.com/platformd/platformd/proxy/page"
	"github.com/platformd/platformd/proxy/waf"
)

// kinds of back ends.
const (
	backendNone = iota
	backendURL
	backendFiles
	backendRedirect
	backendGroup
)

// kind is what sort of back end a route has, and what it leads to.
func (r *Route) kind() (int, string) {
	scheme, rest, _ := strings.Cut(r.Backend, ":")
	switch scheme {
	case "http", "https", "h2c":
		return backendURL, r.Backend
	case "file":
		return backendFiles, strings.TrimPrefix(rest, "//")
	case "redirect":
		return backendRedirect, rest
	case "upstream":
		return backendGroup, rest
	}
	return backendNone, ""
}

// Table is a Config, ready to serve. It never changes.
type Table struct {
	hosts   map[string]*paths
	streams map[string]*streaming
	routes  []*route
	trusted prefixList
	exempt  prefixList
	readers prefixList // of metrics
	limits  *limits.Rules
	pages   *page.Set
	counts  *metrics.Route // of requests without a route; nil where nothing is counted
	asks    bool           // a host asks clients for certificates
	cfg     Config
}

// paths are the routes of one host.
type paths struct {
	exact  map[string]*route
	prefix map[string]*route // without a slash at the end; "" is the route for everything
	asking *asking           // of clients in their handshake; nil is nothing
	open   bool              // a route of it needs no certificate
}

// route is a Route, ready to serve.
type route struct {
	Route
	key      string
	prefix   string // without a slash at the end
	methods  map[string]bool
	allow    prefixList
	deny     prefixList
	insiders prefixList
	nations  *nations
	clients  *clients // who has to show a certificate; nil is nobody
	limits   *limits.Rules
	counts   *metrics.Route
	waf      waf.Engine
	pages    *page.Set
	maxBody  int64
	security securityHeaders
	setReq   []headerValue
	setResp  []headerValue
	handler  http.Handler
}

// Back makes the handler of a route's back end. It is called once for each route of a table.
type Back func(*Route) (http.Handler, error)

// defaults of Route.
const (
	defaultMaxBody   = 100 << 20
	defaultMaxHeader = 32 << 10
	maxHead          = 1 << 20
)

// Compile makes a table. Every mistake is reported at once, also those that only a back end finds.
func Compile(c Config, back Back) (*Table, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	t := &Table{hosts: map[string]*paths{}, cfg: c, trusted: parsePrefixes(c.Trusted), exempt: parsePrefixes(c.Exempt), readers: parsePrefixes(c.Metrics.Allow)}
	var e field.Errors
	for i := range c.Routes {
		r := &route{Route: c.Routes[i]}
		r.compile()
		h, err := back(&r.Route)
		if err != nil {
			e.Join(field.Index("routes", i), err)
			continue
		}
		r.handler = h
		t.routes = append(t.routes, r)
		p := t.hosts[r.Host]
		if p == nil {
			p = &paths{exact: map[string]*route{}, prefix: map[string]*route{}}
			t.hosts[r.Host] = p
		}
		if r.Exact {
			p.exact[r.path()] = r
		} else {
			p.prefix[r.prefix] = r
		}
	}
	t.ask()
	return t, e.Err()
}

func (r *route) compile() {
	r.key = r.Key()
	r.prefix = strings.TrimSuffix(r.path(), "/")
	r.allow, r.deny, r.insiders = parsePrefixes(r.Allow), parsePrefixes(r.Deny), parsePrefixes(r.MaintenanceAllow)
	r.clients = r.ClientAuth.compile()
	r.nations = r.Countries.compile()
	if len(r.Methods) > 0 {
		r.methods = map[string]bool{}
		for _, m := range r.Methods {
			r.methods[m] = true
		}
	}
	r.maxBody = r.MaxBody
	if r.maxBody == 0 {
		r.maxBody = defaultMaxBody
	}
	if r.MaxHeader == 0 {
		r.MaxHeader = defaultMaxHeader
	}
	r.security = r.Security.compile()
	r.setReq, r.setResp = compileHeaders(r.RequestHeaders.Set), compileHeaders(r.ResponseHeaders.Set)
	r.RequestHeaders.Remove, r.ResponseHeaders.Remove = canonical(r.RequestHeaders.Remove), canonical(r.ResponseHeaders.Remove)
}

// rest is what is left of a path behind the route's own.
func (r *route) rest(path string) string {
	if r.Exact {
		return ""
	}
	return path[len(r.prefix):]
}

// find gives the route for a host and a path, both in their normal form; nil where there is none.
func (t *Table) find(host, path string) *route {
	for _, name := range [...]string{host, parent(host), ""} {
		if p := t.hosts[name]; p != nil {
			if r := p.find(path); r != nil {
				return r
			}
			if name != "" {
				return nil // a host that is known answers for itself
			}
		}
	}
	return nil
}

func (p *paths) find(path string) *route {
	if r := p.exact[path]; r != nil {
		return r
	}
	for {
		if r := p.prefix[path]; r != nil {
			return r
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return nil
		}
		path = path[:i]
	}
}

// prefixList answers whether an address is in any of its prefixes.
type prefixList []netip.Prefix

func (l prefixList) has(a netip.Addr) bool {
	return slices.ContainsFunc(l, func(p netip.Prefix) bool { return p.Contains(a) })
}

// parsePrefixes reads what was validated.
func parsePrefixes(in []string) prefixList {
	var out prefixList
	for _, s := range in {
		if p, err := parsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func canonical(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = http.CanonicalHeaderKey(n)
	}
	return out
}

// backendTarget is the URL of a back end that was validated.
func (r *Route) backendTarget() (*url.URL, error) {
	u, err := url.Parse(r.Backend)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	return u, nil
}
