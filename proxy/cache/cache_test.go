package cache

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/proxytest"
)

// clock is moved by tests.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// rig is a cache in front of a handler.
type rig struct {
	*clock
	store *Store
	cache *Cache
	asked atomic.Int64 // how often the handler was asked
}

func newRig(t *testing.T, sc StoreConfig, c Config) *rig {
	t.Helper()
	r := &rig{clock: newClock()}
	var err error
	if r.store, err = OpenStore(sc, Options{Now: r.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.store.Close)
	if r.cache, err = New(c, r.store, "platform"); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) wrap(h http.HandlerFunc) http.Handler {
	return r.cache.Wrap(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Answer", strconv.FormatInt(r.asked.Add(1), 10))
		h(w, q)
	}))
}

// answer says what the fields of the query say: "?cache-control=max-age=5", with the path for a body.
func answer(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	for name, values := range r.URL.Query() {
		if name == "status" {
			status, _ = strconv.Atoi(values[0])
			continue
		}
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if tag := w.Header().Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		io.WriteString(w, "body of "+r.URL.Path)
	}
}

// status is the value of Cache-Status; a ttl differs by moments that a test does not control.
func status(r *proxytest.Response) string { return strings.Join(r.Header["Cache-Status"], ", ") }

// TestStored: the second of two requests is answered by the store, or not.
func TestStored(t *testing.T) {
	const lm = "last-modified=Thu,+01+Jan+2026+00:00:00+GMT"
	for _, tt := range []struct {
		name   string
		query  string
		fields []string
		config Config
		wait   time.Duration
		want   bool
	}{
		{name: "max-age", query: "cache-control=max-age=60", want: true},
		{name: "max-age, over", query: "cache-control=max-age=60", wait: time.Minute},
		{name: "nothing said", query: "a=b"},
		{name: "s-maxage wins", query: "cache-control=max-age=0,+s-maxage=60", want: true},
		{name: "s-maxage wins, shorter", query: "cache-control=max-age=600,+s-maxage=1", wait: time.Second},
		{name: "max-age wins over Expires", query: "cache-control=max-age=60&expires=0", want: true},
		{name: "Expires", query: "expires=Fri,+02+Jan+2026+03:05:00+GMT", want: true},
		{name: "Expires, over", query: "expires=Fri,+02+Jan+2026+03:05:00+GMT", wait: time.Minute},
		{name: "Expires is no date", query: "expires=0&" + lm},
		{name: "two max-ages", query: "cache-control=max-age=60,+max-age=0"},
		{name: "bad max-age", query: "cache-control=max-age=1h"},
		{name: "quoted max-age", query: `cache-control=max-age="60"`, want: true},
		{name: "max-age in a string", query: `cache-control=x="a,+max-age=60"`},
		{name: "age uses it up", query: "cache-control=max-age=60&age=60"},
		{name: "age leaves some", query: "cache-control=max-age=60&age=30", want: true},
		{name: "age is no number", query: "cache-control=max-age=60&age=x"},
		{name: "heuristic", query: lm, wait: 2 * time.Hour, want: true},
		{name: "heuristic, over", query: lm, wait: 4 * time.Hour},
		{name: "heuristic off", query: lm, config: Config{NoHeuristic: true}},
		{name: "heuristic, 302", query: lm + "&status=302"},
		{name: "heuristic, 404", query: lm + "&status=404", want: true},
		{name: "heuristic with a cookie", query: lm, fields: []string{"Cookie", "a=b"}},
		{name: "explicit with a cookie", query: "cache-control=max-age=60", fields: []string{"Cookie", "a=b"}, want: true},
		{name: "default ttl", query: "a=b", config: Config{DefaultTTL: field.Duration(time.Minute)}, want: true},
		{name: "default ttl, over", query: "a=b", config: Config{DefaultTTL: field.Duration(time.Minute)}, wait: time.Minute},
		{name: "default ttl with a cookie", query: "a=b", fields: []string{"Cookie", "a=b"}, config: Config{DefaultTTL: field.Duration(time.Minute)}},
		{name: "default ttl, no-store", query: "cache-control=no-store", config: Config{DefaultTTL: field.Duration(time.Minute)}},
		{name: "302 with max-age", query: "cache-control=max-age=60&status=302", want: true},
		{name: "500 with max-age", query: "cache-control=max-age=60&status=500", want: true},
		{name: "204", query: "cache-control=max-age=60&status=204", want: true},
		{name: "206", query: "cache-control=max-age=60&status=206"},
		{name: "no-store", query: "cache-control=max-age=60,+no-store"},
		{name: "no-cache", query: "cache-control=max-age=60,+no-cache"},
		{name: "private", query: "cache-control=max-age=60,+private"},
		{name: "private field", query: `cache-control=max-age=60,+private="x-user"&x-user=7`, want: true},
		{name: "must-understand, 200", query: "cache-control=max-age=60,+no-store,+must-understand", want: true},
		{name: "must-understand, 599", query: "cache-control=max-age=60,+must-understand&status=599"},
		{name: "Set-Cookie", query: "cache-control=max-age=60&set-cookie=a=b"},
		{name: "Set-Cookie that is private", query: `cache-control=max-age=60,+private="set-cookie"&set-cookie=a=b`, want: true},
		{name: "Set-Cookie wanted", query: "cache-control=max-age=60&set-cookie=a=b", config: Config{StoreSetCookie: true}, want: true},
		{name: "Authorization", query: "cache-control=max-age=60", fields: []string{"Authorization", "Basic x"}},
		{name: "Authorization, must-revalidate", query: "cache-control=max-age=60,+must-revalidate", fields: []string{"Authorization", "Basic x"}},
		{name: "Authorization, public", query: "cache-control=max-age=60,+public", fields: []string{"Authorization", "Basic x"}, want: true},
		{name: "Authorization, s-maxage", query: "cache-control=s-maxage=60", fields: []string{"Authorization", "Basic x"}, want: true},
		{name: "Vary: *", query: "cache-control=max-age=60&vary=*"},
		{name: "event stream", query: "cache-control=max-age=60&content-type=text/event-stream"},
		{name: "CDN-Cache-Control", query: "cache-control=no-store&cdn-cache-control=max-age=60", want: true},
		{name: "Surrogate-Control", query: "cache-control=max-age=60&surrogate-control=no-store"},
		{name: "Surrogate-Control of another", query: "cache-control=max-age=60&surrogate-control=no-store;other", want: true},
		{name: "bypass", query: "cache-control=max-age=60", config: Config{Bypass: []string{"/*ge"}}},
		{name: "Upgrade", query: "cache-control=max-age=60", fields: []string{"Upgrade", "x"}},
		{name: "If-Match", query: "cache-control=max-age=60&etag=%22a%22", fields: []string{"If-Match", `"a"`}},
		{name: "method override", query: "cache-control=max-age=60", fields: []string{"X-Http-Method-Override", "DELETE"}},
		{name: "client's no-cache is not obeyed", query: "cache-control=max-age=60", fields: []string{"Cache-Control", "no-cache"}, want: true},
		{name: "client's no-cache", query: "cache-control=max-age=60", fields: []string{"Cache-Control", "no-cache"}, config: Config{ClientDirectives: true}},
		{name: "client's no-store", query: "cache-control=max-age=60", fields: []string{"Cache-Control", "no-store"}, config: Config{ClientDirectives: true}},
		{name: "client's max-age", query: "cache-control=max-age=60", fields: []string{"Cache-Control", "max-age=5"}, wait: 6 * time.Second, config: Config{ClientDirectives: true}},
		{name: "client's max-age, enough", query: "cache-control=max-age=60", fields: []string{"Cache-Control", "max-age=5"}, wait: 5 * time.Second, config: Config{ClientDirectives: true}, want: true},
		{name: "client's min-fresh", query: "cache-control=max-age=60", fields: []string{"Cache-Control", "min-fresh=50"}, wait: 20 * time.Second, config: Config{ClientDirectives: true}},
		{name: "client's max-stale", query: "cache-control=max-age=60", fields: []string{"Cache-Control", "max-stale=50"}, wait: 100 * time.Second, config: Config{ClientDirectives: true}, want: true},
		{name: "client's max-stale, too old", query: "cache-control=max-age=60", fields: []string{"Cache-Control", "max-stale=50"}, wait: 111 * time.Second, config: Config{ClientDirectives: true}},
		{name: "client's max-stale, must-revalidate", query: "cache-control=max-age=60,+must-revalidate", fields: []string{"Cache-Control", "max-stale=50"}, wait: 100 * time.Second, config: Config{ClientDirectives: true}},
		{name: "client's max-stale, with a validator", query: "cache-control=max-age=60&" + lm, fields: []string{"Cache-Control", "max-stale=50"}, wait: 100 * time.Second, config: Config{ClientDirectives: true}, want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, StoreConfig{}, tt.config)
			upgrade := slices.Contains(tt.fields, "Upgrade")
			test := func(t *testing.T, s *proxytest.Server) {
				path := "/page?" + tt.query + "&proto=" + s.Get("/", "Cache-Control", "only-if-cached").Proto
				first := s.Get(path, tt.fields...)
				r.pass(tt.wait)
				second := s.Get(path, tt.fields...)
				if got := first.Header.Get("X-Answer") == second.Header.Get("X-Answer"); got != tt.want {
					t.Errorf("answered by the store: %v, want %v; %q, %q", got, tt.want, status(first), status(second))
				}
				if tt.want && (second.Text != first.Text || second.StatusCode != first.StatusCode || !strings.Contains(status(second), "platform; hit; ttl=")) {
					t.Errorf("got %d %q %q, want %d %q", second.StatusCode, second.Text, status(second), first.StatusCode, first.Text)
				}
			}
			if upgrade { // HTTP/2 has none
				test(t, proxytest.Start(t, r.wrap(answer)))
			} else {
				proxytest.Each(t, r.wrap(answer), test)
			}
		})
	}
}

