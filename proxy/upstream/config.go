package upstream

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/announce"
	"github.com/platformd/platformd/proxy/field"
)

// Group is servers that do the same.
type Group struct {
	Name    string   `json:"name"`
	Servers []Server `json:"servers"`
	// Algorithm is round_robin (the default), least_conn, ip_hash or power_of_two.
	Algorithm string  `json:"algorithm,omitempty"`
	Health    *Health `json:"health,omitempty"`
	Passive   Passive `json:"passive,omitzero"`
	// SlowStart is the time in which a server that came back gets to its full share; 0 is at once. ip_hash does without, so
	// that clients stay where they are.
	SlowStart field.Duration `json:"slow_start,omitempty"`
	// Retries is how many other servers a request may be tried on; 0 is 1, -1 is none.
	Retries int `json:"retries,omitempty"`
	// MaxConnections bounds the requests that one server gets at once; 0 is no bound.
	MaxConnections int `json:"max_connections,omitempty"`
	// Timeouts are those of backend_timeouts in a route.
	Timeouts Limits `json:"timeouts,omitzero"`
	// QueueTimeout is how long a request waits while all servers are full; default 10s.
	QueueTimeout field.Duration `json:"queue_timeout,omitempty"`
}

// Server is one back end of a group.
type Server struct {
	// URL is "http://127.0.0.1:8080", "https://192.0.2.7" or "h2c://127.0.0.1:50051", without a path. For streams it is
	// "tcp://127.0.0.1:5432", "tls://db.example.org:5432" or "udp://127.0.0.1:53".
	URL string `json:"url"`
	// Weight is its share beside the others, 1 to 1000; 0 is 1.
	Weight int `json:"weight,omitempty"`
	// SNIName is the name that an https or tls server is asked for and must prove; CA signs it, in PEM, instead of the system's.
	SNIName string `json:"sni_name,omitempty"`
	CA      string `json:"ca,omitempty"`
	// Backup servers serve only while no other can.
	Backup bool `json:"backup,omitempty"`
	// ProxyProtocol tells the server who the client is, by a header of the PROXY protocol, "v1" or "v2". A connection is for one
	// client then: each request has its own.
	ProxyProtocol string `json:"proxy_protocol,omitempty"`
	// Drain gives the server no new requests; those under way end as they would. It is still checked.
	Drain bool `json:"drain,omitempty"`
}

// Health is how servers are asked whether they are well.
type Health struct {
	Type string `json:"type,omitempty"` // http (the default), tls or tcp
	// Path is what http asks for; default "/".
	Path     string         `json:"path,omitempty"`
	Host     string         `json:"host,omitempty"`     // of that request; default that of the URL
	Interval field.Duration `json:"interval,omitempty"` // default 10s
	Timeout  field.Duration `json:"timeout,omitempty"`  // default 5s
	Statuses []int          `json:"statuses,omitempty"` // default 200
	// Unhealthy is how many checks in a row must fail (3), Healthy how many must succeed (2).
	Unhealthy int `json:"unhealthy,omitempty"`
	Healthy   int `json:"healthy,omitempty"`
}

// Limits bound how long a server may take; see Timeouts. A zero field means its default: 10s, 60s and 5m.
type Limits struct {
	Connect field.Duration `json:"connect,omitempty"`
	Answer  field.Duration `json:"answer,omitempty"`
	Stall   field.Duration `json:"stall,omitempty"`
}

// Durations are the same for the connections.
func (l Limits) Durations() Timeouts {
	return Timeouts{time.Duration(l.Connect), time.Duration(l.Answer), time.Duration(l.Stall)}
}

// Passive sets a server aside whose answers to real requests fail: so many within the window, for as long as the cooldown.
type Passive struct {
	Failures int            `json:"failures,omitempty"` // default 5; -1 never
	Window   field.Duration `json:"window,omitempty"`   // default 30s
	Cooldown field.Duration `json:"cooldown,omitempty"` // default 10s
}

// Bounds of a configuration.
const (
	MaxGroups  = 1000
	MaxServers = 64 // of a group
)

