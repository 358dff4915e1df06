package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/platformd/platformd/proxy/buffer"
	"github.com/platformd/platformd/proxy/cache"
	"github.com/platformd/platformd/proxy/compress"
)

// authority signs one certificate for every name that is asked for.
type authority struct {
	cert tls.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB, names ...string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool: x509.NewCertPool()}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(leaf)
	return a
}

func (a *authority) Certificate(context.Context, string) (*tls.Certificate, error) {
	return &a.cert, nil
}
func (a *authority) Challenge(string) *tls.Certificate { return nil }
func (a *authority) Token(token string) string {
	if token == "abc" {
		return "abc.key"
	}
	return ""
}

// journal keeps what a server reports.
type journal struct {
	mu   sync.Mutex
	list []Access
}

func (j *journal) Access(a Access) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, a)
}

// find waits for a record.
func (j *journal) find(t *testing.T, want func(Access) bool) Access {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		j.mu.Lock()
		i := slices.IndexFunc(j.list, want)
		if i >= 0 {
			defer j.mu.Unlock()
			return j.list[i]
		}
		j.mu.Unlock()
	}
	t.Fatalf("no such record in %+v", j.list)
	return Access{}
}

// site is a server on loopback, with clients for it.
type site struct {
	*Server
	journal     journal
	ca          *authority
	https, http string
}

func newSite(t *testing.T, c Config, roots ...string) *site {
	t.Helper()
	s := &site{ca: newAuthority(t, "a.test", "*.b.test", "127.0.0.1")}
	var err error
	if s.Server, err = NewServer(Options{Certificates: s.ca, Reporter: &s.journal, Roots: roots}); err != nil {
		t.Fatal(err)
	}
	if err := s.Configure(c); err != nil {
		t.Fatal(err)
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	secure, plain := listen(), listen()
	s.https, s.http = secure.Addr().String(), plain.Addr().String()
	udp, err := net.ListenPacket("udp", s.https)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(secure, true)
	go s.Serve(plain, false)
	go s.ServeQUIC(udp)
	for s.alt.Load() == nil {
		runtime.Gosched()
	}
	t.Cleanup(func() { s.Server.Close(); udp.Close() })
	return s
}

// client speaks one protocol, and takes every name for this site.
func (s *site) client(t *testing.T, protocol string) *http.Client {
	t.Helper()
	conf := &tls.Config{RootCAs: s.ca.pool}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if protocol == "HTTP/3.0" {
		tr := &http3.Transport{TLSClientConfig: conf}
		tr.Dial = dialQUIC(s.https)
		t.Cleanup(func() { tr.Close() })
		return &http.Client{Transport: tr, CheckRedirect: noRedirect}
	}
	tr := &http.Transport{TLSClientConfig: conf, Protocols: new(http.Protocols), DisableCompression: true}
	tr.Protocols.SetHTTP1(protocol == "HTTP/1.1")
	tr.Protocols.SetHTTP2(protocol == "HTTP/2.0")
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		to := s.https
		if strings.HasSuffix(addr, ":80") {
			to = s.http
		}
		var d net.Dialer
		return d.DialContext(ctx, network, to)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: noRedirect}
}

// say gives the answer to a request and its body.
func say(t *testing.T, c *http.Client, method, url string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: read: %v", method, url, err)
	}
	return resp, string(data)
}

// mirror answers with what it saw.
func mirror(t *testing.T) *httptest.Server {
	t.Helper()
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Powered-By", "mirror")
		fmt.Fprintf(w, "%s %s host=%s body=%d\n", r.Method, r.RequestURI, r.Host, len(body))
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], " | "))
		}
	}))
	t.Cleanup(b.Close)
	return b
}

