package buffer

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/platformd/platformd/proxy/proxytest"
)

func pool(t *testing.T, c PoolConfig) *Pool {
	t.Helper()
	p, err := NewPool(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proxytest.Eventually(t, "everything is given back", func() bool { m, d := p.Usage(); return m == 0 && d == 0 })
		if c.Dir != "" {
			if left, err := os.ReadDir(c.Dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		}
	})
	return p
}

func wrap(t *testing.T, c Config, p *Pool, next http.HandlerFunc) http.Handler {
	t.Helper()
	b, err := New(c, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b.Wrap(next)
}

// long is more than all buffers of sockets between a client and a server here.
var long = bytes.Repeat([]byte("0123456789abcdef"), 2<<20)

// ask sends a request by hand, of which nobody reads the answer yet.
func ask(t *testing.T, s *proxytest.Server, request string) *tls.Conn {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: s.Client.Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"})
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestSlowClientDoesNotHoldTheBackEnd: the back end is done while the client has read nothing; then the client gets all.
func TestSlowClientDoesNotHoldTheBackEnd(t *testing.T) {
	for _, mode := range []Mode{Full, Adaptive} {
		for _, where := range []string{"memory", "disk"} {
			t.Run(string(mode)+" "+where, func(t *testing.T) {
				pc, c := PoolConfig{MemoryBytes: 100 << 20}, Config{Response: mode, MemoryBytes: 64 << 20}
				if where == "disk" {
					pc, c = PoolConfig{Dir: t.TempDir()}, Config{Response: mode, MemoryBytes: 1}
				}
				var done atomic.Bool
				p := pool(t, pc)
				s := proxytest.Start(t, wrap(t, c, p, func(w http.ResponseWriter, r *http.Request) {
					for piece := range 32 {
						if _, err := w.Write(long[piece<<20 : (piece+1)<<20]); err != nil {
							t.Error(err)
						}
					}
					done.Store(true)
				}))
				conn := ask(t, s, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				proxytest.Eventually(t, "the back end is done", done.Load)
				memory, disk := p.Usage()
				if where == "disk" && (disk < 16<<20 || memory > 2*blockBytes) {
					t.Errorf("holds %d in memory, %d on disk", memory, disk)
				}
				answer, err := io.ReadAll(conn)
				if err != nil && err != io.ErrUnexpectedEOF {
					t.Fatal(err)
				}
				_, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
				if mode == Full && !bytes.Equal(body, long) {
					t.Errorf("got %d bytes, want %d", len(body), len(long))
				}
				if mode == Adaptive && len(body) < len(long) { // chunked
					t.Errorf("got %d bytes", len(body))
				}
			})
		}
	}
}

// TestStreamingHoldsIt: without a buffer the back end waits, which shows that the test above can fail.
func TestStreamingHoldsIt(t *testing.T) {
	p := pool(t, PoolConfig{})
	var done atomic.Bool
	written := make(chan struct{})
	s := proxytest.Start(t, wrap(t, Config{}, p, func(w http.ResponseWriter, r *http.Request) {
		w.Write(long[:1<<10])
		close(written)
		if _, err := w.Write(long); err == nil {
			done.Store(true)
		}
	}))
	conn := ask(t, s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-written
	conn.Close()
	if done.Load() {
		t.Error("everything was written though nobody read")
	}
}

func TestResponses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		pc   PoolConfig
		c    Config
	}{
		{"full", PoolConfig{}, Config{Response: Full}},
		{"adaptive", PoolConfig{}, Config{Response: Adaptive}},
		{"full, no room", PoolConfig{MemoryBytes: 1}, Config{Response: Full, MemoryBytes: 1}},
		{"adaptive, no room", PoolConfig{MemoryBytes: 1}, Config{Response: Adaptive, MemoryBytes: 1}},
		{"full, disk", PoolConfig{Dir: dir}, Config{Response: Full, MemoryBytes: 50 << 10}},
		{"adaptive, disk", PoolConfig{Dir: dir}, Config{Response: Adaptive, MemoryBytes: 50 << 10}},
		{"full, disk is full", PoolConfig{Dir: dir, DiskBytes: 100 << 10}, Config{Response: Full, MemoryBytes: 50 << 10}},
		{"full, disk bound of the body", PoolConfig{Dir: dir}, Config{Response: Full, MemoryBytes: 50 << 10, DiskBytes: 40 << 10}},
		{"adaptive, disk is full", PoolConfig{Dir: dir, DiskBytes: 100 << 10}, Config{Response: Adaptive, MemoryBytes: 50 << 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(t, tt.pc)
			h := wrap(t, tt.c, p, func(w http.ResponseWriter, r *http.Request) {
				var n int
				fmt.Sscanf(r.URL.Path, "/%d", &n)
				w.Header().Set("X-Path", r.URL.Path)
				w.WriteHeader(http.StatusAccepted)
				if r.URL.Query().Has("copy") {
					io.Copy(w, bytes.NewReader(long[:n]))
					return
				}
				for off := 0; off < n; off += 7001 {
					w.Write(long[off:min(off+7001, n)])
					if r.URL.Query().Has("flush") {
						http.NewResponseController(w).Flush()
					}
				}
			})
			proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
				for _, n := range []int{0, 1, blockBytes - 1, blockBytes, blockBytes + 1, 60 << 10, 500 << 10, 3 << 20} {
					for _, how := range []string{"", "?copy", "?flush"} {
						got := s.Get(fmt.Sprintf("/%d%s", n, how))
						if got.StatusCode != 202 || got.Text != string(long[:n]) || got.Broken != nil || got.Header.Get("X-Path") == "" {
							t.Errorf("%d%s: got %d, %d bytes, %v", n, how, got.StatusCode, len(got.Text), got.Broken)
						}
						if tt.name == "full" && n < 1<<20 && got.ContentLength != int64(n) {
							t.Errorf("%d%s: length %d", n, how, got.ContentLength)
						}
					}
				}
				if got := s.Do("HEAD", "/100"); got.StatusCode != 202 {
					t.Errorf("HEAD: %d", got.StatusCode)
				}
			})
		})
	}
}