// The algorithms, and the types of health checks.
const (
	RoundRobin = "round_robin"
	LeastConn  = "least_conn"
	IPHash     = "ip_hash"
	PowerOfTwo = "power_of_two"

	checkHTTP = "http"
	checkTLS  = "tls"
	checkTCP  = "tcp"
)

// Validate says everything that is wrong with a list of groups.
func Validate(groups []Group) error {
	var e field.Errors
	if len(groups) > MaxGroups {
		e.Add("", "%d groups are too many; at most %d", len(groups), MaxGroups)
	}
	seen := map[string]int{}
	for i := range groups {
		g := &groups[i]
		e.Join(field.Index("", i), g.Validate())
		if j, twice := seen[g.Name]; twice {
			e.Add(field.Index("", i), "%q is also group %d; give one of them another name", g.Name, j)
		}
		seen[g.Name] = i
	}
	return e.Err()
}

// Validate says everything that is wrong with g, a group for routes.
func (g *Group) Validate() error {
	var e field.Errors
	if !validName(g.Name) {
		e.Add("name", "%q must be 1 to 64 letters, digits, dots, dashes and underscores; write for example app", g.Name)
	}
	g.validate(&e, forRoutes)
	return e.Err()
}

// ValidateStream says everything that is wrong with g as the back end of a stream, which has no name.
func (g *Group) ValidateStream(datagrams bool) error {
	var e field.Errors
	if g.Name != "" {
		e.Add("name", "is for groups in upstreams; leave it out")
	}
	of := forStreams
	if datagrams {
		of = forDatagrams
	}
	if g.Health != nil && g.Health.Type != checkTCP && g.Health.Type != checkTLS {
		e.Add("health.type", "%q must be tcp or tls: a stream knows no HTTP", g.Health.Type)
	}
	if g.Timeouts.Answer != 0 || g.Timeouts.Stall != 0 {
		e.Add("timeouts", "have only connect here; the others are those of the stream")
	}
	if g.QueueTimeout != 0 && datagrams {
		e.Add("queue_timeout", "is for TCP: a datagram does not wait")
	}
	g.validate(&e, of)
	return e.Err()
}

func (g *Group) validate(e *field.Errors, of purpose) {
	switch n := len(g.Servers); {
	case n == 0:
		e.Add("servers", "is empty; a group needs at least one, for example {\"url\": %q}", of.example)
	case n > MaxServers:
		e.Add("servers", "%d are too many; at most %d", n, MaxServers)
	}
	seen := map[string]int{}
	primaries, serving := 0, 0
	for i := range g.Servers {
		s, at := &g.Servers[i], field.Index("servers", i)
		e.Join(at, s.validate(of))
		if j, twice := seen[s.URL]; twice {
			e.Add(at+".url", "%q is also servers[%d]; remove one and raise the weight of the other", s.URL, j)
		}
		seen[s.URL] = i
		if !s.Backup {
			primaries++
		}
		if !s.Drain {
			serving++
		}
	}
	if serving == 0 && len(g.Servers) > 0 {
		e.Add("servers", "all drain; at least one must not, or nobody is served (maintenance of a route says so to clients)")
	}
	if primaries == 0 && len(g.Servers) > 0 {
		e.Add("servers", "are all backups; at least one must not be")
	}
	switch g.Algorithm {
	case "", RoundRobin, LeastConn, IPHash, PowerOfTwo:
	default:
		e.Add("algorithm", "%q is none; choose round_robin, least_conn, ip_hash or power_of_two", g.Algorithm)
	}
	if g.Health != nil {
		e.Join("health", g.Health.Validate())
	}
	between(e, "passive.failures", g.Passive.Failures, -1, 10_000)
	duration(e, "passive.window", g.Passive.Window)
	duration(e, "passive.cooldown", g.Passive.Cooldown)
	duration(e, "slow_start", g.SlowStart)
	between(e, "retries", g.Retries, -1, 10)
	between(e, "max_connections", g.MaxConnections, 0, 1_000_000)
	duration(e, "queue_timeout", g.QueueTimeout)
	duration(e, "timeouts.connect", g.Timeouts.Connect)
	duration(e, "timeouts.answer", g.Timeouts.Answer)
	duration(e, "timeouts.stall", g.Timeouts.Stall)
}

