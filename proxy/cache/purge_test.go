package cache

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/proxytest"
)

func TestInvalidation(t *testing.T) {
	for _, tt := range []struct {
		name, method, path string
		status             int
		fields             []string // of the answer
		gone               []string // of /a, /b, /c
	}{
		{"POST", "POST", "/a", 200, nil, []string{"/a"}},
		{"PUT", "PUT", "/a", 201, nil, []string{"/a"}},
		{"DELETE", "DELETE", "/b", 204, nil, []string{"/b"}},
		{"a method that nobody knows", "FROB", "/a", 200, nil, []string{"/a"}},
		{"a redirect", "POST", "/a", 303, []string{"Location", "/b"}, []string{"/a", "/b"}},
		{"a relative address", "POST", "/x/y", 200, []string{"Content-Location", "../c"}, []string{"/c"}},
		{"another host's", "POST", "/a", 303, []string{"Location", "https://other.example/b"}, []string{"/a"}},
		{"a failure", "POST", "/a", 500, []string{"Location", "/b"}, nil},
		{"refused", "POST", "/a", 403, nil, nil},
		{"OPTIONS", "OPTIONS", "/a", 200, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, config := range []Config{{}, {KeyHeaders: []string{"X-Key"}}} {
				r := newRig(t, StoreConfig{}, config)
				proxytest.Each(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
					if q.Method != http.MethodGet {
						for i := 0; i < len(tt.fields); i += 2 {
							w.Header().Set(tt.fields[i], tt.fields[i+1])
						}
						w.WriteHeader(tt.status)
						return
					}
					w.Header().Set("Cache-Control", "max-age=60")
					io.WriteString(w, q.URL.Path)
				}), func(t *testing.T, s *proxytest.Server) {
					for _, path := range []string{"/a", "/b", "/c"} {
						s.Get(path, "X-Key", "1")
					}
					if got := s.Do(tt.method, tt.path); got.StatusCode != tt.status || status(got) != "platform; fwd=method" {
						t.Fatalf("got %d %q", got.StatusCode, status(got))
					}
					var gone []string
					for _, path := range []string{"/a", "/b", "/c"} {
						if got := s.Get(path, "X-Key", "1"); !strings.Contains(status(got), "hit") {
							gone = append(gone, path)
						}
					}
					if !slices.Equal(gone, tt.gone) {
						t.Errorf("gone: %q, want %q", gone, tt.gone)
					}
				})
			}
		})
	}
}

// TestInvalidationStaysInItsHost: no host drops what is stored for another.
func TestInvalidationStaysInItsHost(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{})
	s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Location", "https://victim.example/")
	}))
	s.Get("/", "Host", "victim.example")
	s.Do("POST", "/", "Host", "attacker.example")
	if got := s.Get("/", "Host", "victim.example"); !strings.Contains(status(got), "hit") {
		t.Errorf("got %q", status(got))
	}
}

// TestInvalidatedWhileFetched: an answer that was asked for before a change is not stored after it.
func TestInvalidatedWhileFetched(t *testing.T) {
	for _, how := range []string{"POST", "purge"} {
		r := newRig(t, StoreConfig{}, Config{Wait: field.Duration(5 * time.Minute)})
		g := newGate()
		s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPost {
				return
			}
			w.Header().Set("Cache-Control", "max-age=60")
			if r.asked.Load() == 1 {
				g.wait(q.Context())
				io.WriteString(w, "before")
				return
			}
			io.WriteString(w, "after")
		}))
		first := herd(s, 1, "/")
		proxytest.Eventually(t, "asked", func() bool { return g.count() == 1 })
		if how == "POST" {
			s.Do("POST", "/")
		} else {
			r.store.PurgeAll()
		}
		if got := s.Get("/"); got.Text != "after" {
			t.Errorf("%s: waited for an old answer: %q", how, got.Text)
		}
		close(g.open)
		if got := <-first; got.Text != "before" {
			t.Errorf("%s: got %q", how, got.Text)
		}
		if got := s.Get("/"); got.Text != "after" {
			t.Errorf("%s: the old answer was stored: %q", how, got.Text)
		}
	}
}

