package fetch

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// serve answers like the servers that feeds meet.
func serve(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/list", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
		if r.Header.Get("If-None-Match") == `"v1"` || r.Header.Get("If-Modified-Since") == "Thu, 01 Jan 2026 00:00:00 GMT" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "1.2.3.4\n")
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write([]byte(strings.Repeat("1.2.3.4\n", 1000)))
		z.Close()
	})
	mux.HandleFunc("/brotli", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Encoding", "br") })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "1.2.3.4\n")
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, r *http.Request) {
		for line := []byte(strings.Repeat("1.2.3.4\n", 100)); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/claims-huge", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "999999999999") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/list", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/to-file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "file:///etc/shadow")
		w.WriteHeader(302)
	})
	mux.HandleFunc("/to-metadata", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	mux.HandleFunc("/always-304", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func get1(t *testing.T, req Request) (string, Response, error) {
	var b strings.Builder
	res, err := Get(t.Context(), req, func(r io.Reader) error {
		_, err := io.Copy(&b, r)
		return err
	})
	return b.String(), res, err
}

func TestGet(t *testing.T) {
	s := serve(t)
	body, res, err := get1(t, Request{URL: s.URL + "/redirect"})
	if err != nil || body != "1.2.3.4\n" || res.ETag != `"v1"` || res.LastModified == "" || res.URL != s.URL+"/list" {
		t.Errorf("got %q %+v %v", body, res, err)
	}
	if body, res, err := get1(t, Request{URL: s.URL + "/list", ETag: res.ETag}); err != nil || body != "" || !res.NotModified {
		t.Errorf("conditional: got %q %+v %v", body, res, err)
	}
	if body, res, err := get1(t, Request{URL: s.URL + "/list", LastModified: res.LastModified}); err != nil || body != "" || !res.NotModified {
		t.Errorf("conditional by date: got %q %+v %v", body, res, err)
	}
	if body, _, err := get1(t, Request{URL: s.URL + "/gzip"}); err != nil || len(body) != 8000 {
		t.Errorf("gzip: got %d bytes %v", len(body), err)
	}
}

func TestGetRefuses(t *testing.T) {
	s := serve(t)
	dead := httptest.NewServer(nil)
	dead.Close()
	tests := []struct {
		name string
		req  Request
		want string
	}{
		{"cut", Request{URL: s.URL + "/cut"}, "unexpected EOF"},
		{"huge", Request{URL: s.URL + "/huge", MaxBytes: 5000}, "more than 5000 bytes"},
		{"huge by its header", Request{URL: s.URL + "/claims-huge"}, "999999999999 bytes"},
		{"gzip bomb", Request{URL: s.URL + "/gzip", MaxBytes: 4000}, "more than 4000 bytes"},
		{"encoding", Request{URL: s.URL + "/brotli"}, `content encoding "br"`},
		{"endless redirects", Request{URL: s.URL + "/loop"}, "more than 5 redirects"},
		{"redirect to a file", Request{URL: s.URL + "/to-file"}, `redirect to "file"`},
		{"redirect to cloud metadata", Request{URL: s.URL + "/to-metadata"}, "link-local address 169.254.169.254"},
		{"not found", Request{URL: s.URL + "/none"}, "server answered 404 Not Found"},
		{"304 unasked", Request{URL: s.URL + "/always-304"}, "server answered 304"},
		{"refused", Request{URL: dead.URL}, "connection refused"},
		{"scheme", Request{URL: "ftp://example.org/x"}, `scheme "ftp" cannot be used`},
		{"no host", Request{URL: "https:///x"}, "URL has no host"},
		{"password stays out", Request{URL: strings.Replace(s.URL, "http://", "http://me:secret@", 1) + "/none"}, "me:xxxxx@"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := get1(t, tt.req)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestGetEndsWithItsContext(t *testing.T) {
	s := serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Get(ctx, Request{URL: s.URL + "/slow"}, func(r io.Reader) error {
		cancel()
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestGetDoesNotGoToPlainHTTP(t *testing.T) {
	plain := serve(t)
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/list", http.StatusFound))
	defer secure.Close()
	_, _, err := get1(t, Request{URL: secure.URL, TLS: secure.Client().Transport.(*http.Transport).TLSClientConfig})
	if err == nil || !strings.Contains(err.Error(), "redirect from https to http") {
		t.Errorf("got %v", err)
	}
	if _, _, err := get1(t, Request{URL: secure.URL}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: got %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	s := serve(t)
	_, res, err := get1(t, Request{URL: s.URL + "/busy"})
	if err == nil || res.RetryAfter != 2*time.Minute {
		t.Errorf("got %v %v, want 2m", res.RetryAfter, err)
	}
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	for in, want := range map[string]time.Duration{"": 0, "x": 0, "-5": 0, "60": time.Minute, "99999999999": 24 * time.Hour,
		"Thu, 01 Jan 2026 01:00:00 GMT": time.Hour, "Wed, 31 Dec 2025 00:00:00 GMT": 0} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

func TestGuard(t *testing.T) {
	tests := []struct {
		name  string
		host  string
		hops  []string // the address of each connection, the first for the configured URL
		fails int      // index of the hop that is refused, -1 for none
	}{
		{"public all the way", "lists.example.org", []string{"8.8.8.8:443", "[2606:4700::1]:443"}, -1},
		{"redirect to loopback", "lists.example.org", []string{"8.8.8.8:443", "127.0.0.1:80"}, 1},
		{"redirect to mapped loopback", "lists.example.org", []string{"8.8.8.8:443", "[::ffff:127.0.0.1]:80"}, 1},
		{"redirect to private", "lists.example.org", []string{"8.8.8.8:443", "10.1.2.3:80"}, 1},
		{"redirect to NAT64", "lists.example.org", []string{"8.8.8.8:443", "[64:ff9b::a01:203]:80"}, 1},
		{"inside", "lists.corp.example", []string{"10.0.0.1:80", "10.0.0.2:80", "8.8.8.8:443"}, -1},
		{"inside to metadata", "lists.corp.example", []string{"10.0.0.1:80", "169.254.169.254:80"}, 1},
		{"a name for metadata", "evil.example.org", []string{"169.254.169.254:80"}, 0},
		{"link-local as written", "169.254.1.1", []string{"169.254.1.1:80"}, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := &guard{host: tt.host}
			got := -1
			for i, hop := range tt.hops {
				g.redirected = i > 0
				if err := g.control(t.Context(), "tcp", hop, nil); err != nil {
					got = i
					break
				}
			}
			if got != tt.fails {
				t.Errorf("got refusal at %d, want %d", got, tt.fails)
			}
		})
	}
	for _, a := range []string{"0.1.2.3", "100.64.0.1", "255.255.255.255", "fd00::1", "fe80::1", "ff02::1", "::", "2002:a00:1::"} {
		if public(netip.MustParseAddr(a)) {
			t.Errorf("%s counts as public", a)
		}
	}
}
