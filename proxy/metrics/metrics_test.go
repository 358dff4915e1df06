package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, s *Set) string {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("got %d %s", w.Code, w.Header().Get("Content-Type"))
	}
	return w.Body.String()
}

func TestCountsAreBoundedAndOutliveReloads(t *testing.T) {
	s := New(func() []Sample {
		return []Sample{{Name: "proxy_connections", Value: 3}, {Name: "proxy_cache_hits_total", Labels: []Label{{"store", "default"}}, Value: 7}}
	})
	r := s.Route("a.test/")
	for _, method := range []string{"GET", "HEAD", "FIRST", "SECOND"} {
		r.Observe(method, 204, 3*time.Millisecond, 0, 10)
	}
	r.Observe("POST", 502, time.Minute, 5, 0)
	r.Observe("GET", 99999, 0, -1, -1)
	s.Route("").Observe("GET", 404, 0, 0, 0)
	got := read(t, s)
	for _, want := range []string{
		`platformd_proxy_requests_total{method="read",route="a.test/",status="2xx"} 2`,
		`platformd_proxy_requests_total{method="other",route="a.test/",status="2xx"} 2`,
		`platformd_proxy_requests_total{method="write",route="a.test/",status="5xx"} 1`,
		`platformd_proxy_requests_total{method="read",route="a.test/",status="none"} 1`,
		`platformd_proxy_requests_total{method="read",route="",status="4xx"} 1`,
		`platformd_proxy_request_duration_seconds_bucket{route="a.test/",le="0.005"} 5`,
		`platformd_proxy_request_duration_seconds_count{route="a.test/"} 6`,
		`platformd_proxy_request_bytes_total{route="a.test/"} 5`,
		`platformd_proxy_response_bytes_total{route="a.test/"} 40`,
		"# TYPE platformd_proxy_connections gauge\nplatformd_proxy_connections 3",
		"# TYPE platformd_proxy_cache_hits_total counter\nplatformd_proxy_cache_hits_total{store=\"default\"} 7",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, "FIRST") {
		t.Error("a client chose a label")
	}
	if s.Route("a.test/") != r {
		t.Error("the counts of a route are lost when it is asked for again")
	}
	s.Keep(func(key string) bool { return key == "" })
	r.Observe("GET", 204, 0, 0, 0)
	r.Observe("DELETE", 204, 0, 0, 0)
	if got := read(t, s); strings.Contains(got, "a.test") || !strings.Contains(got, `route=""`) {
		t.Errorf("a route that is gone is still shown:\n%s", got)
	}
	if s.Route("a.test/") == r {
		t.Error("a route that was made anew has the old counts")
	}
}

func BenchmarkObserve(b *testing.B) {
	r := New(nil).Route("a.test/")
	b.ReportAllocs()
	for b.Loop() {
		r.Observe("GET", 200, 3*time.Millisecond, 0, 1024)
	}
}
