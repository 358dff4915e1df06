package cache

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/proxytest"
)

// gate counts who arrives, and lets nobody through before it is opened.
type gate struct {
	mu      sync.Mutex
	arrived int
	open    chan struct{}
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) wait(ctx context.Context) {
	g.mu.Lock()
	g.arrived++
	g.mu.Unlock()
	select {
	case <-g.open:
	case <-ctx.Done():
	}
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.arrived
}

// herd sends n requests at once and hands their answers over.
func herd(s *proxytest.Server, n int, path string, fields ...string) <-chan *proxytest.Response {
	out := make(chan *proxytest.Response, n)
	for range n {
		go func() { out <- s.Get(path, fields...) }()
	}
	return out
}

func TestOneFetchForMany(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	g := newGate()
	proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		g.wait(q.Context())
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "one")
	}), func(t *testing.T, s *proxytest.Server) {
		r.store.PurgeAll()
		g.open = make(chan struct{})
		before := r.asked.Load()
		answers := herd(s, 20, "/")
		proxytest.Eventually(t, "all but one wait", func() bool { return r.store.Stats().Waiting == 19 })
		close(g.open)
		collapsed := 0
		for range 20 {
			got := <-answers
			if got.Text != "one" || got.Header.Get("X-Answer") != fmt.Sprint(before+1) {
				t.Errorf("got %q %q", got.Text, got.Header)
			}
			if strings.Contains(status(got), "collapsed") {
				collapsed++
			}
		}
		if got := r.asked.Load() - before; got != 1 {
			t.Errorf("the back end was asked %d times", got)
		}
		if collapsed != 19 {
			t.Errorf("%d were told that they shared an answer", collapsed)
		}
	})
}

// TestNobodyWaitsForWhatIsNotShared: all requests reach the back end at the same time once it is known that the answer is for
// one only.
func TestNobodyWaitsForWhatIsNotShared(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{Wait: field.Duration(5 * time.Minute)})
	g := newGate()
	h := r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "private")
		if q.Header.Get("X-First") == "" {
			g.wait(q.Context())
		}
		io.WriteString(w, "yours")
	})
	s := proxytest.Start(t, h)
	s.Get("/", "X-First", "1")
	answers := herd(s, 10, "/")
	proxytest.Eventually(t, "all at the back end", func() bool { return g.count() == 10 })
	close(g.open)
	for range 10 {
		if got := <-answers; got.Text != "yours" || status(got) != "platform; fwd=uri-miss" {
			t.Errorf("got %q %q", got.Text, status(got))
		}
	}
	// And after a while it is tried again.
	r.pass(passTime + time.Second)
	if r.store.passed(r.key(s, "/")) {
		t.Error("remembered for ever")
	}
}

// TestWaitersSurviveTheLeader: the one that fetches goes away, or its back end breaks off; the others get an answer.
func TestWaitersSurviveTheLeader(t *testing.T) {
	for _, how := range []string{"leaves", "leaves, and the proxy answers 502", "back end breaks off", "back end breaks off in the body"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, StoreConfig{}, Config{})
			g := newGate()
			s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				if r.asked.Load() > 1 {
					io.WriteString(w, "second")
					return
				}
				if strings.HasSuffix(how, "body") {
					io.WriteString(w, "fir")
				}
				g.wait(q.Context())
				if strings.HasSuffix(how, "502") {
					w.Header().Del("Cache-Control")
					w.WriteHeader(http.StatusBadGateway)
					return
				}
				panic(http.ErrAbortHandler)
			}))
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			led := make(chan struct{})
			go func() {
				defer close(led)
				resp, err := s.Client.Do(s.Request("GET", "/", nil).WithContext(ctx))
				if err != nil {
					return
				}
				defer resp.Body.Close()
				if _, err := io.ReadAll(resp.Body); err == nil {
					t.Error("the leader took a broken body for whole")
				}
			}()
			proxytest.Eventually(t, "the leader is at the back end", func() bool { return g.count() == 1 })
			answers := herd(s, 5, "/")
			proxytest.Eventually(t, "the others wait", func() bool { return r.store.Stats().Waiting == 5 })
			if strings.HasPrefix(how, "leaves") {
				leave()
			} else {
				close(g.open)
			}
			<-led
			for range 5 {
				if got := <-answers; got.Text != "second" {
					t.Errorf("got %q %q", got.Text, status(got))
				}
			}
			if got := r.asked.Load(); got > 4 {
				t.Errorf("the back end was asked %d times", got)
			}
		})
	}
}

// TestWaitIsBounded: a fetch that takes too long is not waited for.
func TestWaitIsBounded(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{Wait: field.Duration(time.Millisecond)})
	g := newGate()
	s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.asked.Load() == 1 {
			g.wait(q.Context())
		}
		io.WriteString(w, "x")
	}))
	first := herd(s, 1, "/")
	proxytest.Eventually(t, "the first is at the back end", func() bool { return g.count() == 1 })
	if got := s.Get("/"); got.Text != "x" {
		t.Errorf("got %q", got.Text)
	}
	close(g.open)
	<-first
}