func TestAgeAndFields(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", `max-age=100, no-cache="X-One, X-Two", private="x-three"`)
		h.Set("Age", "10")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("Cache-Status", "origin; hit")
		for _, n := range []string{"X-One", "X-Two", "X-Three", "X-Four"} {
			h.Set(n, "1")
		}
		io.WriteString(w, "x")
	}))
	first := s.Get("/")
	r.pass(5 * time.Second)
	second := s.Get("/")
	if first.Header.Get("X-One") != "1" || first.Header.Get("X-Three") != "1" {
		t.Errorf("the one who asked gets it all: %q", first.Header)
	}
	for name, want := range map[string]string{"X-One": "", "X-Two": "", "X-Three": "", "X-Four": "1", "Keep-Alive": "", "Age": "15", "Content-Length": "1"} {
		if got := second.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got, want := status(first), "origin; hit, platform; fwd=uri-miss; stored"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := status(second), "origin; hit, platform; hit; ttl=85"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if first.Header.Get("Date") == "" || second.Header.Get("Date") != r.store.memory.find(r.key(s, "/"))[0].Header.Get("Date") {
		t.Errorf("date: %q, %q", first.Header.Get("Date"), second.Header.Get("Date"))
	}
}

// key under which a path of the server is stored.
func (r *rig) key(s *proxytest.Server, path string) string {
	key, err := keyOfURL(s.URL + path)
	if err != nil {
		panic(err)
	}
	return key
}