// purpose is what the servers of a group are for.
type purpose struct {
	schemes []string
	example string
	port    bool // has to be written
}

var (
	forRoutes    = purpose{schemes: []string{"http", "https", "h2c"}, example: "http://127.0.0.1:8080"}
	forStreams   = purpose{schemes: []string{"tcp", "tls"}, example: "tcp://127.0.0.1:5432", port: true}
	forDatagrams = purpose{schemes: []string{"udp"}, example: "udp://127.0.0.1:53", port: true}
)

func (s *Server) validate(of purpose) error {
	var e field.Errors
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || !slices.Contains(of.schemes, u.Scheme):
		e.Add("url", "is not the URL of a back end; write for example %s", of.example)
	case u.User != nil:
		e.Add("url", "%q holds a password; set request_headers Authorization of the route instead", u.Redacted())
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		e.Add("url", "%q has more than a host and a port; leave the rest out, all servers of a group get the same path", s.URL)
	default:
		if p := u.Port(); p != "" || of.port {
			if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
				e.Add("url", "%q: the port must be between 1 and 65535", s.URL)
			}
		}
	}
	between(&e, "weight", s.Weight, 0, 1000)
	if err == nil && u.Scheme != "https" && u.Scheme != "tls" && (s.SNIName != "" || s.CA != "") {
		e.Add("sni_name", "is for back ends with TLS, and %q is none; the same goes for ca", s.URL)
	}
	e.Join("", ValidateAnnouncement(s.ProxyProtocol, err == nil && u.Scheme == "udp"))
	if s.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(s.CA)) {
		e.Add("ca", "holds no certificate; paste the PEM of the authority that signed the back end's")
	}
	return e.Err()
}

// ValidateAnnouncement says what is wrong with a proxy_protocol.
func ValidateAnnouncement(version string, datagrams bool) error {
	var e field.Errors
	switch {
	case version != "" && version != announce.V1 && version != announce.V2:
		e.Add("proxy_protocol", "%q must be v1 or v2", version)
	case version == announce.V1 && datagrams:
		e.Add("proxy_protocol", "version 1 knows no UDP; write v2")
	}
	return e.Err()
}

// Validate says everything that is wrong with h.
func (h *Health) Validate() error {
	var e field.Errors
	switch h.Type {
	case "", checkHTTP:
	case checkTLS, checkTCP:
		if h.Path != "" || h.Host != "" || len(h.Statuses) > 0 {
			e.Add("type", "%q asks no question: path, host and statuses are for http", h.Type)
		}
	default:
		e.Add("type", "%q is none; choose http, tls or tcp", h.Type)
	}
	if h.Path != "" && (h.Path[0] != '/' || strings.ContainsFunc(h.Path, func(r rune) bool { return r <= ' ' || r == 0x7f })) {
		e.Add("path", "%q must begin with a slash and be encoded; write for example /healthz", h.Path)
	}
	if !httpguts.ValidHostHeader(h.Host) {
		e.Add("host", "%q is not a host name", h.Host)
	}
	duration(&e, "interval", h.Interval)
	duration(&e, "timeout", h.Timeout)
	for i, s := range h.Statuses {
		between(&e, field.Index("statuses", i), s, 200, 599)
	}
	between(&e, "unhealthy", h.Unhealthy, 0, 100)
	between(&e, "healthy", h.Healthy, 0, 100)
	return e.Err()
}

func between(e *field.Errors, at string, n, low, high int) {
	if n < low || n > high {
		e.Add(at, "%d must be between %d and %d", n, low, high)
	}
}

func duration(e *field.Errors, at string, d field.Duration) {
	if t := time.Duration(d); t != 0 && (t < 10*time.Millisecond || t > 24*time.Hour) {
		e.Add(at, "%v must be between 10ms and 24h", d)
	}
}

func validName(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// or is d, or def where it is not set.
func or(d field.Duration, def time.Duration) time.Duration {
	if d > 0 {
		return time.Duration(d)
	}
	return def
}

func orInt(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// statuses are those that a check takes for an answer of a healthy server.
func (h *Health) statuses() []int {
	if len(h.Statuses) == 0 {
		return []int{http.StatusOK}
	}
	return h.Statuses
}
