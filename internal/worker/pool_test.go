package worker

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/feeds"
	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/firewall/ranges"
)

// nobody is a user that exists in every Debian and owns nothing.
const nobody = 65534

// TestMain makes the test binary the worker when the pool starts it so.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "worker" {
		if os.Args[2] == "outbound" {
			os.Exit(Outbound(os.Stdin, os.Stdout, os.Stderr))
		}
		if os.Args[2] == "proxy" { // --release VERSION --roots A:B --work DIR
			os.Exit(Web(WebArgs{Version: os.Args[4], Roots: filepath.SplitList(os.Args[6]), Work: os.Args[8], Seccomp: os.Args[10]}, os.Stderr))
		}
		os.Exit(misbehave(os.Args[2]))
	}
	if len(os.Args) > 2 && os.Args[1] == "misbehave-acme" {
		misbehaveACME(os.Args[2])
	}
	os.Exit(m.Run())
}

func pool(t *testing.T, args ...string) *Pool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests start processes as another user: run them as root")
	}
	if len(args) == 0 {
		args = []string{"outbound"}
	}
	var log bytes.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	p, err := New(Config{UID: nobody, GID: nobody, TempDir: t.TempDir(), Args: append([]string{"platformd", "worker"}, args...), UserAgent: "platformd-test",
		Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func collect(t *testing.T, r *Result) string {
	t.Helper()
	rs, err := ranges.Collect(r.Copy().Ranges)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range rs {
		out = append(out, x.String())
	}
	return strings.Join(out, " ")
}

// onlyKernel leaves out of Weak what a kernel without Landlock causes.
func onlyKernel(weak []string) bool {
	return !slices.ContainsFunc(weak, func(s string) bool { return !strings.HasPrefix(s, "no Landlock:") })
}

func TestFetchFeed(t *testing.T) {
	var agent string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent = r.UserAgent()
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "# list\n8.8.8.8\n8.8.8.9\nnonsense\n2001:db8::/32\n")
	}))
	defer s.Close()
	p := pool(t)
	res, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: s.URL + "/list"})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if got := collect(t, res); got != "8.8.8.8/31 2001:db8::/32" {
		t.Errorf("got %s", got)
	}
	c := res.Copy()
	if c.Format != feeds.Netset || c.ETag != `"v1"` || c.Bad != 1 || len(c.BadLines) != 1 || c.BadLines[0].Line != 4 || c.Lines != 4 || agent != "platformd-test" {
		t.Errorf("got %+v, user agent %q", c, agent)
	}
	if !onlyKernel(res.Weak) {
		t.Errorf("confinement is weak: %q", res.Weak)
	}
	again, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: s.URL + "/list", ETag: c.ETag})
	if err != nil || !again.NotModified || again.Close() != nil {
		t.Errorf("conditional: got %+v %v", again, err)
	}
}