func TestKey(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{KeyHeaders: []string{"x-tenant"}})
	s := proxytest.Start(t, r.wrap(answer))
	const path = "/a%2fb?cache-control=max-age=60"
	first := s.Get(path, "Host", "example.com").Header.Get("X-Answer")
	for _, tt := range []struct {
		name, path string
		fields     []string
		same       bool
	}{
		{"again", path, []string{"Host", "example.com"}, true},
		{"host in capitals", path, []string{"Host", "EXAMPLE.com"}, true},
		{"host with the port of its scheme", path, []string{"Host", "example.com:443"}, true},
		{"another port", path, []string{"Host", "example.com:444"}, false},
		{"another host", path, []string{"Host", "example.org"}, false},
		{"forwarded host", path, []string{"Host", "example.com", "X-Forwarded-Host", "example.org"}, true},
		{"another query", path + "&x=y", []string{"Host", "example.com"}, false},
		{"another path", "/a/b?cache-control=max-age=60", []string{"Host", "example.com"}, false},
		{"key header", path, []string{"Host", "example.com", "X-Tenant", "1"}, false},
	} {
		if got := s.Get(tt.path, tt.fields...).Header.Get("X-Answer") == first; got != tt.same {
			t.Errorf("%s: the same answer: %v", tt.name, got)
		}
	}
	q := newRig(t, StoreConfig{}, Config{IgnoreQuery: true})
	s = proxytest.Start(t, q.wrap(answer))
	s.Get("/x?cache-control=max-age=60")
	if got := s.Get("/x?other"); got.Header.Get("X-Answer") != "1" {
		t.Errorf("the query counts: %q", status(got))
	}
}

