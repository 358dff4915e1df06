package upstream

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream/h1"
)

// backend is a real server that says its name; what else it does can be changed while it runs.
type backend struct {
	*httptest.Server
	name    string
	seen    atomic.Int64
	checked atomic.Int64
	status  atomic.Int64
	held    atomic.Pointer[chan struct{}] // answers wait for it to be closed
}

func newBackend(t *testing.T, name string) *backend {
	t.Helper()
	b := &backend{name: name}
	b.status.Store(200)
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		b.checked.Add(1)
		w.WriteHeader(int(b.status.Load()))
		return
	}
	b.seen.Add(1)
	if h := b.held.Load(); h != nil {
		<-*h
	}
	if b.status.Load() == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(int(b.status.Load()))
	io.WriteString(w, b.name)
}

// clock is a time that a test moves.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// rig is a set with one group.
type rig struct {
	*testing.T
	set   *Set
	group *Handle
	clock clock
}

func newRig(t *testing.T, g Group) *rig {
	t.Helper()
	r := &rig{T: t}
	r.clock.advance(time.Hour)
	r.set = NewSet(Options{Now: r.clock.now})
	t.Cleanup(r.set.Close)
	r.configure(g)
	return r
}

func (r *rig) configure(g Group) {
	r.Helper()
	g.Name = "app"
	if err := g.Validate(); err != nil {
		r.Fatal(err)
	}
	p := r.set.Plan()
	h, err := p.Add(Spec{Group: g, Timeouts: g.Timeouts.Durations()})
	if err != nil {
		r.Fatal(err)
	}
	p.Apply()
	r.group = h
}

func servers(list ...*backend) []Server {
	var out []Server
	for _, b := range list {
		out = append(out, Server{URL: b.URL})
	}
	return out
}

// ask sends a request and gives the answer's text.
func (r *rig) ask(method, from string) (string, error) {
	return r.send(context.Background(), &h1.Request{Method: method, Target: "/", Host: "a.test", Into: http.Header{}}, from)
}

func (r *rig) send(ctx context.Context, req *h1.Request, from string) (string, error) {
	resp, err := r.group.Do(ctx, req, netip.MustParseAddr(from))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var b strings.Builder
	for {
		piece, err := resp.Body.Next()
		b.Write(piece)
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
	}
}

