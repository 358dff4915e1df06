package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// backends makes the handlers of routes, and keeps their connections from one table to the next.
type backends struct {
	roots []string
	mu    sync.Mutex
	known map[backendKey]*http.Transport
}

// backendKey is what connections to a back end depend on.
type backendKey struct {
	scheme, host, sni, ca string
	connect, answer       time.Duration
}

func newBackends(roots []string) *backends {
	return &backends{roots: roots, known: map[backendKey]*http.Transport{}}
}

// handler implements Back.
func (b *backends) handler(r *Route) (http.Handler, error) {
	kind, target := r.kind()
	switch kind {
	case backendRedirect:
		return redirector(r, target), nil
	case backendFiles:
		return b.files(r, target)
	}
	u, err := r.backendTarget()
	if err != nil {
		return nil, err
	}
	t, err := b.transport(r, u)
	if err != nil {
		return nil, err
	}
	return &forwarder{base: u, transport: t, keepHost: r.PreserveHost != Off, proxy: reverse(t)}, nil
}

// check implements Back without keeping anything.
func (b *backends) check(r *Route) (http.Handler, error) {
	return newBackends(b.roots).handler(r)
}

// key is what the transport of a route depends on.
func (r *Route) transportKey(u *url.URL) backendKey {
	return backendKey{u.Scheme, u.Host, r.SNIName, r.CA, orDefault(r.BackendTimeouts.Connect, 10*time.Second), orDefault(r.BackendTimeouts.Answer, time.Minute)}
}

func (b *backends) transport(r *Route, u *url.URL) (http.RoundTripper, error) {
	key := r.transportKey(u)
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.known[key]; t != nil {
		return t, nil
	}
	dialer := &net.Dialer{Timeout: key.connect, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        4 * time.Second, // back ends close theirs after five, commonly; a request must not meet that
		ResponseHeaderTimeout:  key.answer,
		TLSHandshakeTimeout:    key.connect,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		Protocols:              new(http.Protocols),
	}
	switch u.Scheme {
	case "h2c":
		t.Protocols.SetUnencryptedHTTP2(true)
	case "https":
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
		t.TLSClientConfig = &tls.Config{ServerName: r.SNIName, MinVersion: tls.VersionTLS12}
		if r.CA != "" {
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM([]byte(r.CA)) {
				return nil, errors.New("ca: holds no certificate; paste the PEM of the authority that signed the back end's")
			}
			t.TLSClientConfig.RootCAs = pool
		}
	default:
		t.Protocols.SetHTTP1(true)
	}
	b.known[key] = t
	return t, nil
}

// keep closes idle connections to back ends that the new table has not.
func (b *backends) keep(now, _ *Table) {
	wanted := map[backendKey]bool{}
	for i := range now.cfg.Routes {
		r := &now.cfg.Routes[i]
		if kind, _ := r.kind(); kind == backendURL {
			if u, err := r.backendTarget(); err == nil {
				wanted[r.transportKey(u)] = true
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, t := range b.known {
		if !wanted[key] {
			t.CloseIdleConnections()
			delete(b.known, key)
		}
	}
}

// forwarder sends requests on.
type forwarder struct {
	base      *url.URL
	transport http.RoundTripper
	keepHost  bool
	proxy     *httputil.ReverseProxy
}

// ServeHTTP implements http.Handler.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(w)
	f.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), forwardKey{}, &forwarding{f, x})))
}

type forwardKey struct{}

// forwarding is what rewrite has to know of a request.
type forwarding struct {
	*forwarder
	x *exchange
}

// reverse is the standard library's proxy with what this one says of a client.
func reverse(t http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:  t,
		BufferPool: pool{},
		ErrorLog:   silent,
		Rewrite:    rewrite,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if x := exchangeOf(w); x != nil {
				x.conn.server.failed(x, err)
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			resp.Header["Via"] = append(resp.Header["Via"], fmt.Sprintf("%d.%d platformd", resp.ProtoMajor, resp.ProtoMinor))
			return nil
		},
	}
}

