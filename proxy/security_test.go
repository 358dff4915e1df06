package proxy

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestRobots: a route may say what robots.txt is; the back end is not asked then, and nobody else's path is touched.
func TestRobots(t *testing.T) {
	b := mirror(t)
	const all = "User-agent: *\nDisallow: /\n"
	s := newSite(t, Config{Routes: []Route{
		{Host: "a.test", Backend: b.URL, Security: Security{Robots: all}},
		{Host: "own.b.test", Backend: b.URL},
		{Host: "part.b.test", Backend: b.URL},
		{Host: "part.b.test", Path: "/shop", Backend: b.URL, Security: Security{Robots: all}},
	}})
	for _, p := range protocols {
		c := s.client(t, p)
		resp, body := say(t, c, "GET", "https://a.test/robots.txt", nil)
		if body != all || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d %v %q", p, resp.StatusCode, resp.Header, body)
		}
		if resp, body := say(t, c, "HEAD", "https://a.test/robots.txt", nil); resp.StatusCode != 200 || body != "" {
			t.Errorf("%s: HEAD got %d %q", p, resp.StatusCode, body)
		}
		for _, url := range []string{"https://a.test/robots.txt/x", "https://a.test/x/robots.txt", "https://own.b.test/robots.txt", "https://part.b.test/robots.txt", "https://part.b.test/shop/robots.txt"} {
			if _, body := say(t, c, "GET", url, nil); !strings.HasPrefix(body, "GET ") {
				t.Errorf("%s: %s is not the back end's: %q", p, url, body)
			}
		}
	}
}

// TestPermissionsPolicy: the route's takes the place of the application's, unless the application is to win; without one of the
// route's, the application's is left as it is.
func TestPermissionsPolicy(t *testing.T) {
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/says" {
			w.Header().Set("Permissions-Policy", "camera=(self)")
		}
	}))
	t.Cleanup(b.Close)
	const ours = "camera=(), microphone=(), geolocation=()"
	s := newSite(t, Config{Routes: []Route{
		{Host: "a.test", Backend: b.URL, Security: Security{PermissionsPolicy: ours}},
		{Host: "wins.b.test", Backend: b.URL, Security: Security{PermissionsPolicy: ours, AppWins: true}},
		{Host: "none.b.test", Backend: b.URL},
		{Host: "off.b.test", Backend: b.URL, Security: Security{PermissionsPolicy: "off"}},
		{Host: "dead.b.test", Backend: "http://127.0.0.1:1", Security: Security{PermissionsPolicy: ours}},
	}})
	for _, p := range protocols {
		c := s.client(t, p)
		for url, want := range map[string]string{
			"https://a.test/": ours, "https://a.test/says": ours, "https://wins.b.test/": ours, "https://wins.b.test/says": "camera=(self)",
			"https://none.b.test/": "", "https://none.b.test/says": "camera=(self)", "https://off.b.test/": "", "https://off.b.test/says": "camera=(self)",
			"https://dead.b.test/": ours,
		} {
			resp, _ := say(t, c, "GET", url, nil)
			if got := strings.Join(resp.Header.Values("Permissions-Policy"), " | "); got != want {
				t.Errorf("%s %s: got %q, want %q", p, url, got, want)
			}
		}
	}
	bad := Config{Routes: []Route{{Host: "a.test", Backend: b.URL, Security: Security{PermissionsPolicy: "a\nb"}}}}
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "Permissions-Policy") {
		t.Errorf("got %v", err)
	}
}
