package proxy

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/platformd/platformd/proxy/cache"
	"github.com/platformd/platformd/proxy/compress"
	"github.com/platformd/platformd/proxy/page"
)

// failing answers with the status that its path names.
func failing(t *testing.T) *httptest.Server {
	t.Helper()
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(filepath.Base(r.URL.Path))
		if err != nil {
			status = 200
		}
		w.Header().Set("Www-Authenticate", "Basic")
		w.Header().Set("X-Stack-Trace", "secret")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		w.Write([]byte("the application's own"))
	}))
	t.Cleanup(b.Close)
	return b
}

func TestPagesOfOnesOwn(t *testing.T) {
	b := failing(t)
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "404.html"), []byte("<p>$host has no such file: $status</p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := page.Config{"404": {HTML: "<p>nothing on $host</p>", JSON: `{"s":$status,"id":"$request_id"}`}, "5xx": {HTML: "<p>$title</p>"}, "maintenance": {HTML: "<p>we work on it</p>"}}
	s := newSite(t, Config{Pages: all, Routes: []Route{
		{Host: "a.test", Path: "/app", Backend: b.URL},
		{Host: "a.test", Path: "/catch", Backend: b.URL, Intercept: []string{"5xx", "401"}, Pages: page.Config{"401": {HTML: "<p>log in</p>"}}},
		{Host: "a.test", Path: "/stored", Backend: b.URL, Intercept: []string{"404"}, Cache: &cache.Config{}, Compress: &compress.Config{}},
		{Host: "a.test", Path: "/files", Backend: "file://" + root, Pages: page.Config{"404": {HTML: "file://" + filepath.Join(root, "404.html")}}},
		{Host: "a.test", Path: "/work", Backend: b.URL, Maintenance: true},
		{Host: "a.test", Path: "/own", Backend: b.URL, Maintenance: true, Pages: page.Config{"503": {Text: "own $status"}}},
		{Host: "a.test", Path: "/dead", Backend: "http://127.0.0.1:1"},
	}}, root)
	const html, json, text = "text/html,*/*;q=0.8", "application/json", "*/*"
	for _, p := range protocols {
		c := s.client(t, p)
		for _, x := range []struct {
			path, accept string
			status       int
			kind, want   string
		}{
			{"/none", html, 404, "text/html; charset=utf-8", "<p>nothing on a.test</p>"},
			{"/none", json, 404, "application/json", `{"s":404,"id":"`},
			{"/none", text, 404, "text/plain; charset=utf-8", "404 Not Found\nThere is nothing here."},
			{"/dead", html, 502, "text/html; charset=utf-8", "<p>Bad Gateway</p>"},
			{"/dead", json, 502, "application/problem+json", `"detail":"The application`},
			{"/work", html, 503, "text/html; charset=utf-8", "<p>we work on it</p>"},
			{"/work", text, 503, "text/plain; charset=utf-8", "503 Service"},
			{"/own", text, 503, "text/plain; charset=utf-8", "own 503"},
			{"/own", html, 503, "text/html; charset=utf-8", "<p>we work on it</p>"},
			{"/files/x", html, 404, "text/html; charset=utf-8", "<p>a.test has no such file: 404</p>"},
			// Answers of the back end are its own, unless it was asked otherwise.
			{"/app/404", html, 404, "text/html", "the application's own"},
			{"/app/502", html, 502, "text/html", "the application's own"},
			{"/catch/502", html, 502, "text/html; charset=utf-8", "<p>Bad Gateway</p>"},
			{"/catch/401", html, 401, "text/html; charset=utf-8", "<p>log in</p>"},
			{"/catch/404", html, 404, "text/html", "the application's own"},
			{"/catch/200", html, 200, "text/html", "the application's own"},
			{"/stored/404", html, 404, "text/html; charset=utf-8", "<p>nothing on a.test</p>"},
			{"/stored/200", html, 200, "text/html", "the application's own"},
		} {
			resp, body := say(t, c, "GET", "https://a.test"+x.path, nil, "Accept", x.accept)
			if got := resp.Header.Get("Content-Type"); resp.StatusCode != x.status || got != x.kind || !strings.HasPrefix(body, x.want) && !strings.Contains(body, x.want) {
				t.Errorf("%s %s %s: got %d %s %q", p, x.path, x.accept, resp.StatusCode, got, body)
			}
			own := strings.Contains(body, "the application's own")
			if leaks := resp.Header.Get("X-Stack-Trace") != ""; leaks != own {
				t.Errorf("%s %s: the headers are those of the application: %v, the body %v", p, x.path, leaks, own)
			}
			if strings.HasPrefix(x.path, "/catch/401") && resp.Header.Get("Www-Authenticate") == "" {
				t.Errorf("%s %s: nobody can log in without WWW-Authenticate", p, x.path)
			}
			if head, body := say(t, c, "HEAD", "https://a.test"+x.path, nil, "Accept", x.accept); head.StatusCode != x.status || body != "" {
				t.Errorf("%s HEAD %s: got %d %q", p, x.path, head.StatusCode, body)
			}
		}
	}
	// What the back end answered is its own in the log too.
	if a := s.journal.find(t, func(a Access) bool { return a.Path == "/catch/502" }); a.Reason != "" {
		t.Errorf("the access log says that the proxy refused: %q", a.Reason)
	}
}

func TestPagesNameEveryMistake(t *testing.T) {
	bad := Config{Pages: page.Config{"200": {HTML: "x"}}, Routes: []Route{
		{Host: "a.test", Backend: "http://127.0.0.1:1", Intercept: []string{"200", "abc"}, Pages: page.Config{"4xx": {}}},
		{Host: "b.test", Backend: "redirect:/x", Intercept: []string{"404"}},
	}}
	err := bad.Validate()
	for _, want := range []string{"pages.200: ", "routes[0].intercept[0]: ", "routes[0].intercept[1]: ", "routes[0].pages.4xx: ", "routes[1].intercept: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("there is no %q in %v", want, err)
		}
	}
	// What only the files tell is said by a test of the configuration, and nothing changes.
	s := newSite(t, Config{})
	missing := Config{Pages: page.Config{"404": {HTML: "file:///srv/x"}}, Routes: []Route{{Host: "a.test", Backend: "http://127.0.0.1:1", Pages: page.Config{"404": {Text: "file:///srv/y"}}}}}
	for name, do := range map[string]func(Config) error{"test": s.Test, "configure": s.Configure} {
		err := do(missing)
		for _, want := range []string{"pages.404.html: /srv/x is not below", "routes[0].pages.404.text: /srv/y is not below"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: there is no %q in %v", name, want, err)
			}
		}
	}
}
