package proxy

import (
	"slices"
	"strings"

	"github.com/platformd/platformd/proxy/buffer"
	"github.com/platformd/platformd/proxy/cache"
	"github.com/platformd/platformd/proxy/compress"
	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/page"
	"github.com/platformd/platformd/proxy/static"
	"github.com/platformd/platformd/proxy/upstream"
	"github.com/platformd/platformd/proxy/waf"
)

// Config is what the document says of the proxy. The zero value has no route, and answers every request with 404.
type Config struct {
	Routes []Route `json:"routes,omitempty"`
	// Streams pass on what comes on other ports, by TCP and UDP.
	Streams []Stream `json:"streams,omitempty"`
	// Upstreams are groups of back ends, for routes that lead to "upstream:NAME".
	Upstreams []upstream.Group `json:"upstreams,omitempty"`
	// Trusted are the addresses of proxies in front of this one, as CIDR: what they say of a client is believed.
	Trusted []string `json:"trusted_proxies,omitempty"`
	// ProxyProtocol makes connections from trusted proxies begin with a PROXY protocol header, version 1 or 2; those that do not
	// are closed. It concerns TCP, not HTTP/3. From anybody else such a header is never believed.
	ProxyProtocol bool `json:"proxy_protocol,omitempty"`
	// HTTP3 switched off takes HTTP/3 and its Alt-Svc away.
	HTTP3 Switch `json:"http3,omitempty"`
	// EarlyData admits 0-RTT over HTTP/3, from the next connection on. GET, HEAD and OPTIONS without a body are served then, with
	// Early-Data: 1 for the back end; all others wait until the handshake is over.
	EarlyData bool    `json:"early_data,omitempty"`
	Timeouts  Timeout `json:"timeouts,omitzero"`
	// MaxConnections bounds the open client connections, those of all streams apart from the others; 0 is 20,000.
	MaxConnections int `json:"max_connections,omitempty"`
	// Limits are for the proxy as a whole, all routes together. Without any, each client may send 5,000 requests a second, 10
	// of them with a password, and 20,000 requests may be under way.
	Limits limits.Config `json:"limits,omitzero"`
	// Exempt are addresses or CIDR that no limit, country policy and strike concerns. The firewall's always-allowed are
	// exempt in any case.
	Exempt []string `json:"exempt,omitempty"`
	// CacheStores are where routes store answers, by name; "default" is there without being named. Their folders are chosen by
	// the proxy.
	CacheStores map[string]cache.StoreConfig `json:"cache_stores,omitempty"`
	// Pages are error pages of one's own, and the maintenance page, for all routes and for requests that no route has. The key is
	// a status ("404"), a class ("4xx", "5xx") or "maintenance".
	Pages page.Config `json:"pages,omitempty"`
	// ServerHeader is the Server header of every answer; without it there is none.
	ServerHeader string `json:"server_header,omitempty"`
	// Seccomp is what happens to a system call of the proxy that is not expected: it fails ("filter", the default), is made and
	// logged ("log"), or ends the process ("strict"); "off" is no filter. It holds from the next start of the worker on.
	Seccomp string `json:"seccomp,omitempty"`
	// Metrics is where counts can be read; by default nowhere.
	Metrics Metrics `json:"metrics,omitzero"`
	// LogQuery puts the queries of requests into the access log. They may hold secrets, so it is off by default.
	LogQuery Switch `json:"log_query,omitempty"`
}

// Switch is on, off, or "" for the default.
type Switch string

// The values of a Switch.
const (
	On  Switch = "on"
	Off Switch = "off"
)

// Timeout bounds how long a client may take. A zero field means its default.
type Timeout struct {
	Header field.Duration `json:"header,omitempty"` // a whole head, default 15s
	Idle   field.Duration `json:"idle,omitempty"`   // between requests, default 2m
	// Stall is how long a body or an answer may make no progress; default 30s.
	Stall field.Duration `json:"stall,omitempty"`
}

