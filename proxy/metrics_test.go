package proxy

import (
	"strings"
	"testing"
	"time"
)

// Expiry implements Expiring.
func (a *authority) Expiry() map[string]time.Time {
	return map[string]time.Time{"a.test": time.Now().Add(36 * time.Hour)}
}

func TestMetricsAreForThoseWhoMay(t *testing.T) {
	b := mirror(t)
	conf := Config{Routes: []Route{{Host: "a.test", Backend: b.URL}}}
	s := newSite(t, conf)
	for _, p := range protocols {
		if _, body := say(t, s.client(t, p), "GET", "https://a.test/__metrics", nil); !strings.HasPrefix(body, "GET /__metrics ") {
			t.Errorf("%s: switched off, and the back end was not asked: %q", p, body)
		}
	}
	conf.Metrics = Metrics{Path: "/__metrics"}
	if err := s.Configure(conf); err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		c := s.client(t, p)
		say(t, c, "POST", "https://a.test/", strings.NewReader("hello"))
		resp, body := say(t, c, "GET", "https://a.test/__metrics", nil)
		if resp.StatusCode != 200 || !strings.Contains(body, `platformd_proxy_requests_total{method="write",route="a.test/",status="2xx"} `) {
			t.Errorf("%s: got %d %q", p, resp.StatusCode, body)
		}
	}
	var body string
	c := s.client(t, "HTTP/1.1")
	say(t, c, "GET", "https://other.b.test/", nil)
	eventually(t, "all is counted", func() bool {
		_, body = say(t, c, "GET", "http://whatever.test/__metrics", nil) // no redirect, no route
		return strings.Contains(body, `platformd_proxy_requests_total{method="read",route="",status="4xx"} 1`) && strings.Contains(body, `route="a.test/",status="2xx"} 3`)
	})
	for _, want := range []string{"\nplatformd_proxy_certificate_days_left{name=\"a.test\"} 1.4", "\nplatformd_proxy_connections{transport=\"quic\"} 2\n", "\nplatformd_proxy_request_bytes_total{route=\"a.test/\"} 15\n",
		"\nplatformd_proxy_protocol_requests_total{protocol=\"HTTP/3\"} ", "\nplatformd_proxy_handshakes_total{result=\"full\"} ", "\nplatformd_proxy_rate_limit_hits_total 0\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("there is no %q in\n%s", want, body)
		}
	}
	if strings.Contains(body, "other.b.test") || strings.Contains(body, "whatever") {
		t.Error("a host of a client's choosing became a label")
	}
	// Others: by address, and by what a trusted proxy says of the client.
	conf.Metrics.Allow = []string{"192.0.2.0/24"}
	conf.Trusted = []string{"127.0.0.0/8"}
	if err := s.Configure(conf); err != nil {
		t.Fatal(err)
	}
	if _, body := say(t, c, "GET", "https://a.test/__metrics", nil); !strings.HasPrefix(body, "GET /__metrics ") {
		t.Errorf("loopback is not in the list, and got %.60q", body)
	}
	if _, body := say(t, c, "GET", "https://a.test/__metrics", nil, "X-Forwarded-For", "192.0.2.7"); !strings.HasPrefix(body, "# HELP") {
		t.Errorf("192.0.2.7 is in the list, and got %.60q", body)
	}
	conf.Metrics.Allow = nil
	if err := s.Configure(conf); err != nil {
		t.Fatal(err)
	}
	if _, body := say(t, c, "GET", "https://a.test/__metrics", nil, "X-Forwarded-For", "192.0.2.7"); !strings.HasPrefix(body, "GET /__metrics ") {
		t.Errorf("a stranger behind a proxy on loopback got %.60q", body)
	}
	for path, want := range map[string]string{"": "metrics.path", "x": "metrics.path", "/a/../b": "metrics.path", "/": "metrics.path"} {
		bad := Config{Metrics: Metrics{Path: path, Allow: []string{"x"}}}
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "metrics.allow[0]") {
			t.Errorf("path %q: got %v", path, err)
		}
	}
}
