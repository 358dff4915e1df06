package proxy

import (
	"net/http"
	"strings"
)

// redirector answers with another address.
func redirector(r *Route, target string) http.Handler {
	status := r.Redirect.Status
	if status == 0 {
		status = http.StatusMovedPermanently
	}
	parts := splitVariables(target)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		x := exchangeOf(w)
		to := expand(parts, x)
		if r.Redirect.PreservePath {
			to = strings.TrimSuffix(to, "/") + x.route.rest(x.path)
			if q := req.URL.RawQuery; q != "" {
				to += "?" + q
			}
		}
		w.Header()["Location"] = []string{to}
		w.Header()["Content-Length"] = []string{"0"}
		w.WriteHeader(status)
	})
}
