// Package metrics counts what a proxy does, and writes it in the text format of Prometheus.
//
// Each route has a handle that is looked up once, when the route is made: a request then costs a few atomic additions. What
// labels can be is bounded by the configuration: the route is one that was configured, the method is one of three classes, the
// status one of six; no host, path or method of a client's choosing becomes a label. Counts of a route are kept across reloads,
// and are forgotten with the route.
//
// It serves nothing by itself to anybody: who may read is decided by who calls Handler.
package metrics

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// latencies are the upper bounds of the histogram, in seconds.
var latencies = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

const (
	readMethod = iota
	writeMethod
	otherMethod
	methodClasses
)

// classNames are the values of the label "method".
var classNames = [methodClasses]string{"read", "write", "other"}

// statusNames are the values of the label "status"; the first is an answer that was cut off before it began.
var statusNames = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Set is the counts of one proxy. It is safe for concurrent use.
type Set struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	received *prometheus.CounterVec
	sent     *prometheus.CounterVec
	handler  http.Handler

	mu     sync.Mutex
	routes map[string]*Route
}

// New makes a set. What is to be shown besides requests is asked of more, at each scrape.
func New(more func() []Sample) *Set {
	name := func(s string) string { return "platformd_proxy_" + s }
	s := &Set{registry: prometheus.NewRegistry(), routes: map[string]*Route{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("requests_total"), Help: "Requests that were answered, or cut off (status none)."}, []string{"route", "method", "status"}),
		took:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name("request_duration_seconds"), Help: "From the head of a request to the end of its answer.", Buckets: latencies}, []string{"route"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("request_bytes_total"), Help: "Bytes of request bodies."}, []string{"route"}),
		sent:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("response_bytes_total"), Help: "Bytes of response bodies."}, []string{"route"}),
	}
	s.registry.MustRegister(s.requests, s.took, s.received, s.sent, samples(more))
	s.handler = promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{DisableCompression: true, MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
	return s
}

// Handler answers with all counts.
func (s *Set) Handler() http.Handler { return s.handler }

// Route is the handle of a route by its key; "" is requests that no route has.
func (s *Set) Route(key string) *Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.routes[key]
	if r == nil {
		r = &Route{set: s, key: key, took: s.took.WithLabelValues(key), received: s.received.WithLabelValues(key), sent: s.sent.WithLabelValues(key)}
		s.routes[key] = r
	}
	return r
}

// Keep forgets routes that are not wanted any more. A handle that is still held counts on, unseen.
func (s *Set) Keep(wanted func(key string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.routes {
		if wanted(key) {
			continue
		}
		delete(s.routes, key)
		labels := prometheus.Labels{"route": key}
		s.requests.DeletePartialMatch(labels)
		s.took.DeletePartialMatch(labels)
		s.received.DeletePartialMatch(labels)
		s.sent.DeletePartialMatch(labels)
	}
}

// Route counts the requests of one route.
type Route struct {
	set            *Set
	key            string
	took           prometheus.Observer
	received, sent prometheus.Counter
	requests       [methodClasses][len(statusNames)]atomic.Pointer[prometheus.Counter]
}

// Observe counts a request.
func (r *Route) Observe(method string, status int, took time.Duration, received, sent int64) {
	m, s := class(method), status/100
	if s < 0 || s >= len(statusNames) {
		s = 0
	}
	c := r.requests[m][s].Load()
	if c == nil {
		made, ok := r.make(m, s)
		if !ok {
			return // the route was taken away while the request was under way
		}
		c = &made
	}
	(*c).Inc()
	r.took.Observe(took.Seconds())
	if received > 0 {
		r.received.Add(float64(received))
	}
	if sent > 0 {
		r.sent.Add(float64(sent))
	}
}

// make gives a counter its place. Only those that count something are shown.
func (r *Route) make(m, s int) (prometheus.Counter, bool) {
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	if r.set.routes[r.key] != r {
		return nil, false
	}
	c := r.set.requests.WithLabelValues(r.key, classNames[m], statusNames[s])
	r.requests[m][s].Store(&c)
	return c, true
}

func class(method string) int {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return readMethod
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return writeMethod
	}
	return otherMethod
}
