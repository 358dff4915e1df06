package proxy

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/page"
)

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchanges.Get().(*exchange)
	// Field by field: a literal would lie on the stack first, which HTTP/2 grows anew for each request.
	x.ResponseWriter, x.request, x.conn, x.table, x.start = w, r, connOf(r, s), s.table.Load(), time.Now()
	x.client = x.conn.peer
	x.conn.quiet.begin()
	if !x.conn.quic {
		x.paced = x.start // the server has set a deadline; one for each request of ours would cost HTTP/2 a change of goroutine
	}
	x.pace()
	defer s.finish(x)
	s.serve(x)
}

// finish records an exchange, however it ended.
func (s *Server) finish(x *exchange) {
	p := recover()
	aborted := p == http.ErrAbortHandler
	if p != nil && !aborted {
		x.reason = "panic"
		s.cfg.Log.Error("serve request", "panic", p, "host", x.host, "request", x.requestID())
		if x.status == 0 {
			s.fail(x, http.StatusInternalServerError, "panic")
		} else {
			aborted = true // the answer is cut off where it stands
		}
	}
	if x.status == 0 && !x.hijacked && !aborted {
		x.WriteHeader(http.StatusOK)
	}
	if x.body != nil {
		x.received += x.body.taken.Load()
	}
	if x.hijacked {
		s.tunnels.Add(-1)
	}
	x.conn.quiet.end()
	s.limits.Done(&x.pass)
	s.inspect.Add(-x.holds)
	s.record(x)
	*x = exchange{}
	exchanges.Put(x)
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) serve(x *exchange) {
	r := x.request
	if s.draining.Load() && r.ProtoMajor == 1 {
		x.Header()["Connection"] = closing
	}
	if r.ProtoMajor == 1 && mayTunnel(r) {
		x.Header()["Connection"] = closing // taken back where the protocol changes
	}
	if status, reason := x.identify(); status != 0 {
		s.fail(x, status, reason)
		return
	}
	if x.table.readsMetrics(x.path, x.client) && !x.conn.early() {
		s.metrics.Handler().ServeHTTP(x, r)
		return
	}
	if !s.within(x) {
		return
	}
	if !x.conn.tls() && !s.plain(x) {
		return
	}
	if r.ProtoMajor == 3 && r.ContentLength < 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		r.Body, r.ContentLength = http.NoBody, 0 // nothing was announced, and it would mean nothing (RFC 9110, section 9.3.1)
	}
	rt := x.route
	if rt == nil {
		s.fail(x, http.StatusNotFound, "no route")
		return
	}
	if status, reason := x.admit(); status != 0 {
		if status == http.StatusForbidden {
			s.stats.blocked.Add(1)
		}
		s.fail(x, status, reason)
		return
	}
	cleanRequest(r.Header, x.trusted)
	if !s.settled(x) || !s.certified(x) {
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.body = &pacedBody{ReadCloser: r.Body, to: x.ResponseWriter, stall: x.stallTime(), length: r.ContentLength}
		r.Body = http.MaxBytesReader(x, x.body, rt.maxBody)
	}
	if !s.authorized(x) || !s.inspected(x) {
		return
	}
	if rt.Security.Robots != "" && x.path == "/robots.txt" {
		x.Header()["Content-Type"] = plainText
		_, _ = x.Write([]byte(rt.Security.Robots))
		return
	}
	rt.handler.ServeHTTP(x, r)
}

var (
	closing   = []string{"close"}
	plainText = []string{"text/plain; charset=utf-8"}
)