// TestFlush: adaptive passes on what is flushed while the handler goes on, and so does full what must not wait.
func TestFlush(t *testing.T) {
	for _, tt := range []struct {
		mode   Mode
		fields []string
	}{
		{Adaptive, nil},
		{Full, []string{"Content-Type", "text/event-stream"}},
		{Full, []string{"Content-Type", "application/grpc+proto"}},
		{Full, []string{"X-Accel-Buffering", "no"}},
	} {
		step := make(chan struct{})
		h := wrap(t, Config{Response: tt.mode}, pool(t, PoolConfig{}), func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(tt.fields); i += 2 {
				w.Header().Set(tt.fields[i], tt.fields[i+1])
			}
			for i := range 3 {
				fmt.Fprintf(w, "part %d", i)
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				<-step
			}
		})
		proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
			resp, err := s.Client.Do(s.Request("GET", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			for i := range 3 {
				got := make([]byte, 6)
				if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != fmt.Sprintf("part %d", i) {
					t.Fatalf("%v: got %q, %v", tt, got, err)
				}
				step <- struct{}{}
			}
			if resp.Header.Get("X-Accel-Buffering") != "" {
				t.Error("what was meant for the proxy reached the client")
			}
		})
	}
}

func TestBreaks(t *testing.T) {
	for _, mode := range []Mode{Full, Adaptive} {
		for _, how := range []string{"panic", "short"} {
			h := wrap(t, Config{Response: mode}, pool(t, PoolConfig{}), func(w http.ResponseWriter, r *http.Request) {
				if how == "short" {
					w.Header().Set("Content-Length", "200000")
				}
				w.Write(long[:100_000])
				if how == "panic" {
					panic(http.ErrAbortHandler)
				}
			})
			proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
				resp, err := s.Client.Do(s.Request("GET", "/", nil))
				if err != nil {
					return
				}
				defer resp.Body.Close()
				if mode == Full {
					t.Errorf("%s: got %d of a response that is not whole", how, resp.StatusCode)
				}
				if _, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%s, %s: taken for whole", mode, how)
				}
			})
		}
	}
}