func TestVary(t *testing.T) {
	r := newRig(t, StoreConfig{MaxVariants: 3}, Config{})
	proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language, x-a")
		fmt.Fprintf(w, "%s|%s", q.Header.Get("Accept-Language"), strings.Join(q.Header["X-A"], ","))
	}), func(t *testing.T, s *proxytest.Server) {
		r.store.PurgeAll()
		ask := func(fields ...string) (text, status string) {
			got := s.Get("/", fields...)
			return got.Text, got.Header.Get("Cache-Status")
		}
		for _, tt := range []struct {
			name   string
			fields []string
			text   string
			status string
		}{
			{"first", []string{"Accept-Language", "de"}, "de|", "platform; fwd=uri-miss; stored"},
			{"same", []string{"Accept-Language", "de"}, "de|", "platform; hit; ttl=60"},
			{"case", []string{"Accept-Language", "DE"}, "de|", "platform; hit; ttl=60"},
			{"other", []string{"Accept-Language", "en"}, "en|", "platform; fwd=vary-miss; stored"},
			{"absent", nil, "|", "platform; fwd=vary-miss; stored"},
			{"empty is not absent", []string{"Accept-Language", "de", "X-A", ""}, "de|", "platform; fwd=vary-miss; stored"},
			{"bounded: the oldest is gone", []string{"Accept-Language", "de"}, "de|", "platform; fwd=vary-miss; stored"},
			{"the newest is there", []string{"Accept-Language", "de", "X-A", ""}, "de|", "platform; hit; ttl=60"},
			{"lines", []string{"X-A", "1,2"}, "|1,2", "platform; fwd=vary-miss; stored"},
			{"lines joined", []string{"X-A", "1", "X-A", " 2"}, "|1,2", "platform; hit; ttl=60"},
		} {
			if text, status := ask(tt.fields...); text != tt.text || status != tt.status {
				t.Errorf("%s: got %q %q, want %q %q", tt.name, text, status, tt.text, tt.status)
			}
		}
	})
}

