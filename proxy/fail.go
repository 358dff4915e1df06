package proxy

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/platformd/platformd/proxy/page"
)

// exchangeOf finds the exchange below the writers that were put around it.
func exchangeOf(w http.ResponseWriter) *exchange {
	for {
		switch v := w.(type) {
		case *exchange:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return nil
		}
	}
}

// fail answers with an error of the proxy's own. The reason goes into the log, and not to the client.
func (s *Server) fail(x *exchange, status int, reason string) {
	if x.reason == "" {
		x.reason = reason
	}
	if x.status != 0 {
		panic(http.ErrAbortHandler) // too late for another answer; the client must see that this one is not whole
	}
	h := x.Header()
	for _, name := range [...]string{"Etag", "Last-Modified", "Cache-Control", "Content-Encoding", "Content-Length"} {
		delete(h, name)
	}
	if x.request.ProtoMajor == 1 && x.request.ContentLength != 0 {
		h["Connection"] = closing // the rest of its body is not worth reading
	}
	x.showError(x, status)
}

// showError writes the head and body of an error to w.
func (x *exchange) showError(w http.ResponseWriter, status int) {
	h := w.Header()
	h["Cache-Control"] = []string{"no-store"}
	h["X-Request-Id"] = []string{x.requestID()}
	kind, body := x.errorPage(status)
	h["Content-Type"] = []string{kind}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if x.request.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// advice is what a person can do about an error.
var advice = map[int]string{
	http.StatusBadRequest:                  "The request cannot be understood.",
	http.StatusForbidden:                   "You may not see this.",
	http.StatusNotFound:                    "There is nothing here.",
	http.StatusMisdirectedRequest:          "This connection was made for another site. Try again.",
	http.StatusTooEarly:                    "This has to wait until the connection is ready. Try again.",
	http.StatusMethodNotAllowed:            "This cannot be done here.",
	http.StatusRequestEntityTooLarge:       "What you sent is too large.",
	http.StatusTooManyRequests:             "That was too much at once. Try again in a while.",
	http.StatusRequestHeaderFieldsTooLarge: "Your browser sent too much about itself. Deleting the cookies of this site helps.",
	http.StatusInternalServerError:         "Something went wrong here. It has been noted.",
	http.StatusBadGateway:                  "The application behind this address does not answer. Try again in a while.",
	http.StatusServiceUnavailable:          "This is being worked on. Try again in a while.",
	http.StatusGatewayTimeout:              "The application behind this address takes too long. Try again in a while.",
}

// errorPage is the body of an error in the form that the client prefers: a page of the route's, of the proxy's, or ours.
func (x *exchange) errorPage(status int) (kind string, body []byte) {
	form := page.Prefer(x.request.Header["Accept"])
	v := page.Values{Status: status, Title: http.StatusText(status), Host: x.host, RequestID: x.requestID()}
	name := ""
	if status == http.StatusServiceUnavailable && x.reason == page.Maintenance {
		name = page.Maintenance
	}
	if x.route != nil {
		if b, ok := x.route.pages.Find(form, name, &v); ok {
			return form.ContentType(), b
		}
	}
	if b, ok := x.table.pages.Find(form, name, &v); ok {
		return form.ContentType(), b
	}
	switch form {
	case page.HTML:
		return form.ContentType(), fmt.Appendf(nil, htmlPage, status, v.Title, v.Title, advice[status], status, v.RequestID)
	case page.JSON:
		return "application/problem+json", fmt.Appendf(nil, `{"status":%d,"title":%q,"detail":%q,"instance":"urn:request:%s"}`+"\n", status, v.Title, advice[status], v.RequestID)
	}
	return form.ContentType(), fmt.Appendf(nil, "%d %s\n%s\nrequest %s\n", status, v.Title, advice[status], v.RequestID)
}

const htmlPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%d %s</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;color:#222;background:#fff}
small{color:#666}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}small{color:#999}}</style></head>
<body><h1>%s</h1><p>%s</p><p><small>%d · %s</small></p></body></html>
`