// identify brings host and path into their normal form and finds the route.
func (x *exchange) identify() (int, string) {
	r := x.request
	x.trusted = x.table.trusted.has(x.conn.peer)
	x.client = clientAddress(x.conn.peer, r.Header, x.table.trusted)
	x.exempt = x.table.exempt.has(x.client)
	if x.trusted {
		if id := r.Header["X-Request-Id"]; len(id) == 1 && len(id[0]) <= 64 && httpguts.ValidHeaderFieldName(id[0]) {
			x.id = id[0]
		}
	}
	if r.ProtoMajor > 1 {
		if reason := judgeStream(r); reason != "" {
			return http.StatusBadRequest, reason
		}
	}
	var err error
	if x.host, err = normalHost(r.Host); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	if r.Method == http.MethodConnect {
		return http.StatusMethodNotAllowed, "CONNECT"
	}
	if r.RequestURI == "*" {
		return http.StatusNotImplemented, "a request for the server as a whole"
	}
	if x.path, err = normalPath(r.URL.EscapedPath()); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	if p := x.path; p != r.URL.Path || r.URL.RawPath != "" {
		if err := setPath(r.URL, p); err != nil {
			return http.StatusBadRequest, err.Error()
		}
	}
	if err := judgeQuery(r.URL.RawQuery); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	x.route = x.table.find(x.host, x.path)
	return 0, ""
}

// admit is what a route lets through.
func (x *exchange) admit() (int, string) {
	r, rt := x.request, x.route
	switch {
	case rt.deny.has(x.client):
		return http.StatusForbidden, "address is denied"
	case len(rt.allow) > 0 && !rt.allow.has(x.client):
		return http.StatusForbidden, "address is not allowed"
	case !x.exempt && !rt.nations.admit(x.client, x.conn.server.cfg.Countries):
		return http.StatusForbidden, "country"
	case rt.Maintenance && !rt.insiders.has(x.client):
		x.Header().Set("Retry-After", "300")
		return http.StatusServiceUnavailable, page.Maintenance
	case rt.methods != nil && !rt.methods[r.Method]:
		x.Header().Set("Allow", strings.Join(rt.Methods, ", "))
		return http.StatusMethodNotAllowed, "method"
	case r.Method == http.MethodTrace:
		return http.StatusMethodNotAllowed, "TRACE"
	case r.ContentLength > rt.maxBody:
		return http.StatusRequestEntityTooLarge, "body is too large"
	case headerBytes(r) > rt.MaxHeader:
		return http.StatusRequestHeaderFieldsTooLarge, "header is too large"
	}
	return 0, ""
}

func headerBytes(r *http.Request) int {
	n := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

// plain answers a request that came without TLS, and reports whether it is to be served all the same.
func (s *Server) plain(x *exchange) bool {
	const challenge = "/.well-known/acme-challenge/"
	if token, ok := strings.CutPrefix(x.path, challenge); ok && x.request.Method == http.MethodGet {
		if auth := s.challenge(token); auth != "" {
			x.Header()["Content-Type"] = plainText
			_, _ = x.Write([]byte(auth))
			return false
		}
	}
	if x.route == nil {
		s.fail(x, http.StatusNotFound, "no route")
		return false
	}
	if x.route.PlainHTTP {
		return true
	}
	target := "https://" + x.host + s.httpsPort() + x.path
	if q := x.request.URL.RawQuery; q != "" {
		target += "?" + q
	}
	x.Header()["Location"] = []string{target}
	x.Header()["Content-Length"] = []string{"0"}
	x.WriteHeader(http.StatusMovedPermanently)
	return false
}

// mayTunnel reports whether what follows a request may be another protocol, so that no further request may come that way.
func mayTunnel(r *http.Request) bool { return isUpgrade(r.Header) || r.Method == http.MethodConnect }

// isUpgrade reports whether a request asks for another protocol.
func isUpgrade(h http.Header) bool { return len(h["Upgrade"]) > 0 }

// isWebSocket reports whether a request asks for WebSocket and nothing else (RFC 6455, section 4.1).
func isWebSocket(r *http.Request) bool {
	u := r.Header["Upgrade"]
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && len(u) == 1 && strings.EqualFold(u[0], "websocket") &&
		httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

// tooLarge reports whether a body ended because it is too large.
func tooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}
