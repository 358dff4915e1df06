package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/proxy/announce"
	"github.com/platformd/platformd/proxy/header"
	"github.com/platformd/platformd/proxy/upstream/h1"
)

// Timeouts bound how long a back end may take. A zero field means the default of h1.Config.
type Timeouts struct{ Connect, Answer, Stall time.Duration }

// link is the connections to one server.
type link interface {
	Do(ctx context.Context, r *h1.Request) (*h1.Response, error)
	CloseIdle()
}

// newLink makes it; no connection is made yet.
func newLink(s *Server, t Timeouts) (link, *url.URL, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, nil, err
	}
	dial := dialer(s, u)
	switch u.Scheme {
	case "http":
		return h1.New(h1.Config{Dial: dial, Connect: t.Connect, Answer: t.Answer, Stall: t.Stall, Once: s.ProxyProtocol != ""}), u, nil
	case "tcp", "tls", "udp":
		l, err := newStreamLink(s, u, t, dial)
		return l, u, err
	}
	tr, err := newTransport(s, u, t, dial)
	if err == nil && s.ProxyProtocol != "" {
		return &announcing{server: s, url: u, timeouts: t, dial: dial}, u, nil
	}
	return tr, u, err
}

// dialer connects to a server, and tells it for whom where it is to know that.
func dialer(s *Server, u *url.URL) func(context.Context) (net.Conn, error) {
	addr, network := address(u), "tcp"
	if u.Scheme == "udp" {
		network = "udp"
	}
	d := &net.Dialer{KeepAlive: 30 * time.Second}
	d.SetMultipathTCP(false) // the sandbox's rules for TCP do not know it
	if s.ProxyProtocol == "" || network == "udp" {
		return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, addr) }
	}
	return func(ctx context.Context) (net.Conn, error) {
		h, err := announce.Of(ctx).Header(s.ProxyProtocol, false)
		if err != nil {
			return nil, err
		}
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if at, ok := ctx.Deadline(); ok {
			_ = c.SetWriteDeadline(at)
		}
		if _, err = c.Write(h); err == nil {
			err = c.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
}

// announcing is a server that is talked to over TLS or by HTTP/2, and is told who the client is. http.Transport keeps
// connections for whoever comes next, so each request has one of its own.
type announcing struct {
	server   *Server
	url      *url.URL
	timeouts Timeouts
	dial     func(context.Context) (net.Conn, error)
}

// CloseIdle implements link.
func (*announcing) CloseIdle() {}

// Do implements link.
func (a *announcing) Do(ctx context.Context, r *h1.Request) (*h1.Response, error) {
	tr, err := newTransport(a.server, a.url, a.timeouts, a.dial)
	if err != nil {
		return nil, &h1.Error{Op: "send request", Err: err}
	}
	tr.tr.DisableKeepAlives = true
	resp, err := tr.Do(ctx, r)
	if err != nil {
		tr.CloseIdle()
	}
	return resp, err
}

// address is where a URL leads.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// transport is a server that is talked to over TLS or by HTTP/2.
type transport struct {
	tr     *http.Transport
	scheme string
	host   string
	stall  time.Duration
}

func newTransport(s *Server, u *url.URL, t Timeouts, dial func(context.Context) (net.Conn, error)) (*transport, error) {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, orDefault(t.Connect, 10*time.Second))
			defer cancel()
			return dial(ctx)
		},
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        4 * time.Second, // as in h1
		ResponseHeaderTimeout:  orDefault(t.Answer, time.Minute),
		TLSHandshakeTimeout:    orDefault(t.Connect, 10*time.Second),
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		Protocols:              new(http.Protocols),
	}
	scheme := "https"
	if u.Scheme == "h2c" {
		scheme = "http"
		tr.Protocols.SetUnencryptedHTTP2(true)
		return &transport{tr, scheme, u.Host, t.Stall}, nil
	}
	tr.Protocols.SetHTTP1(true)
	tr.Protocols.SetHTTP2(true)
	conf, err := tlsConfig(s)
	tr.TLSClientConfig = conf
	return &transport{tr, scheme, u.Host, t.Stall}, err
}

