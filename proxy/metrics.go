package proxy

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/metrics"
	"github.com/platformd/platformd/proxy/upstream"
)

// Metrics is where counts can be read, in the text format of Prometheus. Without a path nothing is counted.
type Metrics struct {
	// Path is the one path, on every host, over HTTPS and plain HTTP: "/__metrics".
	Path string `json:"path,omitempty"`
	// Allow is who may read, as addresses or CIDR; empty is loopback alone. To everybody else the path is one like any other.
	Allow []string `json:"allow,omitempty"`
}

func (m *Metrics) validate(e *field.Errors) {
	if m.Path == "" && len(m.Allow) > 0 {
		e.Add("metrics.path", "is missing; write for example /__metrics")
	}
	if p, err := normalPath(m.Path); m.Path != "" && (err != nil || p != m.Path || p == "/") {
		e.Add("metrics.path", "%q: write a path without dot segments, for example /__metrics", m.Path)
	}
	prefixes(e, "metrics.allow", m.Allow)
}

// readsMetrics reports whether a request is for the counts, and from somebody who may read them.
func (t *Table) readsMetrics(path string, client netip.Addr) bool {
	m := &t.cfg.Metrics
	if m.Path == "" || path != m.Path {
		return false
	}
	if len(m.Allow) == 0 {
		return client.IsLoopback()
	}
	return t.readers.has(client)
}

// Expiring is implemented by Certificates that know until when theirs are good, by name.
type Expiring interface {
	Expiry() map[string]time.Time
}

// counters are the counts of a server besides those of requests.
type counters struct {
	shaken, resumed, unshaken atomic.Int64 // TLS over TCP
	quic                      atomic.Int64 // connections of HTTP/3 since the start
	quicOpen                  atomic.Int64
	turnedAway                atomic.Int64 // connections beyond the limit
	byProtocol                [4]atomic.Int64
}

// count puts the routes of a table into the metrics, where it has any.
func (t *Table) count(m *metrics.Set) {
	wanted := map[string]bool{}
	if t.cfg.Metrics.Path != "" {
		wanted[""] = true
		t.counts = m.Route("")
		for _, r := range t.routes {
			wanted[r.key] = true
			r.counts = m.Route(r.key)
		}
	}
	m.Keep(func(key string) bool { return wanted[key] })
}

// measure counts an exchange.
func (x *exchange) measure(took time.Duration) {
	counts := x.table.counts
	if x.route != nil {
		counts = x.route.counts
	}
	if counts == nil {
		return
	}
	counts.Observe(x.request.Method, x.status, took, x.received, x.written)
	if v := x.request.ProtoMajor; v >= 1 && v <= 3 {
		x.conn.server.counters.byProtocol[v].Add(1)
	}
}

// samples are what is read at each scrape.
func (s *Server) samples() []metrics.Sample {
	st, c := s.Statistics(), &s.counters
	one := func(name, help string, v int64) metrics.Sample {
		return metrics.Sample{Name: "proxy_" + name, Help: help, Value: float64(v)}
	}
	by := func(name, help, label, key string, v float64) metrics.Sample {
		return metrics.Sample{Name: "proxy_" + name, Help: help, Labels: []metrics.Label{{Name: label, Value: key}}, Value: v}
	}
	out := []metrics.Sample{
		one("connections_turned_away_total", "Connections closed at once, because there were too many.", c.turnedAway.Load()),
		one("refused_total", "Requests that the proxy itself turned away.", st.Refused),
		one("blocked_total", "Requests refused for their address, their country or an attack in them.", st.Blocked),
		one("failed_auth_attempts_total", "Requests answered 401, or 403 though they brought a password or token.", st.FailedAuth),
		one("rate_limit_hits_total", "Requests answered 429.", st.Limits.Limited),
		one("delayed_total", "Requests held back for a while by a limit.", st.Limits.Delayed),
		one("shed_total", "Requests answered 503, because too many were under way.", st.Limits.Shed),
		one("strikes_total", "What clients did that may lead to a ban.", st.Limits.Strikes),
		one("limit_sources", "Sources of requests that limits remember now.", int64(st.Limits.Sources)),
	}
	for key, v := range map[string]int64{"tcp": s.open.Load(), "quic": c.quicOpen.Load()} {
		out = append(out, by("connections", "Clients connected now.", "transport", key, float64(v)))
	}
	for key, v := range map[string]int64{"full": c.shaken.Load(), "resumed": c.resumed.Load(), "failed": c.unshaken.Load(), "quic": c.quic.Load()} {
		out = append(out, by("handshakes_total", "TLS handshakes over TCP by how they ended, and those of QUIC.", "result", key, float64(v)))
	}
	for i, key := range [...]string{"HTTP/1", "HTTP/2", "HTTP/3"} {
		out = append(out, by("protocol_requests_total", "Requests by protocol.", "protocol", key, float64(c.byProtocol[i+1].Load())))
	}
	for name, k := range s.stores.statistics() {
		out = append(out,
			by("cache_hits_total", "Answers out of the cache.", "store", name, float64(k.Hits)),
			by("cache_misses_total", "Requests that the cache had no answer for.", "store", name, float64(k.Misses)),
			by("cache_stores_total", "Answers that were stored.", "store", name, float64(k.Stored)),
			by("cache_memory_bytes", "What is held in memory.", "store", name, float64(k.MemoryBytes)),
			by("cache_disk_bytes", "What is held on disk.", "store", name, float64(k.DiskBytes)))
	}
	out = append(out, s.streamSamples()...)
	out = append(out, metrics.Process("proxy_")...)
	out = append(out, upstreamSamples(s.Upstreams())...)
	if s.cfg.Host != nil {
		out = append(out, s.cfg.Host()...)
	}
	if s.cfg.Dropped != nil {
		out = append(out, one("log_records_dropped_total", "Records of the access log that were lost.", s.cfg.Dropped()))
	}
	if e, ok := s.cfg.Certificates.(Expiring); ok {
		for name, at := range e.Expiry() {
			out = append(out, by("certificate_days_left", "Days until a certificate that is in use expires.", "name", name, time.Until(at).Hours()/24))
		}
	}
	return out
}

// upstreamSamples are the servers of groups.
func upstreamSamples(all []upstream.Status) []metrics.Sample {
	var out []metrics.Sample
	for _, u := range all {
		of := []metrics.Label{{Name: "upstream", Value: u.Group}, {Name: "server", Value: u.URL}}
		up := 0.0
		if u.Healthy && !u.Open {
			up = 1
		}
		for _, x := range []metrics.Sample{
			{Name: "up", Help: "Whether a server of a group is well: 1, or 0 where it is down or set aside.", Value: up},
			{Name: "requests", Help: "Requests that a server of a group has now.", Value: float64(u.InFlight)},
			{Name: "requests_total", Help: "Requests that a server of a group got.", Value: float64(u.Requests)},
			{Name: "failures_total", Help: "Those of them that failed.", Value: float64(u.Failures)},
		} {
			x.Name, x.Labels = "proxy_upstream_"+x.Name, of
			out = append(out, x)
		}
	}
	return out
}