var protocols = []string{"HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}

func TestForwardsByEveryProtocol(t *testing.T) {
	b := mirror(t)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	for _, p := range protocols {
		t.Run(p, func(t *testing.T) {
			resp, body := say(t, s.client(t, p), "POST", "https://a.test/x%2Fy/../z?q=1;2&r=%zz", strings.NewReader("hello"), "X-Forwarded-For", "6.6.6.6", "X_Forwarded_For", "6.6.6.6", "Proxy", "evil", "Te", "trailers")
			if resp.Proto != p || resp.StatusCode != 200 {
				t.Errorf("got %s %d", resp.Proto, resp.StatusCode)
			}
			for _, want := range []string{"POST /z?q=1;2&r=%zz host=a.test body=5\n", "\nX-Forwarded-For: 127.0.0.1\n", "\nX-Forwarded-Proto: https\n", "\nX-Real-Ip: 127.0.0.1\n",
				`for=127.0.0.1;host="a.test";proto=https`, "\nVia: " + strings.TrimPrefix(p, "HTTP/") + " platformd\n"} {
				if !strings.Contains(body, want) {
					t.Errorf("the back end saw no %q in\n%s", want, body)
				}
			}
			if strings.Contains(body, "6.6.6.6") || strings.Contains(body, "evil") {
				t.Errorf("the back end saw what the client made up:\n%s", body)
			}
			for name, want := range map[string]string{"Strict-Transport-Security": "max-age=63072000", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN",
				"Referrer-Policy": "strict-origin-when-cross-origin", "X-Powered-By": "", "Server": ""} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			if offers := resp.Header.Get("Alt-Svc") != ""; offers != (p != "HTTP/3.0") {
				t.Errorf("Alt-Svc: got %q", resp.Header.Get("Alt-Svc"))
			}
			a := s.journal.find(t, func(a Access) bool { return a.Protocol == p })
			if a.Path != "/z" || a.Status != 200 || a.Received != 5 || a.Sent != int64(len(body)) || a.Client.String() != "127.0.0.1" || a.ID == "" || !strings.Contains(body, a.ID) {
				t.Errorf("got record %+v", a)
			}
		})
	}
}

func TestPlainHTTPRedirects(t *testing.T) {
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: "http://127.0.0.1:1"}}})
	c := s.client(t, "HTTP/1.1")
	_, port, _ := net.SplitHostPort(s.https)
	resp, _ := say(t, c, "GET", "http://a.test/x/?y=z", nil)
	if got, want := resp.Header.Get("Location"), "https://a.test:"+port+"/x/?y=z"; resp.StatusCode != 301 || got != want {
		t.Errorf("got %d to %q, want %q", resp.StatusCode, got, want)
	}
	if resp.Header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS over plain HTTP")
	}
	if resp, body := say(t, c, "GET", "http://a.test/.well-known/acme-challenge/abc", nil); resp.StatusCode != 200 || body != "abc.key" {
		t.Errorf("challenge: got %d %q", resp.StatusCode, body)
	}
	if resp, _ := say(t, c, "GET", "http://a.test/.well-known/acme-challenge/other", nil); resp.StatusCode != 301 {
		t.Errorf("unknown challenge: got %d", resp.StatusCode)
	}
	if resp, _ := say(t, c, "GET", "http://other.test/", nil); resp.StatusCode != 404 {
		t.Errorf("unknown host: got %d, which would lead anywhere", resp.StatusCode)
	}
}