func tlsConfig(s *Server) (*tls.Config, error) {
	c := &tls.Config{ServerName: s.SNIName, MinVersion: tls.VersionTLS12}
	if s.CA == "" {
		return c, nil
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM([]byte(s.CA)) {
		return nil, errors.New("ca: holds no certificate; paste the PEM of the authority that signed the back end's")
	}
	return c, nil
}

// CloseIdle implements link.
func (t *transport) CloseIdle() { t.tr.CloseIdleConnections() }

// Do implements link.
func (t *transport) Do(ctx context.Context, r *h1.Request) (*h1.Response, error) {
	path, query, _ := strings.Cut(r.Target, "?")
	u := &url.URL{Scheme: t.scheme, Host: t.host, RawQuery: query}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return nil, &h1.Error{Op: "send request", Err: err}
	}
	u.Path, u.RawPath = plain, path
	a := &answer{req: r, stall: orDefault(t.stall, 5*time.Minute)}
	ctx, a.cancel = context.WithCancel(httptrace.WithClientTrace(ctx, a.trace()))
	req := (&http.Request{Method: r.Method, URL: u, Host: r.Host, Header: make(http.Header, len(r.Fields)+4), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	for _, f := range r.Fields {
		name := http.CanonicalHeaderKey(f.Name)
		req.Header[name] = append(req.Header[name], f.Value)
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = []string{""} // so that none is made up
	}
	if r.TrailersOK {
		req.Header["Te"] = []string{"trailers"}
	}
	if r.Upgrade != "" {
		req.Header["Connection"], req.Header["Upgrade"] = []string{"Upgrade"}, []string{r.Upgrade}
	}
	switch {
	case r.Data != nil:
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(r.Data)), int64(len(r.Data))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Data)), nil }
	case r.Body != nil:
		a.body = &guarded{from: r, req: req}
		req.Body, req.ContentLength = a.body, r.Length
		if r.Expect {
			req.Header["Expect"] = []string{"100-continue"}
		}
		if len(r.Announced) > 0 {
			req.Trailer = http.Header{}
			for _, name := range r.Announced {
				req.Trailer[name] = nil
			}
		}
	}
	resp, err := t.tr.RoundTrip(req)
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
	if err != nil {
		clientError := a.body.failure()
		a.Close()
		if clientError != nil {
			return nil, &h1.BodyError{Err: clientError}
		}
		if e := ctx.Err(); e != nil {
			return nil, e
		}
		return nil, &h1.Error{Op: a.op(), Err: err, Sent: a.sent.Load(), Answered: false}
	}
	a.resp = resp
	return a.response(), nil
}

// guarded is a request body that can be taken back: http.Transport may go on reading one after it has answered.
type guarded struct {
	from *h1.Request
	req  *http.Request

	mu    sync.Mutex
	ended bool
	eof   bool
	err   error
}

// Read implements io.Reader.
func (g *guarded) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return 0, io.ErrClosedPipe
	}
	n, err := g.from.Body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		g.eof = true
		if g.from.Trailer != nil {
			for name, values := range g.from.Trailer() {
				if g.req.Trailer != nil {
					g.req.Trailer[name] = values
				}
			}
		}
	case err != nil && g.err == nil:
		g.err = err
	}
	return n, err
}

// Close implements io.Closer; the body itself is the server's to close.
func (g *guarded) Close() error { return nil }

// end waits until nobody reads, and lets nobody read any more.
func (g *guarded) end() {
	if g == nil {
		return
	}
	if !g.mu.TryLock() {
		if g.from.Stop != nil {
			g.from.Stop()
		}
		g.mu.Lock()
	}
	g.ended = true
	g.mu.Unlock()
}

func (g *guarded) failure() error {
	if g == nil {
		return nil
	}
	g.end()
	return g.err
}

// whole reports whether all of the body was read.
func (g *guarded) whole() bool {
	if g == nil {
		return true
	}
	if !g.mu.TryLock() {
		return false
	}
	defer g.mu.Unlock()
	return g.eof
}

// trace passes interim answers on, and notes how far a request came.
func (a *answer) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { a.connected.Store(true) },
		WroteHeaders: func() { a.sent.Store(true) },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if !a.over && code != http.StatusContinue && code != http.StatusSwitchingProtocols && a.req.Interim != nil {
				header.RemoveHopByHop(http.Header(h))
				a.req.Interim(code, http.Header(h))
			}
			return nil
		},
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