// Route says where requests for a host, below a path, go, and what is done with them on the way.
type Route struct {
	// Host is a name, a wildcard for one label ("*.example.org"), or "" for every name that no other route has.
	Host string `json:"host"`
	// Path is a prefix of whole segments; "" is "/". With Exact it is the one path.
	Path  string `json:"path,omitempty"`
	Exact bool   `json:"exact,omitempty"`
	// Backend is where it goes: "http://127.0.0.1:8080", "https://192.0.2.7/app/", "h2c://127.0.0.1:50051",
	// "upstream:NAME", "file:///srv/www" or "redirect:https://www.example.org/".
	Backend string `json:"backend"`
	SNIName string `json:"sni_name,omitempty"`
	CA      string `json:"ca,omitempty"`
	// ProxyProtocol tells the back end who the client is, by a header of the PROXY protocol, "v1" or "v2". Each request then
	// has a connection of its own.
	ProxyProtocol string   `json:"proxy_protocol,omitempty"`
	Redirect      Redirect `json:"redirect,omitzero"`

	Methods []string `json:"methods,omitempty"`
	// Deny is looked at before Allow, and an empty Allow is everybody. Both are addresses or CIDR.
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
	// Countries is who may come by country. Allow and Deny are looked at first.
	Countries *Countries `json:"countries,omitempty"`
	// Limits are for this route, and hold besides those of the proxy.
	Limits limits.Config `json:"limits,omitzero"`
	// Auth asks another server about each request (forward auth); WAF looks for attacks in it.
	Auth *Auth       `json:"auth,omitempty"`
	WAF  *waf.Config `json:"waf,omitempty"`
	// ClientAuth asks clients for a certificate.
	ClientAuth *ClientAuth `json:"client_auth,omitempty"`
	// MaxBody bounds a request body in bytes, MaxHeader a head; 0 is 100 MiB and 32 KiB.
	MaxBody   int64 `json:"max_body,omitempty"`
	MaxHeader int   `json:"max_header,omitempty"`

	// Static is how a "file:" back end serves; its root is that of Backend.
	Static static.Config `json:"static,omitzero"`
	// Compress says which answers are compressed. Without it those of files are, and those of other back ends are left as
	// they are: what an application writes next to its secrets is for it to decide (see proxy/compress).
	Compress *compress.Config `json:"compress,omitempty"`
	// Cache stores answers; see docs/cache.md. Without it none is.
	Cache *cache.Config `json:"cache,omitempty"`
	// Buffer takes bodies in whole, so that slow clients do not hold back ends. Without it bodies pass as they come.
	Buffer *buffer.Config `json:"buffer,omitempty"`

	RequestHeaders  HeaderEdit     `json:"request_headers,omitzero"`
	ResponseHeaders HeaderEdit     `json:"response_headers,omitzero"`
	Security        Security       `json:"security,omitzero"`
	BackendTimeouts BackendTimeout `json:"backend_timeouts,omitzero"`
	// Pages are error pages of the route's own; they come before those of the proxy.
	Pages page.Config `json:"pages,omitempty"`
	// Intercept are answers of the back end whose body is replaced by such a page, or by the proxy's own: statuses ("502") and
	// classes ("5xx") of errors. Without any, what the back end says is passed on.
	Intercept []string `json:"intercept,omitempty"`
	// Maintenance answers 503 to everybody but those in MaintenanceAllow.
	Maintenance      bool     `json:"maintenance,omitempty"`
	MaintenanceAllow []string `json:"maintenance_allow,omitempty"`
	// PlainHTTP serves the route over plain HTTP too, instead of redirecting to HTTPS.
	PlainHTTP bool `json:"plain_http,omitempty"`
	// PreserveHost sends the client's Host to the back end; it is the default, "off" sends that of the back end's URL.
	PreserveHost Switch `json:"preserve_host,omitempty"`
}

// Redirect is how a "redirect:" back end answers.
type Redirect struct {
	Status       int  `json:"status,omitempty"` // 301, 302, 303, 307 or 308; 0 is 301
	PreservePath bool `json:"preserve_path,omitempty"`
}

// HeaderEdit changes headers. A value may hold $client_ip, $host, $request_uri, $path, $scheme and $request_id.
type HeaderEdit struct {
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

// BackendTimeout bounds how long a back end may take. A zero field means its default.
type BackendTimeout struct {
	Connect field.Duration `json:"connect,omitempty"` // default 10s
	// Answer is from the end of the request to the head of the answer; default 60s.
	Answer field.Duration `json:"answer,omitempty"`
	// Stall is how long nothing of an answer, or of a request, may move; default 5m.
	Stall field.Duration `json:"stall,omitempty"`
}

// Key names a route: its host and path, with "=" before an exact path.
func (r *Route) Key() string {
	p := r.path()
	if r.Exact {
		p = "=" + p
	}
	return r.Host + p
}

func (r *Route) path() string {
	if r.Path == "" {
		return "/"
	}
	return r.Path
}

// AddRoute adds a route, or puts it in the place of one for the same host and path.
func (c *Config) AddRoute(r Route) {
	if i := c.find(r.Key()); i >= 0 {
		c.Routes[i] = r
		return
	}
	c.Routes = append(c.Routes, r)
}

// RemoveRoute removes the route of that key and reports whether there was one.
func (c *Config) RemoveRoute(key string) bool {
	i := c.find(key)
	if i < 0 {
		return false
	}
	c.Routes = slices.Delete(c.Routes, i, i+1)
	return true
}

// find gives the position of a route by its key; "host" is "host/".
func (c *Config) find(key string) int {
	if !strings.Contains(key, "/") {
		key += "/"
	}
	return slices.IndexFunc(c.Routes, func(r Route) bool { return r.Key() == key })
}

// Route finds a route by its key, as AddRoute and RemoveRoute do.
func (c *Config) Route(key string) (Route, bool) {
	if i := c.find(key); i >= 0 {
		return c.Routes[i], true
	}
	return Route{}, false
}

// Names are the host names of all routes, and of streams where TLS ends here, each once, wildcards as they are.
func (c *Config) Names() []string {
	out := c.StreamNames()
	for _, r := range c.Routes {
		if r.Host != "" {
			out = append(out, r.Host)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