// TestHeadShowsAChange: RFC 9111, section 4.3.5.
func TestHeadShowsAChange(t *testing.T) {
	r := newRig(t, StoreConfig{}, Config{ClientDirectives: true})
	tag := `"1"`
	s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", tag)
	}))
	s.Get("/")
	s.Do("HEAD", "/", "Cache-Control", "no-cache")
	if got := s.Get("/"); !strings.Contains(status(got), "hit") {
		t.Errorf("the same: %q", status(got))
	}
	tag = `"2"`
	s.Do("HEAD", "/", "Cache-Control", "no-cache")
	if got := s.Get("/"); got.Header.Get("Etag") != `"2"` {
		t.Errorf("another: %q", status(got))
	}
}

func TestPurge(t *testing.T) {
	for _, dir := range []string{"", "disk"} {
		sc := StoreConfig{}
		if dir != "" {
			sc = StoreConfig{Dir: t.TempDir(), MemoryObjectBytes: 1}
		}
		r := newRig(t, sc, Config{})
		s := proxytest.Start(t, r.wrap(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Surrogate-Key", "all path"+strings.ReplaceAll(q.URL.Path, "/", "-"))
			w.Header().Set("Cache-Tag", "one, two three")
			io.WriteString(w, "body")
		}))
		paths := []string{"/", "/a", "/a?b", "/img/1", "/img/2/3"}
		host := strings.TrimPrefix(s.URL, "https://")
		for _, tt := range []struct {
			name  string
			purge func() (int, error)
			gone  []string
		}{
			{"url", func() (int, error) { return r.store.PurgeURL(s.URL + "/a") }, []string{"/a"}},
			{"url with a query", func() (int, error) { return r.store.PurgeURL(s.URL + "/a?b") }, []string{"/a?b"}},
			{"url of the host alone", func() (int, error) { return r.store.PurgeURL(s.URL) }, []string{"/"}},
			{"glob", func() (int, error) { return r.store.PurgeGlob(s.URL + "/img/*") }, []string{"/img/1", "/img/2/3"}},
			{"glob for both schemes", func() (int, error) { return r.store.PurgeGlob(host + "/a*") }, []string{"/a", "/a?b"}},
			{"glob in the middle", func() (int, error) { return r.store.PurgeGlob("*/img/*3") }, []string{"/img/2/3"}},
			{"tag", func() (int, error) { return r.store.PurgeTag("path-a") }, []string{"/a", "/a?b"}},
			{"tag with a space", func() (int, error) { return r.store.PurgeTag("two three") }, paths},
			{"no such tag", func() (int, error) { return r.store.PurgeTag("two") }, nil},
			{"all", func() (int, error) { return r.store.PurgeAll(), nil }, paths},
		} {
			for _, p := range paths {
				s.Get(p)
			}
			n, err := tt.purge()
			var gone []string
			for _, p := range paths {
				if got := s.Get(p); !strings.Contains(status(got), "hit") {
					gone = append(gone, p)
				}
			}
			if n != len(tt.gone) || err != nil || !slices.Equal(gone, tt.gone) {
				t.Errorf("%s %s: %d, %v, gone %q, want %q", dir, tt.name, n, err, gone, tt.gone)
			}
		}
	}
	s, err := OpenStore(StoreConfig{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, f := range map[string]func(string) (int, error){"url": s.PurgeURL, "glob": s.PurgeGlob, "tag": s.PurgeTag} {
		if _, err := f(""); err == nil {
			t.Errorf("%s: took nothing for something", name)
		}
	}
	if _, err := s.PurgeURL("/relative"); err == nil {
		t.Error("took a relative address")
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"*", "a/b", true},
		{"a*", "a", true}, {"a*c", "abc", true}, {"a*c", "abcd", false}, {"a*b*c", "axxbxxc", true}, {"*b", "ab/b", true},
		{"a**", "a", true}, {"*a*", "bab", true}, {"a?", "a?", true}, {"a?", "ab", false}, {"[a]", "a", false},
	} {
		if got := glob(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q matches %q: got %v", tt.pattern, tt.s, got)
		}
	}
}