// slowly connects, asks and does not read.
func slowly(t *testing.T, s *proxytest.Server, path string) net.Conn {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := s.Client.Transport.(*http.Transport)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).SetReadBuffer(4096)
	t.Cleanup(func() { conn.Close() })
	secured := tls.Client(conn, &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, ServerName: "example.com"})
	fmt.Fprintf(secured, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, u.Host)
	return conn
}

// TestSlowClientHoldsUpNobody: the client that leads a fetch does not read; the store gets the whole all the same.
func TestSlowClientHoldsUpNobody(t *testing.T) {
	r := newRig(t, StoreConfig{Dir: t.TempDir()}, Config{})
	body := strings.Repeat("0123456789abcdef", 1<<20)
	s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, body)
	}))
	slowly(t, s, "/")
	proxytest.Eventually(t, "asked", func() bool { return r.asked.Load() == 1 })
	if got := s.Get("/"); got.Text != body || r.asked.Load() != 1 {
		t.Errorf("got %d bytes, %q, asked %d times", len(got.Text), status(got), r.asked.Load())
	}
}

// TestFetchOutlivesItsClient: what can be stored is fetched to its end though the client that wanted it has gone.
func TestFetchOutlivesItsClient(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	g := newGate()
	left := make(chan struct{}, 2)
	inner := r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "first half, ")
		http.NewResponseController(w).Flush()
		g.wait(q.Context())
		if q.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "second half")
	})
	s := proxytest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		context.AfterFunc(q.Context(), func() { left <- struct{}{} })
		inner.ServeHTTP(w, q)
	}))
	ctx, leave := context.WithCancel(t.Context())
	resp, err := s.Client.Do(s.Request("GET", "/", nil).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 12)
	if _, err := io.ReadFull(resp.Body, buffer); err != nil || string(buffer) != "first half, " {
		t.Fatalf("what was flushed did not arrive: %q, %v", buffer, err)
	}
	leave()
	resp.Body.Close()
	<-left
	close(g.open)
	if got := s.Get("/"); got.Text != "first half, second half" || r.asked.Load() != 1 {
		t.Errorf("got %q %q, asked %d times", got.Text, status(got), r.asked.Load())
	}
}

// TestPassingStopsWithItsClient: what nobody else can use is not fetched for a client that has gone.
func TestPassingStopsWithItsClient(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	ended := make(chan struct{})
	proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "first")
		http.NewResponseController(w).Flush()
		<-q.Context().Done()
		ended <- struct{}{}
	}), func(t *testing.T, s *proxytest.Server) {
		ctx, leave := context.WithCancel(t.Context())
		resp, err := s.Client.Do(s.Request("GET", "/", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 5)
		io.ReadFull(resp.Body, buffer)
		leave()
		resp.Body.Close()
		<-ended
	})
}

// TestBodiesThatCannotBeStored: the client gets all of them, and the store nothing.
func TestBodiesThatCannotBeStored(t *testing.T) {
	const large = 300 << 10
	for _, tt := range []struct {
		name   string
		store  StoreConfig
		length bool // the length is known before
		stored bool
	}{
		{"memory, too large", StoreConfig{MemoryBytes: 1 << 20, MemoryObjectBytes: 100 << 10}, false, false},
		{"memory, too large, length known", StoreConfig{MemoryBytes: 1 << 20, MemoryObjectBytes: 100 << 10}, true, false},
		{"disk, too large", StoreConfig{Dir: "x", MemoryObjectBytes: 10 << 10, MaxObjectBytes: 200 << 10}, false, false},
		{"disk, too large, length known", StoreConfig{Dir: "x", MemoryObjectBytes: 10 << 10, MaxObjectBytes: 200 << 10}, true, false},
		{"disk", StoreConfig{Dir: "x", MemoryObjectBytes: 10 << 10}, false, true},
		{"memory", StoreConfig{MemoryObjectBytes: 1 << 20}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.store.Dir != "" {
				tt.store.Dir = t.TempDir()
			}
			r := newRig(t, tt.store, Config{})
			body := bytes.Repeat([]byte("0123456789"), large/10)
			proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Cache-Control", "max-age=60")
				if tt.length {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				}
				for piece := range bytes.Lines(bytes.ReplaceAll(body, []byte("9"), []byte("\n"))) {
					w.Write(bytes.ReplaceAll(piece, []byte("\n"), []byte("9")))
				}
			}), func(t *testing.T, s *proxytest.Server) {
				r.store.PurgeAll()
				before := r.asked.Load()
				for range 3 {
					if got := s.Get("/"); got.Text != string(body) || got.Broken != nil {
						t.Fatalf("got %d bytes, %v", len(got.Text), got.Broken)
					}
				}
				want := int64(3)
				if tt.stored {
					want = 1
				}
				if got := r.asked.Load() - before; got != want {
					t.Errorf("asked %d times, want %d", got, want)
				}
				stats := r.store.Stats()
				if (stats.MemoryObjects+stats.DiskObjects > 0) != tt.stored {
					t.Errorf("holds %+v", stats)
				}
			})
		})
	}
}