// TestClientGoes: a client that goes ends the back end's work.
func TestClientGoes(t *testing.T) {
	for _, mode := range []Mode{Adaptive, Full} {
		ended := make(chan error, 1)
		s := proxytest.Start(t, wrap(t, Config{Response: mode, MemoryBytes: 1}, pool(t, PoolConfig{}), func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(long[:blockBytes]); err != nil {
					ended <- err
					panic(http.ErrAbortHandler)
				}
			}
		}))
		conn := ask(t, s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		io.ReadFull(conn, make([]byte, 1<<16))
		conn.Close()
		<-ended
	}
}

// TestHandlerPanicsWhileTheClientIsSlow: the goroutine that writes to the client does not outlive the handler.
func TestHandlerPanicsWhileTheClientIsSlow(t *testing.T) {
	p := pool(t, PoolConfig{})
	panicking := make(chan struct{})
	s := proxytest.Start(t, wrap(t, Config{Response: Adaptive, MemoryBytes: 40 << 20}, p, func(w http.ResponseWriter, r *http.Request) {
		w.Write(long)
		// Until the sockets between here and the client are full, and the goroutine waits in the middle of a piece.
		out, before, same := w.(*writer), int64(0), 0
		proxytest.Eventually(t, "the client takes no more", func() bool {
			out.mu.Lock()
			defer out.mu.Unlock()
			if out.off == 0 || out.off != before {
				before, same = out.off, 0
				return false
			}
			same++
			return same == 20
		})
		close(panicking)
		panic(http.ErrAbortHandler)
	}))
	ask(t, s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-panicking
	proxytest.Eventually(t, "what was held is given back", func() bool { m, _ := p.Usage(); return m == 0 })
}

func TestHintsAndTrailers(t *testing.T) {
	for _, mode := range []Mode{Full, Adaptive} {
		h := wrap(t, Config{Response: mode}, pool(t, PoolConfig{}), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
		})
		outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Outer", "1")
			h.ServeHTTP(w, r)
		})
		proxytest.Each(t, outer, func(t *testing.T, s *proxytest.Server) {
			var hints http.Header
			r := s.Request("GET", "/", nil)
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
				hints = http.Header(h)
				return nil
			}}))
			got := s.Send(r)
			if got.Text != "body" || got.Trailer.Get("X-Sum") != "42" || got.Header.Get("X-Sum") != "" || got.Header.Get("Content-Type") == "" || got.Header.Get("X-Outer") != "1" {
				t.Errorf("%s: %q %q %q", mode, got.Text, got.Header, got.Trailer)
			}
			if hints.Get("Link") == "" {
				t.Errorf("%s: hints: %q", mode, hints)
			}
		})
	}
}

// TestRequests: what arrives at a real back end behind a real proxy.
func TestRequests(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
		fmt.Fprintf(w, "%d %v %v", len(body), err, bytes.Equal(body, long[:len(body)]))
	}))
	t.Cleanup(back.Close)
	to, _ := url.Parse(back.URL)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	dir := t.TempDir()
	for _, tt := range []struct {
		name    string
		pc      PoolConfig
		c       Config
		chunked bool
		trailer bool
		n       int
		length  string // that the back end is told
	}{
		{"full", PoolConfig{}, Config{Request: Full}, false, false, 100_000, "100000"},
		{"full, chunked", PoolConfig{}, Config{Request: Full}, true, false, 100_000, "100000"},
		{"full, chunked with a trailer", PoolConfig{}, Config{Request: Full}, true, true, 100_000, "-1"},
		{"full, empty", PoolConfig{}, Config{Request: Full}, true, false, 0, "0"},
		{"full, disk", PoolConfig{Dir: dir}, Config{Request: Full, MemoryBytes: 50_000}, true, false, 1 << 20, "1048576"},
		{"full, no room", PoolConfig{}, Config{Request: Full, MemoryBytes: 50_000}, true, false, 1 << 20, "-1"},
		{"full, no room, length known", PoolConfig{}, Config{Request: Full, MemoryBytes: 50_000}, false, false, 1 << 20, "1048576"},
		{"adaptive", PoolConfig{}, Config{Request: Adaptive}, false, false, 100_000, "100000"},
		{"adaptive, chunked", PoolConfig{}, Config{Request: Adaptive}, true, false, 100_000, "-1"},
		{"adaptive, long", PoolConfig{}, Config{Request: Adaptive, AdaptiveBytes: 50_000}, false, false, 100_000, "100000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := wrap(t, tt.c, pool(t, tt.pc), proxy.ServeHTTP)
			proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
				var body io.Reader = bytes.NewReader(long[:tt.n])
				if tt.chunked {
					body = io.MultiReader(body)
				}
				r := s.Request("POST", "/", body)
				if tt.trailer {
					r.Trailer = http.Header{"X-Sum": {"42"}}
				}
				got := s.Send(r)
				if want := fmt.Sprintf("%d <nil> true", tt.n); got.Text != want || got.Header.Get("X-Length") != tt.length || (got.Header.Get("X-Sum") == "42") != tt.trailer {
					t.Errorf("got %q, length %s, want %q, %s", got.Text, got.Header.Get("X-Length"), want, tt.length)
				}
			})
		})
	}
}