func TestFetchFeedFailures(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "8.8.8.8\n")
	})
	mux.HandleFunc("/huge", func(w http.ResponseWriter, r *http.Request) {
		for line := bytes.Repeat([]byte("8.8.8.8\n"), 1000); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>\x1b[2Jsorry") })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	p := pool(t)
	tests := []struct {
		name string
		job  Job
		want string
	}{
		{"cut", Job{Source: s.URL + "/cut"}, "unexpected EOF"},
		{"huge", Job{Source: s.URL + "/huge", Feed: feeds.Limits{Bytes: 1 << 20}}, "more than 1048576 bytes"},
		{"too many ranges", Job{Source: s.URL + "/huge", Feed: feeds.Limits{Ranges: 10}}, "more than 10 ranges"},
		{"endless redirects", Job{Source: s.URL + "/loop"}, "more than 5 redirects"},
		{"slow", Job{Source: s.URL + "/slow", Timeout: 300 * time.Millisecond}, "deadline exceeded"},
		{"web page", Job{Source: s.URL + "/page"}, "it is a web page"},
		{"missing", Job{Source: s.URL + "/none"}, "server answered 404"},
		{"busy", Job{Source: s.URL + "/busy"}, "server answered 503"},
		{"relative path", Job{Source: "list.txt"}, "neither a URL nor an absolute path"},
		{"scheme", Job{Source: "file:///etc/shadow"}, `scheme "file"`},
		{"format", Job{Source: s.URL, Format: "xml"}, `format "xml" is unknown`},
		{"missing file", Job{Source: "/nonexistent/list"}, "no such file"},
		{"folder", Job{Source: "/etc"}, "not a regular file"},
		{"device", Job{Source: "/dev/zero"}, "not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.job.Kind = FetchFeed
			res, err := p.Run(t.Context(), tt.job)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
			if want := map[string]time.Duration{"busy": time.Minute}[tt.name]; res.RetryAfter != want {
				t.Errorf("got retry after %v, want %v", res.RetryAfter, want)
			}
			if _, err := ranges.Collect(res.Copy().Ranges); err == nil {
				t.Error("a failed job has ranges")
			}
		})
	}
}

func TestConfinedFetchCanResolveAndVerify(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "8.8.8.8\n") })
	plain := httptest.NewServer(handler)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains about the client that hangs up
	secure.StartTLS()
	defer secure.Close()
	p := pool(t)
	res, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)})
	if err != nil || collect(t, res) != "8.8.8.8" || res.Close() != nil {
		t.Errorf("by name: got %v", err)
	}
	_, err = p.Run(t.Context(), Job{Kind: FetchFeed, Source: secure.URL})
	if err == nil || !strings.Contains(err.Error(), "signed by unknown authority") || strings.Contains(err.Error(), "system roots") {
		t.Errorf("test certificate: got %v", err)
	}
}

func TestFeedFromAFileOnlyRootCanRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("8.8.8.8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := pool(t)
	res, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: path})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if got := collect(t, res); got != "8.8.8.8" || !onlyKernel(res.Weak) {
		t.Errorf("got %s, weak %q", got, res.Weak)
	}
	same, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: path, ETag: res.ETag})
	if err != nil || !same.NotModified {
		t.Errorf("same file: got %+v %v", same, err)
	}
	if err := os.WriteFile(path, []byte("8.8.8.8\n9.9.9.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: path, ETag: res.ETag})
	if err != nil || other.NotModified || collect(t, other) != "8.8.8.8 9.9.9.9" || other.Close() != nil {
		t.Errorf("changed file: got %+v %v", other, err)
	}
}

func TestParseGeoAtFullSize(t *testing.T) {
	p := pool(t)
	var sources []geo.Source
	for _, path := range []string{"/usr/share/tor/geoip", "/usr/share/tor/geoip6"} {
		res, err := p.Run(t.Context(), Job{Kind: ParseGeo, Source: path})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		if !onlyKernel(res.Weak) {
			t.Errorf("confinement is weak: %q", res.Weak)
		}
		sources = append(sources, res.Geo())
	}
	store, err := geo.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m, changed, err := store.Put(sources, false, time.Unix(1, 0))
	if err != nil || !changed || m.DB.V4 < 300_000 || m.DB.V6 < 200_000 || m.Sources[0].Stats.Format != geo.Tor || m.Sources[0].Stamp == "" {
		t.Errorf("got %+v %v %v", m, changed, err)
	}
	mmdb := filepath.Join(t.TempDir(), "x.mmdb")
	if err := os.WriteFile(mmdb, []byte("\xab\xcd\xefMaxMind.com\xe0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(t.Context(), Job{Kind: ParseGeo, Source: mmdb}); err == nil || !strings.Contains(err.Error(), mmdb+": read MaxMind DB") {
		t.Errorf("damaged MaxMind DB: got %v", err)
	}
	if _, err := p.Run(t.Context(), Job{Kind: ParseGeo, Source: "/etc/passwd"}); err == nil || !strings.Contains(err.Error(), "/etc/passwd") {
		t.Errorf("not country data: got %v", err)
	}
	if _, err := p.Run(t.Context(), Job{Kind: ParseGeo, Source: "https://example.org/geo.mmdb"}); err == nil || !strings.Contains(err.Error(), "absolute path") {
		t.Errorf("country data by URL: got %v", err)
	}
}

func TestNew(t *testing.T) {
	for name, cfg := range map[string]Config{"no folder": {}, "not a folder": {TempDir: "/etc/passwd"}, "user without group": {TempDir: "/tmp", UID: 1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