// TestPartsAreNeverStored: a body that breaks off breaks off for its client too, and nobody else gets it.
func TestPartsAreNeverStored(t *testing.T) {
	for _, how := range []string{"panic", "short"} {
		r := newRig(t, StoreConfig{}, Config{})
		proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			if how == "short" {
				w.Header().Set("Content-Length", "100")
			}
			io.WriteString(w, "only a part")
			if how == "panic" {
				panic(http.ErrAbortHandler)
			}
		}), func(t *testing.T, s *proxytest.Server) {
			for range 2 {
				resp, err := s.Client.Do(s.Request("GET", "/", nil))
				if err != nil {
					continue
				}
				if body, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%s: taken for whole: %q %q", how, body, resp.Header)
				}
				resp.Body.Close()
			}
			if got := r.store.Stats(); got.MemoryObjects != 0 || got.Stored != 0 {
				t.Errorf("%s: stored %+v", how, got)
			}
		})
	}
}

// TestBackEndBreaksOff: a real back end breaks off behind a real reverse proxy, which has to tell.
func TestBackEndBreaksOff(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
		conn.Close()
	}))
	t.Cleanup(back.Close)
	to, _ := url.Parse(back.URL)
	r := newRig(t, StoreConfig{}, Config{})
	proxytest.Each(t, r.cache.Wrap(&httputil.ReverseProxy{
		Rewrite:  func(p *httputil.ProxyRequest) { p.SetURL(to) },
		ErrorLog: log.New(io.Discard, "", 0),
	}), func(t *testing.T, s *proxytest.Server) {
		for range 2 {
			resp, err := s.Client.Do(s.Request("GET", "/", nil))
			if err != nil {
				continue
			}
			if body, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("taken for whole: %q %q", body, resp.Header)
			}
			resp.Body.Close()
		}
		if got := r.store.Stats(); got.Stored != 0 {
			t.Errorf("stored %+v", got)
		}
	})
}

// TestHandlerGoesOnWithItsHeader: what a handler does to its header after WriteHeader concerns nobody, not even at the same
// time.
func TestHandlerGoesOnWithItsHeader(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", q.Header.Get("X-Control"))
		w.WriteHeader(http.StatusOK)
		for i := range 1000 {
			w.Header().Set(fmt.Sprint("X-Late-", i), "1")
		}
		io.WriteString(w, "body")
	}), func(t *testing.T, s *proxytest.Server) {
		for i := range 20 {
			for _, control := range []string{"max-age=60", "no-store"} {
				if got := s.Get(fmt.Sprintf("/%s/%d", s.URL, i), "X-Control", control); got.Text != "body" || got.Header.Get("X-Late-1") != "" {
					t.Fatalf("got %q %q", got.Text, got.Header)
				}
			}
		}
	})
}

// TestWhatPassesThrough: hints, trailers, streams and upgrades, through a real reverse proxy.
func TestWhatPassesThrough(t *testing.T) {
	step := make(chan struct{})
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, "hinted")
		case "/trailer":
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "with a trailer")
			w.Header().Set("X-Sum", "42")
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				http.NewResponseController(w).Flush()
				<-step
			}
		case "/upgrade":
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
			rw.Flush()
			io.Copy(conn, rw)
		}
	}))
	t.Cleanup(back.Close)
	to, _ := url.Parse(back.URL)
	r := newRig(t, StoreConfig{}, Config{})
	proxytest.Each(t, r.cache.Wrap(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }}), func(t *testing.T, s *proxytest.Server) {
		r.store.PurgeAll()
		if got := s.Get("/hints"); got.Text != "hinted" || got.Header.Get("Link") == "" {
			t.Errorf("hints: %q %q", got.Text, got.Header)
		}
		if got := s.Get("/hints"); !strings.Contains(status(got), "hit") {
			t.Errorf("hints: %q", status(got))
		}
		for range 2 {
			if got := s.Get("/trailer"); got.Text != "with a trailer" || got.Trailer.Get("X-Sum") != "42" {
				t.Errorf("trailer: %q %q", got.Text, got.Trailer)
			}
		}
		resp, err := s.Client.Do(s.Request("GET", "/events", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for i := range 3 {
			want := fmt.Sprintf("data: %d\n\n", i)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Fatalf("event: got %q, %v", got, err)
			}
			step <- struct{}{}
		}
	})
	s := proxytest.Start(t, r.cache.Wrap(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to) }}))
	resp, err := s.Client.Transport.RoundTrip(s.Request("GET", "/upgrade", nil, "Connection", "Upgrade", "Upgrade", "echo"))
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", resp, err)
	}
	both := resp.Body.(io.ReadWriteCloser)
	defer both.Close()
	io.WriteString(both, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(both, got); err != nil || string(got) != "hello" {
		t.Errorf("upgrade: got %q, %v", got, err)
	}
}
