package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/header"
)

// Auth asks another server about each request before the back end sees it. It is asked by GET, without the body, with the
// method, host and path in X-Forwarded-Method, -Proto, -Host, -Uri and -For. What it answers with 2xx goes on; 401, 403
// and redirects are answered to the client as they are; anything else, and no answer in time, is a failure, and nothing
// passes. Answers are not remembered.
type Auth struct {
	URL string `json:"url"`
	// HeadersUp are headers of the request that it is told besides; without any, Cookie, Authorization, Accept and User-Agent.
	HeadersUp []string `json:"headers_up,omitempty"`
	// HeadersDown are headers of its answer that the back end gets. What the client sent by these names is removed, always.
	HeadersDown []string       `json:"headers_down,omitempty"`
	Timeout     field.Duration `json:"timeout,omitempty"` // default 5s
}

// Bounds of what an auth server says.
const (
	authTimeout = 5 * time.Second
	authHead    = 64 << 10
	authBody    = 256 << 10
)

// Validate says everything that is wrong with a.
func (a *Auth) Validate() error {
	var e field.Errors
	u, err := url.Parse(a.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		e.Add("url", "%q is not a URL; write for example http://127.0.0.1:9091/verify", a.URL)
	case u.User != nil:
		e.Add("url", "%q holds a password; leave it out", u.Redacted())
	}
	for _, l := range []struct {
		at    string
		names []string
	}{{"headers_up", a.HeadersUp}, {"headers_down", a.HeadersDown}} {
		for i, n := range l.names {
			c := http.CanonicalHeaderKey(n)
			if !httpguts.ValidHeaderFieldName(n) || strings.Contains(n, "_") {
				e.Add(field.Index(l.at, i), "%q is not a header name", n)
			} else if header.HopByHop(c) || c == "Host" || c == "Content-Length" || claims(c) {
				e.Add(field.Index(l.at, i), "%s belongs to the connection or is the proxy's to say", n)
			}
		}
	}
	if t := time.Duration(a.Timeout); t != 0 && (t < 100*time.Millisecond || t > time.Minute) {
		e.Add("timeout", "%v must be between 100ms and 1m", t)
	}
	return e.Err()
}

var authHeaders = []string{"Cookie", "Authorization", "Accept", "User-Agent"}

func newAuthTransport() *http.Transport {
	return &http.Transport{DialContext: (&net.Dialer{Timeout: authTimeout}).DialContext, MaxIdleConnsPerHost: 64, IdleConnTimeout: 4 * time.Second,
		TLSHandshakeTimeout: authTimeout, MaxResponseHeaderBytes: authHead, DisableCompression: true}
}

// authorized asks the auth server of a route, and reports whether the request may go on. It answers where not.
func (s *Server) authorized(x *exchange) bool {
	a := x.route.Auth
	if a == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(x.request.Context(), orDefault(a.Timeout, authTimeout))
	defer cancel()
	resp, err := s.ask(ctx, x, a)
	h := x.request.Header
	for _, name := range a.HeadersDown {
		h.Del(name)
		delete(x.request.Trailer, http.CanonicalHeaderKey(name))
		keepThrough(h, name)
	}
	if err != nil {
		switch timeout, ok := errors.AsType[net.Error](err); {
		case x.request.Context().Err() != nil:
			x.reason, x.status = "the client left", statusClientLeft
			panic(http.ErrAbortHandler)
		case ok && timeout.Timeout():
			s.fail(x, http.StatusGatewayTimeout, "auth: "+err.Error())
		default:
			s.fail(x, http.StatusBadGateway, "auth: "+err.Error())
		}
		return false
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code >= 200 && code <= 299:
		_, _ = io.CopyN(io.Discard, resp.Body, authBody) // so that the connection can be used again
		for _, name := range a.HeadersDown {
			if v := resp.Header.Values(name); len(v) > 0 {
				h[http.CanonicalHeaderKey(name)] = v
			}
		}
		return true
	case code == http.StatusUnauthorized, code == http.StatusForbidden, slices.Contains(redirectStatuses, code):
		pass(x, resp)
	default:
		s.fail(x, http.StatusBadGateway, "auth: answered "+resp.Status)
	}
	return false
}

func (s *Server) ask(ctx context.Context, x *exchange, a *Auth) (*http.Response, error) {
	r := x.request
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
	if err != nil {
		return nil, err
	}
	up := a.HeadersUp
	if len(up) == 0 {
		up = authHeaders
	}
	req.Header["User-Agent"] = []string{""} // none is made up
	for _, name := range up {
		if v := r.Header.Values(name); len(v) > 0 {
			req.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	proto, host := x.conn.scheme(), r.Host
	if x.trusted {
		if v := r.Header.Get("X-Forwarded-Proto"); v == "http" || v == "https" {
			proto = v
		}
		if v := r.Header.Get("X-Forwarded-Host"); v != "" {
			host = v
		}
	}
	uri := x.variable("$request_uri")
	for name, v := range map[string]string{"X-Forwarded-Method": r.Method, "X-Forwarded-Proto": proto, "X-Forwarded-Host": host, "X-Forwarded-Uri": uri,
		"X-Forwarded-For": x.client.String(), "X-Request-Id": x.requestID()} {
		req.Header[name] = []string{v}
	}
	return s.auth.RoundTrip(req) // which follows no redirect
}

// pass answers the client with what the auth server said.
func pass(x *exchange, resp *http.Response) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, authBody+1))
	if err != nil || len(body) > authBody {
		body = nil
	}
	header.RemoveHopByHop(resp.Header)
	h := x.Header()
	for name, v := range resp.Header {
		if name != "Content-Length" && name != "Date" {
			h[name] = v
		}
	}
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = []string{"no-store"}
	}
	if x.request.ProtoMajor == 1 && x.request.ContentLength != 0 {
		h["Connection"] = closing
	}
	x.WriteHeader(resp.StatusCode)
	if x.request.Method != http.MethodHead {
		_, _ = x.Write(body)
	}
}

// keepThrough takes a name out of Connection, with which a client could have it removed on the way to the back end.
func keepThrough(h http.Header, name string) {
	lines := h["Connection"]
	for i, line := range lines {
		if !httpguts.HeaderValuesContainsToken(lines[i:i+1], name) {
			continue
		}
		tokens := slices.DeleteFunc(strings.Split(line, ","), func(t string) bool { return strings.EqualFold(strings.TrimSpace(t), name) })
		lines[i] = strings.Join(tokens, ",")
	}
}
