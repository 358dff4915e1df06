package proxy

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/header"
	"github.com/platformd/platformd/proxy/page"
	"github.com/platformd/platformd/proxy/static"
	"github.com/platformd/platformd/proxy/upstream"
)

// MaxRoutes bounds a Config.
const MaxRoutes = 10_000

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var e field.Errors
	if len(c.Routes) > MaxRoutes {
		e.Add("routes", "%d are too many; at most %d", len(c.Routes), MaxRoutes)
	}
	e.Join("upstreams", upstream.Validate(c.Upstreams))
	seen := map[string]int{}
	for i := range c.Routes {
		r := &c.Routes[i]
		at := field.Index("routes", i)
		e.Join(at, r.Validate())
		if j, twice := seen[r.Key()]; twice {
			e.Add(at, "%q is also routes[%d]; remove one of them", r.Key(), j)
		}
		seen[r.Key()] = i
		if kind, name := r.kind(); kind == backendGroup && !slices.ContainsFunc(c.Upstreams, func(g upstream.Group) bool { return g.Name == name }) {
			e.Add(at+".backend", "there is no upstream %q; add it to upstreams, or correct the name", name)
		}
	}
	c.validateStreams(&e)
	c.validateStores(&e)
	e.Join("pages", c.Pages.Validate())
	c.validateClients(&e)
	prefixes(&e, "trusted_proxies", c.Trusted)
	if c.ProxyProtocol && len(c.Trusted) == 0 {
		e.Add("proxy_protocol", "needs trusted_proxies: without them anybody could claim any address")
	}
	oneOf(&e, "http3", c.HTTP3)
	oneOf(&e, "log_query", c.LogQuery)
	if !slices.Contains([]string{"", "filter", "log", "strict", "off"}, c.Seccomp) {
		e.Add("seccomp", "%q must be filter, log, strict or off", c.Seccomp)
	}
	c.Timeouts.validate(&e)
	c.Metrics.validate(&e)
	if c.MaxConnections < 0 || c.MaxConnections > 1_000_000 {
		e.Add("max_connections", "%d must be between 0 and 1000000", c.MaxConnections)
	}
	prefixes(&e, "exempt", c.Exempt)
	e.Join("limits", c.Limits.Validate())
	if !httpguts.ValidHeaderFieldValue(c.ServerHeader) {
		e.Add("server_header", "has a control character in it")
	}
	return e.Err()
}

func (c *Config) validateStores(e *field.Errors) {
	for name, s := range c.CacheStores {
		at := field.Key("cache_stores", name)
		if name == "" || len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			e.Add(at, "the name of a store has 1 to 32 lower-case letters, digits and dashes")
		}
		if s.Dir != "" {
			e.Add(at+".dir", "is chosen by the proxy; leave it out")
		}
		if s.DiskBytes > 0 {
			s.Dir = "/chosen"
		}
		e.Join(at, s.Validate())
	}
	for i := range c.Routes {
		if k := c.Routes[i].Cache; k != nil && k.Store != "" && !slices.Contains(c.storeNames(), k.Store) {
			e.Add(field.Index("routes", i)+".cache.store", "there is no store %q; write one of %s, or add it to cache_stores", k.Store, strings.Join(c.storeNames(), ", "))
		}
	}
}

func (t Timeout) validate(e *field.Errors) {
	for _, f := range []struct {
		name string
		d    field.Duration
	}{{"header", t.Header}, {"idle", t.Idle}, {"stall", t.Stall}} {
		duration(e, "timeouts."+f.name, f.d)
	}
}

func duration(e *field.Errors, at string, d field.Duration) {
	if t := time.Duration(d); t != 0 && (t < time.Second || t > 24*time.Hour) {
		e.Add(at, "%v must be between 1s and 24h", t)
	}
}

func oneOf(e *field.Errors, at string, s Switch) {
	if s != "" && s != On && s != Off {
		e.Add(at, "%q must be on or off", string(s))
	}
}

