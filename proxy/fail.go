package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
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

// fail answers with an error. The reason goes into the log, and not to the client.
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
	h["Cache-Control"] = []string{"no-store"}
	h["X-Request-Id"] = []string{x.requestID()}
	if x.request.ProtoMajor == 1 && x.request.ContentLength != 0 {
		h["Connection"] = closing // the rest of its body is not worth reading
	}
	kind, body := errorPage(x.request, status, x.requestID())
	h["Content-Type"] = []string{kind}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.WriteHeader(status)
	if x.request.Method != http.MethodHead {
		_, _ = x.Write([]byte(body))
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

// errorPage is the body of an error in the form that the client prefers.
func errorPage(r *http.Request, status int, id string) (kind, body string) {
	title := http.StatusText(status)
	accept := strings.Join(r.Header["Accept"], ",")
	switch {
	case strings.Contains(accept, "text/html"):
		return "text/html; charset=utf-8", fmt.Sprintf(page, status, title, title, advice[status], status, id)
	case strings.Contains(accept, "json"):
		return "application/problem+json", fmt.Sprintf(`{"status":%d,"title":%q,"detail":%q,"instance":"urn:request:%s"}`+"\n", status, title, advice[status], id)
	}
	return plainText[0], fmt.Sprintf("%d %s\n%s\nrequest %s\n", status, title, advice[status], id)
}

const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%d %s</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;color:#222;background:#fff}
small{color:#666}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}small{color:#999}}</style></head>
<body><h1>%s</h1><p>%s</p><p><small>%d · %s</small></p></body></html>
`