// count asks n times and says who answered how often; "" are errors.
func (r *rig) count(n int) map[string]int {
	out := map[string]int{}
	for range n {
		name, _ := r.ask("GET", "192.0.2.1")
		out[name]++
	}
	return out
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestRoundRobin(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	list := servers(a, b)
	list[0].Weight = 3
	r := newRig(t, Group{Servers: list})
	order := ""
	for range 8 {
		name, err := r.ask("GET", "192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		order += name
	}
	if want := "aabaaaba"; order != want {
		t.Errorf("got %s, want %s", order, want)
	}
}

func TestIPHash(t *testing.T) {
	a, b, c := newBackend(t, "a"), newBackend(t, "b"), newBackend(t, "c")
	r := newRig(t, Group{Servers: servers(a, b, c), Algorithm: IPHash})
	ask := func(addr string) string {
		t.Helper()
		name, err := r.ask("GET", addr)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	before, spread := map[string]string{}, map[string]int{}
	for i := range 150 {
		addr := fmt.Sprintf("192.0.2.%d", i)
		before[addr] = ask(addr)
		spread[before[addr]]++
	}
	for name, n := range spread {
		if n < 25 {
			t.Errorf("%s has %d of 150 clients", name, n)
		}
	}
	if x, y := ask("2001:db8::1"), ask("2001:db8::ffff"); x != y {
		t.Errorf("one /64 goes to %s and %s", x, y)
	}
	r.configure(Group{Servers: servers(a, b), Algorithm: IPHash})
	for addr, was := range before {
		if now := ask(addr); was != "c" && now != was {
			t.Errorf("%s moved from %s to %s, though only c went", addr, was, now)
		}
	}
}

func TestLeastConnections(t *testing.T) {
	for _, algorithm := range []string{LeastConn, PowerOfTwo} {
		a, b := newBackend(t, "a"), newBackend(t, "b")
		r := newRig(t, Group{Servers: servers(a, b), Algorithm: algorithm})
		hold := make(chan struct{})
		a.held.Store(&hold)
		var held sync.WaitGroup
		for a.seen.Load() == 0 {
			n := a.seen.Load() + b.seen.Load()
			held.Go(func() { r.ask("GET", "192.0.2.1") })
			until(t, "the request to arrive", func() bool { return a.seen.Load()+b.seen.Load() > n })
		}
		if got := r.count(40); got["b"] != 40 {
			t.Errorf("%s: while a is busy: got %v", algorithm, got)
		}
		close(hold)
		held.Wait()
		if got := r.count(40); got["a"] < 5 || got["b"] < 5 {
			t.Errorf("%s: while both are idle: got %v", algorithm, got)
		}
	}
}

func TestRetries(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	a.status.Store(0) // takes requests, and ends the connection
	r := newRig(t, Group{Servers: servers(a, b)})
	for range 4 {
		if got, err := r.ask("GET", "192.0.2.1"); got != "b" || err != nil {
			t.Errorf("GET: got %q, %v", got, err)
		}
	}
	broken := 0
	for range 4 {
		if _, err := r.ask("POST", "192.0.2.1"); err != nil {
			broken++
		}
	}
	if broken == 0 {
		t.Error("POST was sent twice")
	}
	// One that was never reached harms nobody.
	a.Close()
	r.configure(Group{Servers: servers(a, b), Passive: Passive{Failures: -1}})
	for range 4 {
		if got, err := r.ask("POST", "192.0.2.1"); got != "b" || err != nil {
			t.Errorf("POST to a closed port: got %q, %v", got, err)
		}
	}
	r.configure(Group{Servers: servers(a, b), Retries: -1, Passive: Passive{Failures: -1}})
	if got := r.count(4); got[""] != 2 || got["b"] != 2 {
		t.Errorf("without retries: got %v", got)
	}
	// A body that was read is gone.
	r.configure(Group{Servers: servers(a), Passive: Passive{Failures: -1}})
	if _, err := r.ask("GET", "192.0.2.1"); err == nil {
		t.Error("a request was answered by nobody")
	}
}

func TestBreaker(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	a.status.Store(503)
	r := newRig(t, Group{Servers: servers(a, b), Passive: Passive{Failures: 3, Window: field.Duration(time.Minute), Cooldown: field.Duration(10 * time.Second)}})
	if got := r.count(20); got["a"] != 3 || got["b"] != 17 {
		t.Errorf("got %v, want three failures and no more", got)
	}
	if s := r.set.Status(); !s[0].Open && !s[1].Open {
		t.Errorf("got %+v", s)
	}
	r.clock.advance(11 * time.Second)
	if got := r.count(20); got["a"] != 1 {
		t.Errorf("after the cooldown: got %v, want one try", got)
	}
	a.status.Store(200)
	r.clock.advance(11 * time.Second)
	if got := r.count(20); got["a"] < 9 || got["b"] < 9 {
		t.Errorf("well again: got %v", got)
	}
	// Failures that are far apart open nothing.
	a.status.Store(503)
	for range 10 {
		r.count(1)
		r.clock.advance(2 * time.Minute)
	}
	for _, s := range r.set.Status() {
		if s.Open {
			t.Errorf("rare failures: got %+v", s)
		}
	}
}

// While one request tries a server that was set aside, no other does.
func TestHalfOpen(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	a.status.Store(503)
	r := newRig(t, Group{Servers: servers(a, b), Passive: Passive{Failures: 1}})
	r.count(2)
	r.clock.advance(time.Minute)
	hold := make(chan struct{})
	a.held.Store(&hold)
	a.status.Store(200)
	seen := a.seen.Load()
	var first sync.WaitGroup
	for a.seen.Load() == seen {
		n := a.seen.Load() + b.seen.Load()
		first.Go(func() { r.ask("GET", "192.0.2.1") })
		until(t, "the request to arrive", func() bool { return a.seen.Load()+b.seen.Load() > n })
	}
	if got := r.count(10); got["b"] != 10 {
		t.Errorf("meanwhile: got %v", got)
	}
	close(hold)
	first.Wait()
	if got := r.count(10); got["a"] != 5 {
		t.Errorf("afterwards: got %v", got)
	}
}

func TestBackupsAndNobody(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	list := servers(a, b)
	list[1].Backup = true
	r := newRig(t, Group{Servers: list, Passive: Passive{Failures: 1}})
	if got := r.count(5); got["a"] != 5 {
		t.Errorf("got %v", got)
	}
	a.status.Store(503)
	r.count(1)
	if got := r.count(5); got["b"] != 5 {
		t.Errorf("while a is down: got %v", got)
	}
	b.status.Store(503)
	r.count(1)
	if _, err := r.ask("GET", "192.0.2.1"); !errors.Is(err, ErrDown) {
		t.Errorf("nobody: got %v", err)
	}
}

func TestHealthChecks(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	g := Group{Servers: servers(a, b), Passive: Passive{Failures: -1}, Health: &Health{Path: "/health", Interval: field.Duration(10 * time.Millisecond), Statuses: []int{200, 204}}}
	r := newRig(t, g)
	health := func(url string) (s Status) {
		for _, s = range r.set.Status() {
			if s.URL == url {
				return s
			}
		}
		return s
	}
	a.status.Store(500)
	until(t, "a to be down", func() bool { return !health(a.URL).Healthy })
	if got := r.count(4); got["b"] != 4 {
		t.Errorf("while a is down: got %v", got)
	}
	if s := health(a.URL); !strings.Contains(s.Reason, "status is 500") {
		t.Errorf("got reason %q", s.Reason)
	}
	// A reload that leaves the group as it is leaves its state too.
	g.Algorithm = LeastConn
	r.configure(g)
	if health(a.URL).Healthy {
		t.Error("the reload forgot that a is down")
	}
	a.status.Store(204)
	until(t, "a to be up", func() bool { return health(a.URL).Healthy })
	// Removed with its checks.
	r.configure(Group{Servers: servers(b)})
	n := b.checked.Load()
	until(t, "checks to end", func() bool {
		before := b.checked.Load()
		<-time.After(30 * time.Millisecond)
		return b.checked.Load() == before
	})
	if n == 0 {
		t.Error("b was never checked")
	}
}

func TestHealthOfPorts(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	closed := newBackend(t, "closed")
	closed.Close()
	for _, x := range []struct {
		name  string
		s     Server
		check string
		well  bool
	}{
		{"tcp", Server{URL: secure.URL}, checkTCP, true},
		{"tcp, closed", Server{URL: closed.URL}, checkTCP, false},
		{"tls", Server{URL: secure.URL, CA: ca, SNIName: "example.com"}, checkTLS, true},
		{"tls, unknown authority", Server{URL: secure.URL, SNIName: "example.com"}, checkTLS, false},
		{"tls, wrong name", Server{URL: secure.URL, CA: ca, SNIName: "a.test"}, checkTLS, false},
		{"http", Server{URL: secure.URL, CA: ca, SNIName: "example.com"}, checkHTTP, false}, // 404
	} {
		l, u, err := newLink(&x.s, Timeouts{})
		if err != nil {
			t.Fatal(err)
		}
		reason := (&server{conf: x.s, url: u, link: l}).check(t.Context(), &Health{Type: x.check})
		if (reason == "") != x.well {
			t.Errorf("%s: got %q", x.name, reason)
		}
		l.CloseIdle()
	}
}

func TestSlowStart(t *testing.T) {
	a, b := newBackend(t, "a"), newBackend(t, "b")
	a.status.Store(503)
	r := newRig(t, Group{Servers: servers(a, b), SlowStart: field.Duration(100 * time.Second), Passive: Passive{Failures: 1}})
	r.count(2)
	a.status.Store(200)
	r.clock.advance(time.Minute)
	until(t, "a to be tried", func() bool { return r.count(1)["a"] == 1 })
	if got := r.count(110); got["a"] < 5 || got["a"] > 15 {
		t.Errorf("at first: got %v, want a tenth of the other's", got)
	}
	r.clock.advance(50 * time.Second)
	if got := r.count(90); got["a"] < 25 || got["a"] > 35 {
		t.Errorf("halfway: got %v, want half of the other's", got)
	}
	r.clock.advance(50 * time.Second)
	if got := r.count(100); got["a"] < 45 {
		t.Errorf("afterwards: got %v", got)
	}
}

func TestQueue(t *testing.T) {
	a := newBackend(t, "a")
	hold := make(chan struct{})
	a.held.Store(&hold)
	r := newRig(t, Group{Servers: servers(a), MaxConnections: 2, QueueTimeout: field.Duration(50 * time.Millisecond)})
	var all sync.WaitGroup
	answers := make(chan string, 3)
	for range 2 {
		all.Go(func() { s, _ := r.ask("GET", "192.0.2.1"); answers <- s })
	}
	until(t, "both to arrive", func() bool { return a.seen.Load() == 2 })
	if _, err := r.ask("GET", "192.0.2.1"); !errors.Is(err, ErrFull) {
		t.Errorf("full: got %v", err)
	}
	r.configure(Group{Servers: servers(a), MaxConnections: 2, QueueTimeout: field.Duration(time.Minute)})
	all.Go(func() { s, _ := r.ask("GET", "192.0.2.1"); answers <- s })
	g := r.set.groups["app"]
	until(t, "the third to wait", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.waiting) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.send(ctx, &h1.Request{Method: "GET", Target: "/", Host: "a", Into: http.Header{}}, "192.0.2.1"); !errors.Is(err, context.Canceled) {
		t.Errorf("left the queue: got %v", err)
	}
	close(hold)
	all.Wait()
	for range 3 {
		if s := <-answers; s != "a" {
			t.Errorf("got %q", s)
		}
	}
	for _, s := range r.set.Status() {
		if s.InFlight != 0 {
			t.Errorf("places were not given back: %+v", s)
		}
	}
}

// A reload keeps the connections of servers that stay, and closes those of servers that go.
func TestReloadKeepsConnections(t *testing.T) {
	var opened, ended atomic.Int64
	a := &backend{name: "a"}
	a.status.Store(200)
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			ended.Add(1)
		}
	}
	a.Start()
	t.Cleanup(a.Close)
	b := newBackend(t, "b")
	r := newRig(t, Group{Servers: servers(a)})
	r.count(2)
	r.configure(Group{Servers: servers(a, b), Algorithm: LeastConn, SlowStart: field.Duration(time.Second)})
	r.count(4)
	if opened.Load() != 1 || ended.Load() != 0 {
		t.Errorf("opened %d and closed %d connections over a reload", opened.Load(), ended.Load())
	}
	hold := make(chan struct{})
	a.held.Store(&hold)
	answer := make(chan string)
	old := &rig{T: t, set: r.set, group: r.group}
	seen := a.seen.Load()
	go func() {
		for {
			if s, _ := old.ask("GET", "192.0.2.1"); s == "a" {
				answer <- s
				return
			}
		}
	}()
	until(t, "the request to arrive", func() bool { return a.seen.Load() > seen })
	r.configure(Group{Servers: servers(b)})
	close(hold)
	if got := <-answer; got != "a" {
		t.Errorf("under way while its server was removed: got %q", got)
	}
	until(t, "its connection to end", func() bool { return ended.Load() == opened.Load() })
}

func TestProtocols(t *testing.T) {
	say := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s host=%s body=%d te=%s", r.Proto, r.URL.RequestURI(), r.Host, len(body), r.Header.Get("Te"))
		w.Header().Set("X-Sum", "1")
	})
	secure := httptest.NewUnstartedServer(say)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewUnstartedServer(say)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	defer plain.Close()
	old := httptest.NewUnstartedServer(say)
	old.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	old.StartTLS()
	defer old.Close()
	pemOf := func(s *httptest.Server) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	}
	for name, x := range map[string]struct {
		s    Server
		want string
	}{
		"https, h2":   {Server{URL: secure.URL, CA: pemOf(secure), SNIName: "example.com"}, "HTTP/2.0"},
		"https, h1":   {Server{URL: old.URL, CA: pemOf(old), SNIName: "example.com"}, "HTTP/1.1"},
		"h2c":         {Server{URL: strings.Replace(plain.URL, "http:", "h2c:", 1)}, "HTTP/2.0"},
		"plain, with": {Server{URL: newBackend(t, "x").URL}, ""},
	} {
		r := newRig(t, Group{Servers: []Server{x.s}})
		req := &h1.Request{Method: "POST", Target: "/a%2Fb?c;d", Host: "a.test", Body: strings.NewReader("hello"), Length: -1, TrailersOK: true, Into: http.Header{}}
		resp, err := r.group.Do(t.Context(), req, netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var b strings.Builder
		for {
			piece, err := resp.Body.Next()
			b.Write(piece)
			if err != nil {
				break
			}
		}
		want := x.want + " /a%2Fb?c;d host=a.test body=5 te=trailers"
		if x.want == "" {
			want = "x"
		}
		if b.String() != want || x.want != "" && resp.Body.Trailer().Get("X-Sum") != "1" {
			t.Errorf("%s: got %q with %v, want %q", name, b.String(), resp.Body.Trailer(), want)
		}
		resp.Body.Close()
	}
}
