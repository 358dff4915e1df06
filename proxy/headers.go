package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// claims are the headers in which a proxy tells of the client. From anybody but a trusted proxy they are lies.
func claims(name string) bool {
	switch name {
	case "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix",
		"X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip",
		"Fastly-Client-Ip", "X-Original-Url", "X-Original-Host", "X-Rewrite-Url", "X-Request-Id", "Front-End-Https", "Via":
		return true
	}
	return certHeader(name)
}

// cleanRequest removes from the head of a request what must not reach a back end: what the client claims of itself, names
// with an underscore, which CGI cannot tell from those with a dash, and Proxy, which becomes HTTP_PROXY there.
func cleanRequest(h http.Header, trusted bool) {
	for name := range h {
		if !trusted && claims(name) || name == "Proxy" || strings.IndexByte(name, '_') >= 0 {
			delete(h, name)
		}
	}
}

// clientAddress is where a request comes from: the peer, or what a chain of trusted proxies says of it, read from its end.
func clientAddress(peer netip.Addr, h http.Header, trusted prefixList) netip.Addr {
	if len(trusted) == 0 || !trusted.has(peer) {
		return peer
	}
	lines := h["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		parts := strings.Split(lines[i], ",")
		for j := len(parts) - 1; j >= 0; j-- {
			a, ok := parseClient(strings.TrimSpace(parts[j]))
			if !ok {
				return peer
			}
			if peer = a; !trusted.has(a) {
				return a
			}
		}
	}
	return peer
}

// parseClient reads an address with or without a port.
func parseClient(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// headerValue is a header whose value may have variables in it.
type headerValue struct {
	name   string
	parts  []string // text and variables in turn, text first
	static []string // where there are none; shared
}

// variables are what a value may hold.
var variables = []string{"$client_ip", "$host", "$request_uri", "$request_id", "$path", "$scheme"}

func compileHeaders(set map[string]string) []headerValue {
	var out []headerValue
	for name, value := range set {
		h := headerValue{name: http.CanonicalHeaderKey(name), parts: splitVariables(value)}
		if len(h.parts) == 1 {
			h.static = []string{value}
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b headerValue) int { return strings.Compare(a.name, b.name) })
	return out
}

// splitVariables gives text and variables in turn.
func splitVariables(s string) []string {
	var out []string
	text := ""
	for s != "" {
		i := strings.IndexByte(s, '$')
		if i < 0 {
			break
		}
		text, s = text+s[:i], s[i:]
		v := ""
		for _, name := range variables {
			if strings.HasPrefix(s, name) && len(name) > len(v) {
				v = name
			}
		}
		if v == "" {
			text, s = text+"$", s[1:]
			continue
		}
		out = append(out, text, v)
		text, s = "", s[len(v):]
	}
	return append(out, text+s)
}

// expand puts the variables of a request in. What a request could use to begin a header of its own is left out.
func expand(parts []string, x *exchange) string {
	if len(parts) == 1 {
		return parts[0]
	}
	var b strings.Builder
	for i, p := range parts {
		if i%2 == 1 {
			p = x.variable(p)
			if !httpguts.ValidHeaderFieldValue(p) {
				continue
			}
		}
		b.WriteString(p)
	}
	return b.String()
}

func (x *exchange) variable(name string) string {
	switch name {
	case "$client_ip":
		return x.client.String()
	case "$host":
		return x.host
	case "$request_uri":
		if q := x.request.URL.RawQuery; q != "" {
			return x.path + "?" + q
		}
		return x.path
	case "$request_id":
		return x.requestID()
	case "$path":
		return x.route.rest(x.path)
	case "$scheme":
		return x.conn.scheme()
	}
	return ""
}

func setHeaders(h http.Header, set []headerValue, x *exchange) {
	for i := range set {
		if v := &set[i]; v.static != nil {
			h[v.name] = v.static
		} else {
			h[v.name] = []string{expand(v.parts, x)}
		}
	}
}