// Validate says everything that is wrong with r.
func (r *Route) Validate() error {
	var e field.Errors
	if err := checkHost(r.Host); err != "" {
		e.Add("host", "%q %s", r.Host, err)
	}
	if p, err := normalPath(r.path()); err != nil {
		e.Add("path", "%q: %v; write for example /shop", r.Path, err)
	} else if p != r.path() {
		e.Add("path", "%q: write it as %q", r.Path, p)
	}
	r.validateBackend(&e)
	for i, m := range r.Methods {
		if !httpguts.ValidHeaderFieldName(m) || m != strings.ToUpper(m) {
			e.Add(field.Index("methods", i), "%q is not a method; write for example GET", m)
		}
	}
	prefixes(&e, "allow", r.Allow)
	prefixes(&e, "deny", r.Deny)
	e.Join("limits", r.Limits.Validate())
	if r.Countries != nil {
		e.Join("countries", r.Countries.Validate())
	}
	if r.Auth != nil {
		e.Join("auth", r.Auth.Validate())
	}
	if r.ClientAuth != nil {
		e.Join("client_auth", r.ClientAuth.Validate())
	}
	if r.WAF != nil {
		e.Join("waf", r.WAF.Validate())
	}
	e.Join("pages", r.Pages.Validate())
	for i, s := range r.Intercept {
		if !page.IsStatus(s) {
			e.Add(field.Index("intercept", i), "%q must be a status from 400 to 599, 4xx or 5xx", s)
		}
	}
	if kind, _ := r.kind(); len(r.Intercept) > 0 && kind != backendURL && kind != backendGroup {
		e.Add("intercept", "is for answers of back ends, and what %q answers is the proxy's own", r.Backend)
	}
	prefixes(&e, "maintenance_allow", r.MaintenanceAllow)
	if r.MaxBody < 0 {
		e.Add("max_body", "%d must not be negative; leave it out for 100 MiB", r.MaxBody)
	}
	if r.MaxHeader < 0 || r.MaxHeader > maxHead {
		e.Add("max_header", "%d must be between 0 and %d bytes", r.MaxHeader, maxHead)
	}
	r.RequestHeaders.validate(&e, "request_headers")
	r.ResponseHeaders.validate(&e, "response_headers")
	r.Security.validate(&e)
	duration(&e, "backend_timeouts.connect", r.BackendTimeouts.Connect)
	duration(&e, "backend_timeouts.answer", r.BackendTimeouts.Answer)
	duration(&e, "backend_timeouts.stall", r.BackendTimeouts.Stall)
	oneOf(&e, "preserve_host", r.PreserveHost)
	return e.Err()
}

func checkHost(h string) string {
	if h == "" {
		return ""
	}
	name := strings.TrimPrefix(h, "*.")
	n, err := normalHost(name)
	switch {
	case strings.Contains(h, ":") && !strings.HasPrefix(h, "["):
		return "has a port in it; a route is for every port that the proxy listens on"
	case err != nil:
		return "is not a host name; write for example app.example.org or *.example.org"
	case n != name:
		return fmt.Sprintf("must be written %q", strings.TrimSuffix(h, name)+n)
	}
	return ""
}

