package proxy

import (
	"net/http"
	"strings"

	"github.com/platformd/platformd/proxy/wire"
)

// judgeStream is for HTTP/2 and HTTP/3 what the server of HTTP/1 does by itself, where their servers let pass what they should not: a
// second length, a Host that is not :authority, and a :path that names a host (RFC 9113, sections 8.1.1 and 8.3.1).
func judgeStream(r *http.Request) string {
	lengths := r.Header["Content-Length"]
	if len(lengths) > 1 {
		return "there is more than one Content-Length"
	}
	if len(lengths) == 1 && !lengthIs(lengths[0]) {
		return "Content-Length is not a number"
	}
	hosts := r.Header["Host"]
	if len(hosts) > 1 || len(hosts) == 1 && !strings.EqualFold(hosts[0], r.Host) {
		return "Host and :authority name different hosts"
	}
	delete(r.Header, "Host")
	if r.Method != http.MethodConnect && r.RequestURI != "*" && !strings.HasPrefix(r.RequestURI, "/") {
		return "the target is no path"
	}
	return ""
}

// lengthIs reports whether a Content-Length is digits and fits.
func lengthIs(v string) bool {
	_, ok := wire.Length([]byte(v))
	return ok
}