func TestRevalidation(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	var version atomic.Int64
	var seen atomic.Value
	h := r.wrap(func(w http.ResponseWriter, q *http.Request) {
		seen.Store(q.Header.Clone())
		v := version.Load()
		w.Header().Set("Cache-Control", "max-age=10")
		w.Header().Set("Etag", fmt.Sprintf(`"v%d"`, v))
		w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
		w.Header().Set("X-Seen", strconv.FormatInt(r.asked.Load(), 10))
		if q.Header.Get("If-None-Match") == fmt.Sprintf(`"v%d"`, v) {
			w.Header().Set("Content-Length", "999")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprintf(w, "version %d", v)
	})
	proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
		r.store.PurgeAll()
		s.Get("/")
		asked := r.asked.Load()
		r.pass(11 * time.Second)
		got := s.Get("/", "If-None-Match", `"mine"`, "If-Modified-Since", "Thu, 01 Jan 2015 00:00:00 GMT")
		if got.Text != fmt.Sprintf("version %d", version.Load()) || status(got) != "platform; fwd=stale; fwd-status=304" {
			t.Errorf("got %q %q", got.Text, status(got))
		}
		if got.Header.Get("X-Seen") != strconv.FormatInt(asked+1, 10) || got.Header.Get("Content-Length") != strconv.Itoa(len(got.Text)) || got.Header.Get("Age") != "0" {
			t.Errorf("fields after a 304: %q", got.Header)
		}
		sent := seen.Load().(http.Header)
		if sent.Get("If-None-Match") != got.Header.Get("Etag") || sent.Get("If-Modified-Since") != "Thu, 01 Jan 2026 00:00:00 GMT" {
			t.Errorf("asked with %q", sent)
		}
		if again := s.Get("/"); again.Header.Get("X-Seen") != got.Header.Get("X-Seen") || !strings.HasPrefix(status(again), "platform; hit") {
			t.Errorf("after a 304: %q %q", status(again), again.Header)
		}
		r.pass(11 * time.Second)
		if got := s.Get("/", "Range", "bytes=0-6"); got.StatusCode != 206 || got.Text != "version" {
			t.Errorf("a range of what was found to be right: %d %q", got.StatusCode, got.Text)
		}
		r.pass(11 * time.Second)
		if got := s.Get("/", "If-None-Match", got.Header.Get("Etag")); got.StatusCode != 304 {
			t.Errorf("the client has it too: %d", got.StatusCode)
		}
		version.Add(1)
		r.pass(11 * time.Second)
		want := fmt.Sprintf("version %d", version.Load())
		if got := s.Get("/"); got.Text != want || status(got) != "platform; fwd=stale; fwd-status=200; stored" {
			t.Errorf("a new one: %q %q", got.Text, status(got))
		}
		if got := s.Get("/"); got.Text != want || !strings.HasPrefix(status(got), "platform; hit") {
			t.Errorf("after a new one: %q %q", got.Text, status(got))
		}
	})
}