// redirectStatuses are those that a browser follows with a new address (RFC 9110, section 15.4).
var redirectStatuses = []int{0, http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

func (r *Route) validateBackend(e *field.Errors) {
	kind, target := r.kind()
	switch kind {
	case backendURL:
		u, err := url.Parse(r.Backend)
		switch {
		case err != nil || u.Host == "" || u.Opaque != "":
			e.Add("backend", "%q is not a URL; write for example http://127.0.0.1:8080", r.Backend)
		case u.User != nil:
			e.Add("backend", "%q holds a password; set request_headers Authorization instead", u.Redacted())
		case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
			e.Add("backend", "%q has a query or fragment; leave it out, the request's own is sent", r.Backend)
		case !isPort(u.Port(), true):
			e.Add("backend", "%q: bad port", r.Backend)
		}
		if err == nil && u.Scheme != "https" && (r.SNIName != "" || r.CA != "") {
			e.Add("sni_name", "is for https back ends, and %q is none; the same goes for ca", r.Backend)
		}
	case backendFiles:
		if !filepath.IsAbs(target) || filepath.Clean(target) != strings.TrimSuffix(target, "/") && target != "/" {
			e.Add("backend", "%q: write an absolute path without dot segments, for example file:///srv/www", r.Backend)
			break
		}
		if r.Static.Root != "" {
			e.Add("static.root", "is that of the back end; leave it out")
		}
		c := r.Static
		c.Root = target
		e.Join("static", c.Validate())
	case backendRedirect:
		u, err := url.Parse(strings.NewReplacer("$request_uri", "", "$path", "").Replace(target))
		if err != nil || target == "" || u.Scheme != "" && u.Scheme != "https" && u.Scheme != "http" || u.Scheme == "" && !strings.HasPrefix(target, "/") {
			e.Add("backend", "%q: write a target, for example redirect:https://www.example.org$request_uri", r.Backend)
		}
		if !slices.Contains(redirectStatuses, r.Redirect.Status) {
			e.Add("redirect.status", "%d must be 301, 302, 303, 307 or 308", r.Redirect.Status)
		}
	case backendGroup:
		if r.ProxyProtocol != "" {
			e.Add("proxy_protocol", "belongs to the servers of %q, and is set there", r.Backend)
		}
		if r.SNIName != "" || r.CA != "" {
			e.Add("sni_name", "belongs to the servers of %q, and is set there; the same goes for ca", r.Backend)
		}
		if r.BackendTimeouts != (BackendTimeout{}) {
			e.Add("backend_timeouts", "are those of %q, and are set there as timeouts", r.Backend)
		}
	default:
		e.Add("backend", "%q is not one of http://, https://, h2c://, upstream:, file:/// and redirect:", r.Backend)
	}
	if kind == backendURL {
		e.Join("", upstream.ValidateAnnouncement(r.ProxyProtocol, false))
	} else if kind != backendGroup && r.ProxyProtocol != "" {
		e.Add("proxy_protocol", "is for http, https and h2c back ends, and %q is none", r.Backend)
	}
	if kind != backendFiles && !reflect.DeepEqual(r.Static, static.Config{}) {
		e.Add("static", "is for file: back ends, and %q is none", r.Backend)
	}
	if r.Cache != nil && r.Auth != nil {
		e.Add("cache", "does not go with auth: what is stored for one user would be shown to another; leave one of them out")
	}
	if r.Cache != nil {
		e.Join("cache", r.Cache.Validate())
	}
	if r.Buffer != nil {
		e.Join("buffer", r.Buffer.Validate())
	}
	if r.Compress != nil {
		e.Join("compress", r.Compress.Validate())
	}
	if kind != backendRedirect && r.Redirect != (Redirect{}) {
		e.Add("redirect", "is for redirect: back ends, and %q is none", r.Backend)
	}
}

func (h *HeaderEdit) validate(e *field.Errors, at string) {
	for name, value := range h.Set {
		if !httpguts.ValidHeaderFieldName(name) {
			e.Add(field.Key(at+".set", name), "%q is not a header name", name)
		} else if header.HopByHop(http.CanonicalHeaderKey(name)) || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Host") {
			e.Add(field.Key(at+".set", name), "%s belongs to the connection and cannot be set", name)
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			e.Add(field.Key(at+".set", name), "has a control character in its value")
		}
	}
	for i, name := range h.Remove {
		if !httpguts.ValidHeaderFieldName(name) {
			e.Add(field.Index(at+".remove", i), "%q is not a header name", name)
		}
	}
}

func (s *Security) validate(e *field.Errors) {
	if s.HSTS < -1 {
		e.Add("security.hsts", "%d must be a number of seconds, or -1 for none", s.HSTS)
	}
	for _, h := range s.headers() {
		if !httpguts.ValidHeaderFieldValue(h.value) {
			e.Add("security", "%s: %q has a control character in it", h.name, h.value)
		}
	}
	oneOf(e, "security.cookies_secure", s.CookiesSecure)
}

func prefixes(e *field.Errors, at string, list []string) {
	for i, s := range list {
		if _, err := parsePrefix(s); err != nil {
			e.Add(field.Index(at, i), "%q is not an address or CIDR; write for example 192.0.2.0/24 or 2001:db8::/32", s)
		}
	}
}

// parsePrefix reads an address or CIDR; the bits behind the prefix are cleared.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}
