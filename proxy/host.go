package proxy

import (
	"errors"
	"net/netip"
	"strings"
)

var errHost = errors.New("host is not a name or an address")

// normalHost is the host of a request in the one form that is matched: lower case, without port and without the dot of the
// root. RFC 9110, section 7.2.
func normalHost(h string) (string, error) {
	if strings.HasPrefix(h, "[") {
		inner, port, ok := strings.Cut(h[1:], "]")
		a, err := netip.ParseAddr(inner)
		if !ok || err != nil || a.Zone() != "" || !isPort(strings.TrimPrefix(port, ":"), port == "") {
			return "", errHost
		}
		return "[" + a.String() + "]", nil
	}
	if i := strings.IndexByte(h, ':'); i >= 0 {
		if !isPort(h[i+1:], false) {
			return "", errHost
		}
		h = h[:i]
	}
	h = strings.TrimSuffix(h, ".")
	if h == "" || len(h) > 253 {
		return "", errHost
	}
	upper := false
	for i := 0; i < len(h); i++ {
		switch c := h[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return "", errHost
		}
	}
	if strings.HasPrefix(h, ".") || strings.Contains(h, "..") {
		return "", errHost
	}
	if upper {
		h = strings.ToLower(h)
	}
	return h, nil
}

func isPort(s string, empty bool) bool {
	if s == "" {
		return empty
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) <= 5
}

// parent is the wildcard that a name falls under, "" where it has none: "a.example.org" is under "*.example.org".
func parent(host string) string {
	i := strings.IndexByte(host, '.')
	if i <= 0 || host[0] == '[' {
		return ""
	}
	return "*" + host[i:]
}