// silent takes what the standard library has to say; what concerns a request is in its record.
var silent = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)

func rewrite(p *httputil.ProxyRequest) {
	f := p.In.Context().Value(forwardKey{}).(*forwarding)
	x, out := f.x, p.Out
	out.URL.Scheme, out.URL.Host = f.base.Scheme, f.base.Host
	if f.base.Scheme == "h2c" {
		out.URL.Scheme = "http"
	}
	if err := setPath(out.URL, joinPath(f.base.EscapedPath(), x.target())); err != nil {
		out.URL.Path, out.URL.RawPath = "/", ""
	}
	out.URL.RawQuery = p.In.URL.RawQuery
	if f.keepHost {
		out.Host = p.In.Host
	} else {
		out.Host = ""
	}
	x.describe(out)
	if isUpgrade(p.In.Header) && !isWebSocket(p.In) {
		out.Header.Del("Upgrade")
		out.Header.Del("Connection")
	}
}

// target is the path that the back end's own is put before.
func (x *exchange) target() string {
	if x.route.Exact {
		return x.path
	}
	return x.route.rest(x.path)
}

// describe tells the back end of the client (RFC 7239, and the headers that came before it).
func (x *exchange) describe(out *http.Request) {
	h, client := out.Header, x.client.String()
	proto, host, chain := x.conn.scheme(), x.request.Host, x.conn.peer.String()
	if x.trusted {
		if v := x.request.Header["X-Forwarded-For"]; len(v) > 0 {
			chain = strings.Join(v, ", ") + ", " + chain
		}
		if v := x.request.Header.Get("X-Forwarded-Proto"); v == "http" || v == "https" {
			proto = v
		}
		if v := x.request.Header.Get("X-Forwarded-Host"); v != "" {
			host = v
		}
	}
	h["X-Forwarded-For"] = []string{chain}
	h["X-Forwarded-Proto"] = []string{proto}
	h["X-Forwarded-Host"] = []string{host}
	h["X-Real-Ip"] = []string{client}
	node := client
	if x.client.Is6() {
		node = `"[` + client + `]"`
	}
	h["Forwarded"] = []string{"for=" + node + `;host="` + strings.NewReplacer(`\`, ``, `"`, ``).Replace(host) + `";proto=` + proto}
	h["X-Request-Id"] = []string{x.requestID()}
	h["Via"] = append(x.request.Header["Via"][:len(x.request.Header["Via"]):len(x.request.Header["Via"])], fmt.Sprintf("%d.%d platformd", x.request.ProtoMajor, x.request.ProtoMinor))
	for _, name := range x.route.RequestHeaders.Remove {
		delete(h, name)
	}
	setHeaders(h, x.route.setReq, x)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // so that none is made up
	}
}

// failed answers for a back end that did not.
func (s *Server) failed(x *exchange, err error) {
	var timeout interface{ Timeout() bool }
	switch {
	case x.request.Context().Err() != nil && errors.Is(err, context.Canceled):
		x.reason = "the client left"
		x.status = 499 // as nginx counts them; nobody reads the answer
		panic(http.ErrAbortHandler)
	case tooLarge(err):
		s.fail(x, http.StatusRequestEntityTooLarge, "body is too large")
	case errors.As(err, &timeout) && timeout.Timeout():
		s.fail(x, http.StatusGatewayTimeout, "back end: "+err.Error())
	default:
		s.fail(x, http.StatusBadGateway, "back end: "+err.Error())
	}
}

type pool struct{}

func (pool) Get() []byte  { return *buffers.Get().(*[]byte) }
func (pool) Put(b []byte) { buffers.Put(&b) }

// setPath puts an encoded path into a URL so that it is sent as it is.
func setPath(u *url.URL, encoded string) error {
	plain, err := url.PathUnescape(encoded)
	if err != nil {
		return err
	}
	u.Path, u.RawPath = plain, encoded
	if plain == encoded {
		u.RawPath = ""
	}
	return nil
}

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
