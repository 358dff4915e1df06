package judges

import (
	"bytes"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy"
)

// TestClients: programs that people use get what the back end says.
func TestClients(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	b := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d bytes", n)
			return
		}
		http.ServeContent(w, r, "file.bin", time.Unix(1700000000, 0), bytes.NewReader(want))
	}))
	s := newSite(t, proxy.Config{Routes: []proxy.Route{{Backend: b}}})
	dir := t.TempDir()
	upload := filepath.Join(dir, "upload")
	if err := os.WriteFile(upload, want, 0o600); err != nil {
		t.Fatal(err)
	}
	_, plain, _ := net.SplitHostPort(s.http)
	got := filepath.Join(dir, "got")
	for _, c := range []struct {
		name string
		args []string
		says string // a pattern in what the program prints
		file bool   // what it got is the file
	}{
		{"curl", []string{"--http1.1", "-w", "%{http_version} %{http_code}", "-o", got, s.url("/")}, `^1\.1 200$`, true},
		{"curl", []string{"--http2", "-w", "%{http_version} %{http_code}", "-o", got, s.url("/")}, `^2 200$`, true},
		{"curl", []string{"-r", "0-9", s.url("/")}, `^0123456789$`, false},
		{"curl", []string{"-F", "file=@" + upload, s.url("/")}, `^262\d\d\d bytes$`, false},
		{"curl", []string{"--http1.1", "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue", "--data-binary", "@" + upload, s.url("/")}, `^262144 bytes$`, false},
		{"curl", []string{"-T", upload, "-X", "POST", s.url("/")}, `^262144 bytes$`, false},
		{"curl", []string{"-L", "-w", "%{num_redirects} %{http_code} %{url_effective}", "-o", got, "http://localhost:" + plain + "/x"}, `^1 200 https://localhost:\d+/x$`, true},
		{"curl", []string{"--tls-max", "1.2", "-w", "%{http_code}", "-o", got, s.url("/")}, `^200$`, true},
		{"curl", []string{"-I", s.url("/")}, `(?i)strict-transport-security: max-age=63072000`, false},
		{"curl", []string{"-Z", "-w", "%{http_code}\n", "-o", got, "-o", got + "2", s.url("/a"), s.url("/b")}, `200\n200\n$`, true},
	} {
		os.Remove(got)
		out, status := run(t, 30*time.Second, c.name, append([]string{"-sS", "--noproxy", "*", "--resolve", "localhost:" + s.port() + ":127.0.0.1", "-4", "--cacert", s.rootFile}, c.args...)...)
		if status != 0 || !regexp.MustCompile(c.says).MatchString(out) {
			t.Errorf("%s %q: status %d, said %.400q", c.name, c.args, status, out)
		}
		if c.file {
			if data, err := os.ReadFile(got); err != nil || !bytes.Equal(data, want) {
				t.Errorf("%s %q: got %d bytes, %v", c.name, c.args, len(data), err)
			}
		}
	}
	os.Remove(got)
	half := filepath.Join(dir, "half")
	if err := os.WriteFile(half, want[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	out, status := run(t, 30*time.Second, "wget", "-4", "--no-proxy", "--no-hsts", "--ca-certificate="+s.rootFile, "-c", "-O", half, s.url("/"))
	if data, err := os.ReadFile(half); status != 0 || err != nil || !bytes.Equal(data, want) || !strings.Contains(out, "206 Partial Content") {
		t.Errorf("wget -c: status %d, %d bytes: %s", status, len(data), out)
	}
	for _, p := range []string{"http/1.1", "h2"} {
		out, _ := run(t, time.Minute, "h2load", "--npn-list="+p, "-n", "2000", "-c", "20", "-m", "10", strings.Replace(s.url("/"), "localhost", "127.0.0.1", 1))
		if !strings.Contains(out, "2000 succeeded, 0 failed, 0 errored, 0 timeout") || !strings.Contains(out, "Application protocol: "+p) || !strings.Contains(out, "status codes: 2000 2xx") {
			t.Errorf("h2load, %s: %s", p, out)
		}
	}
}

// TestHTTP3Client: ngtcp2's client gets a file by HTTP/3.
func TestHTTP3Client(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	s := newSite(t, proxy.Config{Routes: []proxy.Route{{Backend: serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(want) }))}}})
	dir := t.TempDir()
	out, status := run(t, 30*time.Second, "gtlsclient", "--quiet", "--exit-on-all-streams-close", "--download="+dir, "127.0.0.1", s.port(), s.url("/file"))
	data, err := os.ReadFile(filepath.Join(dir, "file"))
	if status != 0 || err != nil || !bytes.Equal(data, want) {
		t.Errorf("status %d, got %d bytes, %v: %.4000s", status, len(data), err, out)
	}
	until(t, 10*time.Second, "the proxy has logged it", func() bool {
		r := s.records()
		return len(r) == 1 && r[0].Protocol == "HTTP/3.0" && r[0].Status == 200
	})
}

// TestChromium: a browser shows the page, and nothing in it is held back by what the proxy adds.
func TestChromium(t *testing.T) {
	s := newSite(t, proxy.Config{Routes: []proxy.Route{{Backend: serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, `<!doctype html><title>x</title><link rel=stylesheet href=/style.css><body><script src=/script.js></script>`)
		case "/style.css":
			w.Header().Set("Content-Type", "text/css")
			_, _ = io.WriteString(w, "body{background:#f00}")
		case "/script.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = io.WriteString(w, `fetch("/data").then(r=>r.text()).then(t=>{document.body.style.background=t})`)
		case "/data":
			_, _ = io.WriteString(w, "rgb(0,128,0)")
		default:
			http.NotFound(w, r)
		}
	}))}}})
	shot := filepath.Join(t.TempDir(), "shot.png")
	out, status := run(t, time.Minute, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors", "--user-data-dir="+t.TempDir(),
		"--no-proxy-server", "--host-resolver-rules=MAP localhost 127.0.0.1", "--window-size=200,200", "--virtual-time-budget=5000", "--screenshot="+shot, s.url("/"))
	f, err := os.Open(shot)
	if err != nil {
		t.Fatalf("status %d, %v: %s", status, err, out)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := img.At(100, 100).RGBA(); r>>8 != 0 || g>>8 != 128 || b>>8 != 0 {
		t.Errorf("the page is %d %d %d, want it green\n%s", r>>8, g>>8, b>>8, out)
	}
}
