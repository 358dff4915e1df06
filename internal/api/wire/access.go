package wire

import (
	"strconv"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy"
)

// Access is a request that the proxy answered or refused, with its number since the daemon started.
type Access struct {
	Seq uint64 `json:"seq"`
	proxy.Access
}

// StreamOptions are what is done with a stream that is there.
type StreamOptions struct {
	Replace bool `query:"replace" doc:"Put it in the place of a stream on the same port."`
	Join    bool `query:"join" doc:"Put its names beside those of the stream that is there, and change nothing else."`
}

// AccessFilter chooses requests; an empty field is any.
type AccessFilter struct {
	Host   string `query:"host" doc:"The host that was asked for."`
	Client string `query:"client" doc:"The address of the client."`
	Status string `query:"status" doc:"A status such as 404, or a class such as 5xx."`
	Path   string `query:"path" doc:"Text that the path holds."`
	Stream string `query:"stream" doc:"Connections of this stream, such as 5432/tcp."`
}

// Passes reports whether a request is chosen.
func (f AccessFilter) Passes(a *proxy.Access) bool {
	status := strconv.Itoa(a.Status)
	if class, ok := strings.CutSuffix(f.Status, "xx"); ok {
		if !strings.HasPrefix(status, class) {
			return false
		}
	} else if f.Status != "" && f.Status != status {
		return false
	}
	if f.Stream != "" && f.Stream != a.Stream {
		return false
	}
	return (f.Host == "" || f.Host == a.Host) && (f.Client == "" || f.Client == a.Client.String()) && strings.Contains(a.Path, f.Path)
}

// ProxyTop is what makes the load, of the requests that are remembered.
type ProxyTop struct {
	Since    time.Time  `json:"since,omitzero"`
	Requests int        `json:"requests"`
	Lost     int64      `json:"lost" doc:"Records that could not be kept."`
	Routes   []ProxyRow `json:"routes"`
	Clients  []ProxyRow `json:"clients"`
}

// ProxyRow is one route or client. Times are in milliseconds.
type ProxyRow struct {
	Key      string  `json:"key"`
	Requests int     `json:"requests"`
	Errors   int     `json:"errors" doc:"Answers with a status of 500 or more."`
	Refused  int     `json:"refused" doc:"What the proxy itself turned away."`
	Sent     int64   `json:"sent" doc:"Bytes of bodies."`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
}

// ProxyPage is an error page of one's own, or the maintenance page.
type ProxyPage struct {
	Route string `json:"route,omitempty" doc:"The key of the route that it is for; empty is all."`
	Name  string `json:"name" doc:"A status such as 404, a class (4xx, 5xx), or maintenance."`
	HTML  string `json:"html,omitempty" doc:"The content, or file:///PATH; when a page is set, a form that is left out stays as it is."`
	JSON  string `json:"json,omitempty" doc:"The same as JSON."`
	Text  string `json:"text,omitempty" doc:"The same as plain text."`
	// Intercept is of a route alone.
	Intercept bool `json:"intercept,omitempty" doc:"It also takes the place of what the back end answers with that status."`
}

// PurgeRequest says which stored answers are dropped.
type PurgeRequest struct {
	What string `json:"what,omitempty" doc:"An address, a glob of addresses with * in it, or tag:NAME; empty is everything." maxLength:"8192"`
}

// PurgeResult is how many were dropped.
type PurgeResult struct {
	Dropped int `json:"dropped"`
}