func TestRouting(t *testing.T) {
	b := mirror(t)
	s := newSite(t, Config{Routes: []Route{
		{Host: "a.test", Backend: b.URL},
		{Host: "a.test", Path: "/api/", Backend: b.URL + "/app/"},
		{Host: "a.test", Path: "/api/deep", Backend: b.URL + "/deep"},
		{Host: "a.test", Path: "/api/one", Exact: true, Backend: b.URL},
		{Host: "a.test", Path: "/docs", Backend: b.URL + "/"},
		{Host: "*.b.test", Backend: b.URL + "/wild"},
		{Host: "a.test", Path: "/old", Backend: "redirect:https://new.test/v2", Redirect: Redirect{Status: 308, PreservePath: true}},
		{Host: "a.test", Path: "/away", Backend: "redirect:https://$host$request_uri"},
	}})
	c := s.client(t, "HTTP/1.1")
	for url, want := range map[string]string{
		"https://a.test/x":                 "GET /x ",
		"https://a.test/api":               "GET /app/ ",
		"https://a.test/api/v1/users":      "GET /app/v1/users ",
		"https://a.test/apix":              "GET /apix ",
		"https://a.test/api/deep/er":       "GET /deep/er ",
		"https://a.test/api/one":           "GET /api/one ",
		"https://a.test/api/one/":          "GET /app/one/ ",
		"https://a.test/docs":              "GET / ",
		"https://a.test/docs/guide":        "GET /guide ",
		"https://a.test/docs/../api/x":     "GET /app/x ",
		"https://a.test/docs/%2e%2e/api/x": "GET /app/x ",
		"https://x.b.test/y":               "GET /wild/y ",
	} {
		if resp, body := say(t, c, "GET", url, nil); resp.StatusCode != 200 || !strings.HasPrefix(body, want) {
			t.Errorf("%s: got %d %.40q, want %q", url, resp.StatusCode, body, want)
		}
	}
	for url, want := range map[string]string{
		"https://a.test/old/a?b=c": "308 https://new.test/v2/a?b=c",
		"https://a.test/away/x?y":  "301 https://a.test/away/x?y",
	} {
		resp, _ := say(t, c, "GET", url, nil)
		if got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Location")); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
	if resp, _ := say(t, c, "GET", "https://a.test/docs/..%2fapi/x", nil); resp.StatusCode != 400 {
		t.Errorf("hidden dot segments: got %d", resp.StatusCode)
	}
}

func TestFilters(t *testing.T) {
	b := mirror(t)
	s := newSite(t, Config{Routes: []Route{
		{Host: "a.test", Path: "/closed", Backend: b.URL, Allow: []string{"10.0.0.0/8"}},
		{Host: "a.test", Path: "/open", Backend: b.URL, Allow: []string{"127.0.0.0/8"}},
		{Host: "a.test", Path: "/denied", Backend: b.URL, Allow: []string{"127.0.0.0/8"}, Deny: []string{"127.0.0.1"}},
		{Host: "a.test", Path: "/get", Backend: b.URL, Methods: []string{"GET"}},
		{Host: "a.test", Path: "/small", Backend: b.URL, MaxBody: 10},
		{Host: "a.test", Path: "/header", Backend: b.URL, MaxHeader: 1000},
		{Host: "a.test", Path: "/later", Backend: b.URL, Maintenance: true},
		{Host: "a.test", Path: "/dead", Backend: "http://127.0.0.1:1"},
	}})
	for _, p := range protocols {
		c := s.client(t, p)
		for _, x := range []struct {
			method, path, body, header string
			want                       int
		}{
			{"GET", "/closed", "", "", 403}, {"GET", "/open", "", "", 200}, {"GET", "/denied", "", "", 403},
			{"GET", "/get", "", "", 200}, {"DELETE", "/get", "", "", 405}, {"TRACE", "/open", "", "", 405},
			{"POST", "/small", "0123456789", "", 200}, {"POST", "/small", "0123456789x", "", 413},
			{"GET", "/header", "", strings.Repeat("x", 900), 200}, {"GET", "/header", "", strings.Repeat("x", 1000), 431},
			{"GET", "/later", "", "", 503}, {"GET", "/dead", "", "", 502}, {"GET", "/nowhere", "", "", 404},
		} {
			resp, body := say(t, c, x.method, "https://a.test"+x.path, strings.NewReader(x.body), "X-Big", x.header)
			if resp.StatusCode != x.want || x.want != 200 && !strings.Contains(body, http.StatusText(x.want)) {
				t.Errorf("%s %s %s: got %d %q, want %d", p, x.method, x.path, resp.StatusCode, body, x.want)
			}
		}
		// A body of unknown length is cut off where it gets too large.
		r, w := io.Pipe()
		go func() { io.Copy(w, strings.NewReader(strings.Repeat("x", 100))); w.Close() }()
		if resp, _ := say(t, c, "POST", "https://a.test/small", r); resp.StatusCode != 413 {
			t.Errorf("%s chunked: got %d", p, resp.StatusCode)
		}
	}
}

func TestWebSocketGoesThrough(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			fmt.Fprintf(w, "upgrade %q", r.Header.Get("Upgrade"))
			return
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		fmt.Fprintf(rw, "you said %s", line)
		rw.Flush()
	}))
	defer b.Close()
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	ask := func(upgrade string) (net.Conn, *bufio.Reader, *http.Response) {
		c, err := tls.Dial("tcp", s.https, &tls.Config{RootCAs: s.ca.pool, ServerName: "a.test", NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgrade)
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c, r, resp
	}
	c, r, resp := ask("websocket")
	if resp.StatusCode != 101 || resp.Header.Get("Connection") != "Upgrade" {
		t.Fatalf("got %s, %v", resp.Status, resp.Header)
	}
	fmt.Fprintf(c, "hello\n")
	if line, err := r.ReadString('\n'); line != "you said hello\n" {
		t.Errorf("got %q, %v", line, err)
	}
	// Nothing else is negotiated, and the connection ends, because its bytes were not watched any more.
	c, r, resp = ask("h2c")
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != `upgrade ""` || !resp.Close {
		t.Errorf("h2c: got %s %q, %v", resp.Status, body, resp.Header)
	}
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if rest, err := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("after the refused upgrade came %q, %v", rest, err)
	}
}