func TestConditionsRangesHead(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	const path = "/0123456789?cache-control=max-age=60&etag=%22a%22&last-modified=Thu,+01+Jan+2026+00:00:00+GMT"
	body := "body of /0123456789"
	proxytest.Each(t, r.wrap(answer), func(t *testing.T, s *proxytest.Server) {
		r.store.PurgeAll()
		s.Get(path)
		asked := r.asked.Load()
		for _, tt := range []struct {
			name, method string
			fields       []string
			status       int
			text         string
		}{
			{"whole", "GET", nil, 200, body},
			{"has it", "GET", []string{"If-None-Match", `W/"a"`}, 304, ""},
			{"has another", "GET", []string{"If-None-Match", `"b"`}, 200, body},
			{"not modified", "GET", []string{"If-Modified-Since", "Thu, 01 Jan 2026 00:00:00 GMT"}, 304, ""},
			{"modified", "GET", []string{"If-Modified-Since", "Wed, 31 Dec 2025 23:59:59 GMT"}, 200, body},
			{"range", "GET", []string{"Range", "bytes=9-12"}, 206, "0123"},
			{"suffix", "GET", []string{"Range", "bytes=-2"}, 206, "89"},
			{"beyond", "GET", []string{"Range", "bytes=100-"}, 416, "*"},
			{"too many ranges", "GET", []string{"Range", "bytes=0-0" + strings.Repeat(",1-1", 16)}, 200, body},
			{"if the same", "GET", []string{"Range", "bytes=9-9", "If-Range", `"a"`}, 206, "0"},
			{"if another", "GET", []string{"Range", "bytes=9-9", "If-Range", `"b"`}, 200, body},
			{"HEAD", "HEAD", nil, 200, ""},
		} {
			got := s.Do(tt.method, path, tt.fields...)
			if got.StatusCode != tt.status || tt.text != "*" && got.Text != tt.text {
				t.Errorf("%s: got %d %q, want %d %q", tt.name, got.StatusCode, got.Text, tt.status, tt.text)
			}
			if !strings.Contains(status(got), "hit") && tt.status != 416 {
				t.Errorf("%s: %q", tt.name, status(got))
			}
		}
		if got := r.asked.Load(); got != asked {
			t.Errorf("the back end was asked %d times", got-asked)
		}
		if got := s.Do("HEAD", path); got.ContentLength != int64(len(body)) {
			t.Errorf("HEAD: %q", got.Header)
		}
		// Nothing is stored by a range or a HEAD.
		for _, fields := range [][]string{{"GET", "Range", "bytes=0-1"}, {"HEAD"}} {
			other := path + "&m=" + fields[0]
			s.Do(fields[0], other, fields[1:]...)
			if got := s.Get(other); !strings.Contains(status(got), "fwd=uri-miss") {
				t.Errorf("after %v: %q", fields, status(got))
			}
			r.store.PurgeAll()
			s.Get(path)
		}
		if got := s.Get("/none", "Cache-Control", "only-if-cached"); got.StatusCode != 504 || status(got) != "platform; fwd=request; fwd-status=504" {
			t.Errorf("only-if-cached: %d %q", got.StatusCode, status(got))
		}
		if got := s.Get(path, "Cache-Control", "only-if-cached"); got.StatusCode != 200 {
			t.Errorf("only-if-cached: %d", got.StatusCode)
		}
	})
}

func TestStale(t *testing.T) {
	for _, tt := range []struct {
		name    string
		control string
		config  Config
		stale   time.Duration // how long ago it was fresh
		fails   bool          // the back end fails when it is asked again
		want    string        // "old", "new" or "error"
		status  string
	}{
		{"error, nothing said", "max-age=10", Config{}, time.Second, true, "error", "platform; fwd=stale; fwd-status=503"},
		{"error, from the response", "max-age=10, stale-if-error=60", Config{}, time.Minute, true, "old", "platform; fwd=stale; detail=stale-if-error"},
		{"error, from the response, over", "max-age=10, stale-if-error=60", Config{}, 61 * time.Second, true, "error", "platform; fwd=stale; fwd-status=503"},
		{"error, from the policy", "max-age=10", Config{StaleIfError: field.Duration(time.Minute)}, time.Minute, true, "old", "platform; fwd=stale; detail=stale-if-error"},
		{"error, the response says less", "max-age=10, stale-if-error=5", Config{StaleIfError: field.Duration(time.Minute)}, time.Minute, true, "error", "platform; fwd=stale; fwd-status=503"},
		{"error, must-revalidate", "max-age=10, must-revalidate", Config{StaleIfError: field.Duration(time.Minute)}, time.Second, true, "error", "platform; fwd=stale; fwd-status=503"},
		{"error, s-maxage", "s-maxage=10, stale-if-error=60", Config{}, time.Second, true, "error", "platform; fwd=stale; fwd-status=503"},
		{"no error", "max-age=10, stale-if-error=60", Config{}, time.Second, false, "new", "platform; fwd=stale; fwd-status=200; stored"},
		{"while revalidating", "max-age=10, stale-while-revalidate=60", Config{}, time.Minute, false, "old", "platform; hit; ttl=-60; detail=stale-while-revalidate"},
		{"while revalidating, over", "max-age=10, stale-while-revalidate=60", Config{}, 61 * time.Second, false, "new", "platform; fwd=stale; fwd-status=200; stored"},
		{"while revalidating, from the policy", "max-age=10", Config{StaleWhileRevalidate: field.Duration(time.Minute)}, time.Minute, false, "old", "platform; hit; ttl=-60; detail=stale-while-revalidate"},
		{"while revalidating, proxy-revalidate", "max-age=10, proxy-revalidate", Config{StaleWhileRevalidate: field.Duration(time.Minute)}, time.Minute, false, "new", "platform; fwd=stale; fwd-status=200; stored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, StoreConfig{}, tt.config)
			proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
				first := q.Header.Get("X-First") != ""
				if tt.fails && !first {
					w.Header().Set("Content-Type", "text/plain")
					w.WriteHeader(http.StatusServiceUnavailable)
					io.WriteString(w, "error")
					return
				}
				w.Header().Set("Cache-Control", tt.control)
				if strings.Contains(tt.status, "fwd=stale") {
					w.Header().Set("Etag", fmt.Sprintf(`"%d"`, r.asked.Load()))
				}
				io.WriteString(w, map[bool]string{true: "old", false: "new"}[first])
			}), func(t *testing.T, s *proxytest.Server) {
				r.store.PurgeAll()
				s.Get("/", "X-First", "1")
				r.pass(10*time.Second + tt.stale)
				got := s.Get("/")
				if got.Text != tt.want || status(got) != tt.status {
					t.Errorf("got %q %q, want %q %q", got.Text, status(got), tt.want, tt.status)
				}
				if strings.Contains(tt.status, "while-revalidate") {
					proxytest.Eventually(t, "fetched anew in the background", func() bool { return s.Get("/", "Cache-Control", "only-if-cached").Text == "new" })
				}
			})
		})
	}
}