// TestBadRequestsStopHere: what breaks off, or has chunks that are none, never reaches the back end.
func TestBadRequestsStopHere(t *testing.T) {
	var reached atomic.Bool
	h := wrap(t, Config{Request: Full}, pool(t, PoolConfig{}), func(w http.ResponseWriter, r *http.Request) { reached.Store(true) })
	limited := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 10)
		h.ServeHTTP(w, r)
	})
	s := proxytest.Start(t, limited)
	for request, want := range map[string]string{
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\nzz\r\n":          "HTTP/1.1 400",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello world":                           "HTTP/1.1 413",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nb\r\nhello world\r\n0\r\n\r\n": "HTTP/1.1 413",
	} {
		conn := ask(t, s, request)
		answer, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), want) || reached.Load() {
			t.Errorf("%q: got %q, reached: %v", request, answer, reached.Load())
		}
	}
	// Half a body, and then nothing more: the back end hears of it as little.
	conn := ask(t, s, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf")
	conn.CloseWrite()
	io.ReadAll(conn)
	if reached.Load() {
		t.Error("half a request reached the back end")
	}
	if got := s.Send(s.Request("POST", "/", strings.NewReader("whole"))); got.StatusCode != 200 || !reached.Load() {
		t.Errorf("a good one: %d", got.StatusCode)
	}
}

// TestUpgradesAreLeftAlone: both directions of a WebSocket are open at once.
func TestUpgradesAreLeftAlone(t *testing.T) {
	h := wrap(t, Config{Request: Full, Response: Full}, pool(t, PoolConfig{}), func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		io.Copy(conn, rw)
	})
	s := proxytest.Start(t, h)
	resp, err := s.Client.Transport.RoundTrip(s.Request("GET", "/", nil, "Connection", "Upgrade", "Upgrade", "echo"))
	if err != nil {
		t.Fatal(err)
	}
	both := resp.Body.(io.ReadWriteCloser)
	defer both.Close()
	io.WriteString(both, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(both, got); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPoolIsShared(t *testing.T) {
	p := pool(t, PoolConfig{MemoryBytes: 4 * blockBytes})
	one, two := &spool{pool: p, memory: 1 << 20}, &spool{pool: p, memory: 1 << 20}
	if n := one.append(long[:10*blockBytes]); n != 4*blockBytes {
		t.Errorf("one took %d", n)
	}
	if n := two.append(long[:10*blockBytes]); n != blockBytes {
		t.Errorf("two took %d: want the one block that everybody has", n)
	}
	one.reset()
	if n := two.append(long[:10*blockBytes]); n != 3*blockBytes {
		t.Errorf("then two took %d", n)
	}
	two.reset()
}

func TestValidate(t *testing.T) {
	for path, err := range map[string]error{
		"response":       Config{Response: "ful"}.Validate(),
		"request":        Config{Request: "none"}.Validate(),
		"memory_bytes":   Config{MemoryBytes: -1}.Validate(),
		"disk_bytes":     PoolConfig{DiskBytes: 1}.Validate(),
		"adaptive_bytes": Config{AdaptiveBytes: -1}.Validate(),
		"dir":            PoolConfig{Dir: "x/../y"}.Validate(),
	} {
		if err == nil || !strings.Contains(err.Error(), path+": ") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	if text, _ := json.Marshal(Config{Response: Full}); string(text) != `{"response":"full"}` {
		t.Errorf("written as %s", text)
	}
}