func TestReloadKeepsConnections(t *testing.T) {
	b := mirror(t)
	s := newSite(t, Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}})
	for _, p := range protocols[:2] {
		c := s.client(t, p)
		say(t, c, "GET", "https://a.test/", nil)
		before := s.open.Load()
		if err := s.Configure(Config{Routes: []Route{{Host: "a.test", Backend: b.URL + "/new"}}}); err != nil {
			t.Fatal(err)
		}
		if _, body := say(t, c, "GET", "https://a.test/", nil); !strings.HasPrefix(body, "GET /new") || s.open.Load() != before {
			t.Errorf("%s: got %.30q on %d connections, were %d", p, body, s.open.Load(), before)
		}
		bad := Config{Routes: []Route{{Host: "a b", Backend: "x"}, {Host: "a.test", Path: "y", Backend: "http://u:p@h"}}}
		err := s.Configure(bad)
		if err == nil || strings.Count(err.Error(), "routes[") != 4 || strings.Contains(err.Error(), ":p@") {
			t.Errorf("got %v, want every mistake at once", err)
		}
		if _, body := say(t, c, "GET", "https://a.test/", nil); !strings.HasPrefix(body, "GET /new") {
			t.Errorf("%s: a bad configuration changed something: %.30q", p, body)
		}
		if err := s.Configure(Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFilesAreServed(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("www/index.html", "<p>"+strings.Repeat("home ", 1000))
	write("www/guide/index.html", "guide")
	write("www/.git/config", "secret")
	write("outside.txt", "secret")
	if err := os.Symlink("../outside.txt", filepath.Join(root, "www/out.txt")); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, Config{}, root)
	if err := s.Configure(Config{Routes: []Route{{Host: "a.test", Backend: "file://" + root + "/www"}, {Host: "a.test", Path: "/docs", Backend: "file://" + root + "/www/"}, {Host: "a.test", Path: "/one.txt", Exact: true, Backend: "file://" + root + "/outside.txt"}}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		c := s.client(t, p)
		for path, want := range map[string]string{"/": "200 <p>home", "/docs": "200 <p>home", "/docs/guide/": "200 guide", "/one.txt": "200 secret", "/one.txt/x": "404", "/.git/config": "404", "/out.txt": "404", "/nothing": "404", "/docs/../../outside.txt": "404"} {
			resp, body := say(t, c, "GET", "https://a.test"+path, nil)
			if got := fmt.Sprint(resp.StatusCode, " ", body); !strings.HasPrefix(got, want) {
				t.Errorf("%s %s: got %.60q, want %q", p, path, got, want)
			}
		}
		resp, body := say(t, c, "GET", "https://a.test/", nil, "Accept-Encoding", "gzip")
		if resp.Header.Get("Content-Encoding") != "gzip" || len(body) > 500 || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d bytes with %v", p, len(body), resp.Header)
		}
	}
	err := s.Configure(Config{Routes: []Route{{Host: "a.test", Backend: "file:///etc"}, {Host: "b.test", Backend: "file://" + root + "/none"}}})
	if err == nil || !strings.Contains(err.Error(), "--file-root") || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

// What a route stores is served without its back end, compressed for who wants it, and across a reload, until it is purged.
func TestStoredAnswersOutliveAReload(t *testing.T) {
	var asked atomic.Int64
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Cache-Tag", "page")
		io.WriteString(w, strings.Repeat("stored ", 1000))
	}))
	defer b.Close()
	conf := Config{Routes: []Route{{Host: "a.test", Backend: b.URL, Cache: &cache.Config{}, Compress: &compress.Config{}, Buffer: &buffer.Config{Response: buffer.Full}}}}
	s := newSite(t, conf)
	// An answer is stored a moment after it was given.
	untilStored := func() {
		t.Helper()
		for range 1000 {
			if resp, _ := say(t, s.client(t, "HTTP/1.1"), "GET", "https://a.test/x", nil); strings.Contains(resp.Header.Get("Cache-Status"), "hit") {
				return
			}
		}
		t.Fatal("the answer is never stored")
	}
	untilStored()
	before := asked.Load()
	for i, p := range protocols {
		coding := []string{"gzip", "br", "zstd"}[i]
		resp, body := say(t, s.client(t, p), "GET", "https://a.test/x", nil, "Accept-Encoding", coding)
		if resp.StatusCode != 200 || asked.Load() != before || len(body) > 300 || resp.Header.Get("Content-Encoding") != coding {
			t.Errorf("%s: got %d bytes, %d questions to the back end, %v", p, len(body), asked.Load(), resp.Header)
		}
		conf.Routes[0].MaxBody++
		if err := s.Configure(conf); err != nil {
			t.Fatal(err)
		}
	}
	for _, what := range []string{"https://a.test/x", "https://a.test/*", "tag:page", ""} {
		untilStored()
		before := asked.Load()
		if n, err := s.Purge(what); n < 1 || err != nil {
			t.Errorf("purge %q: got %d, %v", what, n, err)
		}
		if say(t, s.client(t, "HTTP/2.0"), "GET", "https://a.test/x", nil); asked.Load() != before+1 {
			t.Errorf("purge %q: the back end was asked %d times, was %d", what, asked.Load(), before)
		}
	}
}