// TestConditionsOfTheClientAreItsOwn: a 304 to what the client asked says nothing about what is stored.
func TestConditionsOfTheClientAreItsOwn(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=10")
		if q.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "version ", r.asked.Load())
	}))
	s.Get("/")
	r.pass(20 * time.Second)
	if got := s.Get("/", "If-None-Match", `"x"`); got.Text != "version 2" {
		t.Errorf("got %d %q %q", got.StatusCode, got.Text, status(got))
	}
	if got := s.Get("/other", "If-None-Match", `"x"`); got.StatusCode != 304 {
		t.Errorf("nothing stored: got %d", got.StatusCode)
	}
	if got := s.Get("/other"); got.StatusCode != 200 || status(got) != "platform; fwd=uri-miss; stored" {
		t.Errorf("the client's 304 was stored: %d %q", got.StatusCode, status(got))
	}
}

// TestBodyOfAGet: what a client sends with a GET shapes no answer that others get.
func TestBodyOfAGet(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "answer to "+string(body))
	}), func(t *testing.T, s *proxytest.Server) {
		for _, body := range []io.Reader{strings.NewReader("poison"), io.MultiReader(strings.NewReader("poison"))} {
			r.store.PurgeAll()
			if got := s.Send(s.Request("GET", "/", body)); got.StatusCode != 200 {
				t.Errorf("got %d", got.StatusCode)
			}
			if got := s.Get("/"); got.Text != "answer to " {
				t.Errorf("got %q %q", got.Text, status(got))
			}
		}
	})
}

// TestStaleWhenTheBackEndBreaksOff: a panic before the header is a failure too.
func TestStaleWhenTheBackEndBreaksOff(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{StaleIfError: field.Duration(time.Minute)})
	s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		if r.asked.Load() > 1 {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Cache-Control", "max-age=10")
		io.WriteString(w, "old")
	}))
	s.Get("/")
	r.pass(20 * time.Second)
	if got := s.Get("/"); got.Text != "old" || got.StatusCode != 200 {
		t.Errorf("got %d %q", got.StatusCode, got.Text)
	}
}
