package header

import (
	"net/http"
	"strings"
)

// HopByHop reports whether a header is of one connection and goes no further (RFC 9110, section 7.6.1), by its canonical name.
func HopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return false
}

// RemoveHopByHop takes away what is of one connection, and what Connection says is.
func RemoveHopByHop(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = strings.TrimSpace(name); name != "" && !strings.EqualFold(name, "Content-Length") {
				h.Del(name)
			}
		}
	}
	for name := range h {
		if HopByHop(name) {
			delete(h, name)
		}
	}
}
