package cache

import (
	"net/http"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/header"
)

// seconds is an argument in whole seconds. The zero value was not given.
type seconds struct {
	given bool
	n     int64
}

func (s seconds) duration() time.Duration { return time.Duration(s.n) * time.Second }

// control is a Cache-Control field (RFC 9111, section 5.2; RFC 5861), of a request or a response.
type control struct {
	noStore, noCache, private, public, onlyIfCached     bool
	mustRevalidate, proxyRevalidate, mustUnderstand     bool
	maxAge, sMaxAge, staleWhileRevalidate, staleIfError seconds
	minFresh, maxStale                                  seconds
	noCacheFields, privateFields                        []string
}

// parseControl reads all lines of the field. What it cannot read counts as the strictest: a max-age that is no number is 0, and
// of two the shorter one holds.
func parseControl(lines []string) control {
	var c control
	for name, arg := range header.Directives(lines) {
		switch name {
		case "no-store":
			c.noStore = true
		case "public":
			c.public = true
		case "must-revalidate":
			c.mustRevalidate = true
		case "proxy-revalidate":
			c.proxyRevalidate = true
		case "must-understand":
			c.mustUnderstand = true
		case "only-if-cached":
			c.onlyIfCached = true
		case "no-cache":
			c.noCacheFields = fields(c.noCacheFields, arg, &c.noCache)
		case "private":
			c.privateFields = fields(c.privateFields, arg, &c.private)
		case "max-age":
			c.maxAge.least(arg)
		case "s-maxage":
			c.sMaxAge.least(arg)
		case "min-fresh":
			c.minFresh.least(arg)
		case "stale-while-revalidate":
			c.staleWhileRevalidate.least(arg)
		case "stale-if-error":
			c.staleIfError.least(arg)
		case "max-stale":
			if !arg.Given { // any staleness
				arg = header.Argument{Text: "2147483647", Given: true}
			}
			c.maxStale.least(arg)
		}
	}
	return c
}

// fields of a qualified directive; one without fields, or with what are none, concerns the whole response.
func fields(have []string, arg header.Argument, whole *bool) []string {
	n := len(have)
	for name := range header.Elements([]string{arg.Text}) {
		have = append(have, http.CanonicalHeaderKey(name))
	}
	if len(have) == n {
		*whole = true
	}
	return have
}

// least keeps the smallest of the values given.
func (s *seconds) least(arg header.Argument) {
	n := int64(0)
	if v, ok := deltaSeconds(arg.Text); ok {
		n = v
	}
	if !s.given || n < s.n {
		*s = seconds{true, n}
	}
}

// deltaSeconds is 1*DIGIT, RFC 9111, section 1.2.2.
func deltaSeconds(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), maxSeconds)
	}
	return n, true
}

// understood are the final status codes whose caching rules this cache knows (RFC 9110, section 15).
func understood(status int) bool {
	switch {
	case status >= 200 && status <= 205, status >= 300 && status <= 303, status == 305, status == 307, status == 308,
		status >= 400 && status <= 417, status == 421, status == 422, status == 426, status == 429, status == 451,
		status >= 500 && status <= 505:
		return true
	}
	return false
}

// heuristic are the codes that may be stored though nothing says for how long (RFC 9110, section 15.1).
func heuristic(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// responseControl is Cache-Control of a response, or in its place what is meant for caches like this one alone:
// CDN-Cache-Control (RFC 9213), or else Surrogate-Control (https://www.w3.org/TR/edge-arch/), of which directives for a
// named surrogate are for another.
func responseControl(h http.Header) control {
	if lines := h["Cdn-Cache-Control"]; len(lines) > 0 && strings.TrimSpace(strings.Join(lines, "")) != "" {
		return parseControl(lines)
	}
	var ours []string
	for e := range header.Elements(h["Surrogate-Control"]) {
		name, _, _ := strings.Cut(strings.ToLower(e), "=")
		if (name == "max-age" || name == "no-store") && !strings.Contains(e, ";") {
			ours = append(ours, e)
		}
	}
	if len(ours) > 0 {
		return parseControl(ours)
	}
	return parseControl(h["Cache-Control"])
}

// ageOf is the Age field: absent is 0. bad is what is no single number; how old such a response is nobody knows.
func ageOf(h http.Header) (age time.Duration, bad bool) {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0, false
	}
	n, ok := deltaSeconds(strings.Trim(lines[0], " \t"))
	if len(lines) > 1 || !ok {
		return 0, true
	}
	return time.Duration(n) * time.Second, false
}

// dateOf is a field with a date; ok is false where it is absent or none.
func dateOf(h http.Header, name string) (time.Time, bool) {
	lines := h[name]
	if len(lines) != 1 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(lines[0])
	return t, err == nil
}
