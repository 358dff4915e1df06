package proxy

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream"
)

// Access is one request, for the log; or one connection of a stream, which has no status.
type Access struct {
	Time     time.Time      `json:"time"`
	ID       string         `json:"id,omitempty"`
	Client   netip.Addr     `json:"client"`
	Method   string         `json:"method,omitempty"`
	Host     string         `json:"host,omitempty"`
	Path     string         `json:"path,omitempty"`
	Query    string         `json:"query,omitempty"`
	Protocol string         `json:"protocol"`
	TLS      string         `json:"tls,omitempty"`
	Route    string         `json:"route,omitempty"`
	Status   int            `json:"status"`
	Received int64          `json:"received"`
	Sent     int64          `json:"sent"`
	Took     field.Duration `json:"took"`
	Agent    string         `json:"agent,omitempty"`
	Referer  string         `json:"referer,omitempty"`
	// WAF are the rules of the firewall for applications that the request fell under.
	WAF []int `json:"waf,omitempty"`
	// Stream is the stream of a connection, Backend where it led, and Ended why it is over.
	Stream  string `json:"stream,omitempty"`
	Backend string `json:"backend,omitempty"`
	Ended   string `json:"ended,omitempty"`
	// Reason is why the proxy itself refused or failed.
	Reason string `json:"reason,omitempty"`
}

// record reports an exchange.
func (s *Server) record(x *exchange) {
	s.stats.count(x.status, x.reason != "")
	s.observe(x)
	took := time.Since(x.start)
	x.measure(took)
	if s.cfg.Reporter == nil {
		return
	}
	r := x.request
	a := Access{Time: x.start, ID: x.id, Client: x.client, Method: r.Method, Host: x.host, Path: x.path, Protocol: r.Proto,
		Status: x.status, Received: x.received, Sent: x.written, Took: field.Duration(took), WAF: x.found, Agent: r.UserAgent(), Referer: r.Referer(), Reason: x.reason}
	if x.table.cfg.LogQuery == On {
		a.Query = r.URL.RawQuery
	}
	if x.route != nil {
		a.Route = x.route.key
	}
	if x.conn.state != nil {
		a.TLS = tls.VersionName(x.conn.state.Version)
	}
	s.report(a)
}

func (s *Server) report(a Access) {
	if s.cfg.Reporter != nil {
		s.cfg.Reporter.Access(a)
	}
}

// orDefault is d, or what it is by default.
func orDefault(d field.Duration, def time.Duration) time.Duration {
	if d > 0 {
		return time.Duration(d)
	}
	return def
}

// Upstreams says how the servers of all groups are.
func (s *Server) Upstreams() []upstream.Status { return s.back.set.Status() }
