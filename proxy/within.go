package proxy

import (
	"net/http"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/limits"
)

// limit makes the limits of a table ready, with what is known of sources from tables before it.
func (t *Table) limit(l *limits.Limiter) {
	general := t.cfg.Limits.Defaults()
	t.limits = l.Rules("", &general)
	wanted := map[string]bool{"": true}
	for _, r := range t.routes {
		r.limits = l.Rules(r.key, &r.Limits)
		wanted[r.key] = true
	}
	t.limitStreams(l, wanted)
	l.Keep(func(name string) bool { return wanted[name] })
}

// Limits gives a part of what is known of clients, for a server that takes this one's place; the first part begins at 0.
func (s *Server) Limits(from int) limits.Snapshot { return s.limits.Snapshot(from) }

// TakeLimits adds what another server knew of clients.
func (s *Server) TakeLimits(part limits.Snapshot) error { return s.limits.Take(part) }

// within holds a request to the limits, and reports whether it may go on.
func (s *Server) within(x *exchange) bool {
	var rules *limits.Rules
	if x.route != nil {
		rules = x.route.limits
	}
	v := s.limits.Admit(&x.pass, limits.Request{Client: x.client, Method: x.request.Method, Path: x.path, Exempt: x.exempt}, x.table.limits, rules)
	x.quota, x.flood = v.Quota, v.Strike
	if v.Wait > 0 {
		wait := time.NewTimer(v.Wait)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-x.request.Context().Done():
			x.reason, x.status = "the client left", statusClientLeft
			panic(http.ErrAbortHandler)
		}
		s.limits.Waited(&x.pass)
	}
	if v.Status != 0 {
		x.Header()["Retry-After"] = []string{v.RetryAfterHeader()}
		s.fail(x, v.Status, v.Reason)
		return false
	}
	return true
}

// statusClientLeft is what nginx logs for a client that did not wait for its answer.
const statusClientLeft = 499

// observe counts what an answer says of the client, and reports what may lead to a ban. Nobody is struck whose address
// cannot be relied on: who speaks for others, or may have borrowed it.
func (s *Server) observe(x *exchange) {
	if x.status < 400 {
		return
	}
	credentials := bringsCredentials(x.request.Header)
	if x.status == http.StatusUnauthorized || x.status == http.StatusForbidden && credentials && x.reason == "" {
		s.stats.failedAuth.Add(1)
	}
	if s.cfg.Strikes == nil || x.exempt || !x.client.IsValid() || x.conn.early() || x.table.trusted.has(x.client) {
		return
	}
	strike, ok := s.limits.Observe(limits.Exchange{Client: x.client, Method: x.request.Method, Host: x.host, Path: x.path, Status: x.status,
		Credentials: credentials, Refused: x.reason, Attack: x.attack, Flood: x.flood})
	if ok {
		s.cfg.Strikes.Strike(strike)
	}
}

// bringsCredentials reports whether a request tries to log in. Schemes in which a 401 is a step on the way do not count.
func bringsCredentials(h http.Header) bool {
	for _, v := range h["Authorization"] {
		scheme, _, _ := strings.Cut(v, " ")
		if !strings.EqualFold(scheme, "Negotiate") && !strings.EqualFold(scheme, "NTLM") {
			return true
		}
	}
	return false
}
