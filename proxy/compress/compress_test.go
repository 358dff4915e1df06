package compress

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/platformd/platformd/proxy/proxytest"
)

func compressor(t testing.TB, c Config) *Compressor {
	t.Helper()
	made, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// decoded reads a body in a coding.
func decoded(t *testing.T, coding string, body io.Reader) io.Reader {
	t.Helper()
	var err error
	switch coding {
	case "gzip":
		body, err = gzip.NewReader(body)
	case "br":
		body = brotli.NewReader(body)
	case "zstd":
		var d *zstd.Decoder
		// A client with little memory: RFC 8878, section 3.1.1.1.2.
		d, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<windowBits))
		if err == nil {
			t.Cleanup(d.Close)
		}
		body = d
	}
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func text(t *testing.T, r *proxytest.Response) string {
	t.Helper()
	body, err := io.ReadAll(decoded(t, r.Header.Get("Content-Encoding"), strings.NewReader(r.Text)))
	if err != nil {
		t.Fatalf("decode %q: %v", r.Header, err)
	}
	return string(body)
}

var long = strings.Repeat("all work and no play ", 200)

// answers is a back end with what responses are made of: the query's fields become fields of the header, body is "long"
// unless the path is a number of bytes, "cl" declares the length, "status" is the status.
func answers(w http.ResponseWriter, r *http.Request) {
	body := long
	if n, err := strconv.Atoi(r.URL.Path[1:]); err == nil {
		body = strings.Repeat("x", n)
	}
	status := http.StatusOK
	w.Header().Set("Content-Type", "text/html")
	for name, values := range r.URL.Query() {
		switch name {
		case "cl":
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		case "status":
			status, _ = strconv.Atoi(values[0])
		case "sniff":
			w.Header().Del("Content-Type")
		default:
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
	}
	if tag := w.Header().Get("Etag"); tag != "" && strings.Contains(r.Header.Get("If-None-Match"), strings.TrimPrefix(tag, "W/")) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead && status != 204 {
		io.WriteString(w, body)
	}
}

func TestNegotiation(t *testing.T) {
	h := compressor(t, Config{}).Wrap(http.HandlerFunc(answers))
	proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
		for _, tt := range []struct {
			name, path, accept, coding string
			vary                       bool
		}{
			{"browser", "/", "gzip, deflate, br, zstd", "zstd", true},
			{"brotli", "/", "gzip;q=0.5, br", "br", true},
			{"gzip", "/", "gzip", "gzip", true},
			{"length known", "/?cl=1", "gzip", "gzip", true},
			{"nothing accepted", "/", "", "", true},
			{"refused", "/", "gzip;q=0", "", true},
			{"too short, length known", "/1023?cl=1", "gzip", "", true},
			{"too short", "/1023", "gzip", "", true},
			{"just enough", "/1024", "gzip", "gzip", true},
			{"just enough, length known", "/1024?cl=1", "gzip", "gzip", true},
			{"too short, but identity is refused", "/10", "identity;q=0, gzip", "gzip", true},
			{"the same, length known", "/10?cl=1", "identity;q=0, gzip", "gzip", true},
			{"empty", "/0", "gzip", "", true},
			{"empty, identity refused", "/0?cl=1", "*;q=0, gzip", "", true},
			{"another type", "/?content-type=image/png", "gzip", "", false},
			{"type with parameters", "/?content-type=Text/CSS;charset=utf-8", "gzip", "gzip", true},
			{"sniffed text", "/?sniff=1", "gzip", "gzip", true},
			{"sniffed text, length known", "/?sniff=1&cl=1", "gzip", "gzip", true},
			{"sniffed text, short", "/10?sniff=1", "gzip", "", true},
			{"has a coding", "/?content-encoding=aes128gcm", "gzip", "aes128gcm", false},
			{"part", "/?status=206&content-range=bytes+0-4199/9000", "gzip", "", false},
			{"no-transform", "/?cache-control=public,+no-transform", "gzip", "", false},
			{"not found", "/?status=404", "gzip", "gzip", true},
			{"no content", "/?status=204", "gzip", "", false},
		} {
			got := s.Get(tt.path, "Accept-Encoding", tt.accept)
			coding := got.Header.Get("Content-Encoding")
			if coding != tt.coding || (got.Header.Get("Vary") == "Accept-Encoding") != tt.vary || got.Broken != nil {
				t.Errorf("%s: got coding %q, Vary %q, %v", tt.name, coding, got.Header.Get("Vary"), got.Broken)
			}
			want := long
			var n int
			if _, err := fmt.Sscanf(tt.path, "/%d", &n); err == nil {
				want = strings.Repeat("x", n)
			} else if got.StatusCode == 204 {
				want = ""
			}
			if coding != "aes128gcm" {
				if body := text(t, got); body != want {
					t.Errorf("%s: got %d bytes, want %d", tt.name, len(body), len(want))
				}
			}
			if coding != "" && coding == tt.coding && coding != "aes128gcm" && got.Header.Get("Content-Length") == strconv.Itoa(len(want)) {
				t.Errorf("%s: kept the length of what it compressed", tt.name)
			}
			if typ := got.Header.Get("Content-Type"); strings.HasPrefix(tt.name, "sniffed") && typ != "text/plain; charset=utf-8" {
				t.Errorf("%s: type %q", tt.name, typ)
			}
		}
		if got := s.Get("/", "Accept-Encoding", "gzip", "Cache-Control", "no-transform"); got.Header.Get("Content-Encoding") != "" {
			t.Error("compressed though the client said no-transform")
		}
	})
}

func TestHead(t *testing.T) {
	h := compressor(t, Config{}).Wrap(http.HandlerFunc(answers))
	proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
		for _, path := range []string{"/?cl=1&etag=%22a%22", "/10?cl=1&etag=%22a%22", "/?cl=1&content-type=image/png", "/?status=404&cl=1"} {
			get, head := s.Get(path, "Accept-Encoding", "gzip"), s.Do("HEAD", path, "Accept-Encoding", "gzip")
			for _, f := range []string{"Content-Encoding", "Vary", "Etag", "Content-Type", "Accept-Ranges"} {
				if g, h := get.Header.Get(f), head.Header.Get(f); g != h {
					t.Errorf("%s: %s: GET %q, HEAD %q", path, f, g, h)
				}
			}
			if head.Text != "" || head.StatusCode != get.StatusCode {
				t.Errorf("%s: HEAD: %d %q", path, head.StatusCode, head.Text)
			}
			if get.Header.Get("Content-Encoding") == "" && head.Header.Get("Content-Length") != get.Header.Get("Content-Length") {
				t.Errorf("%s: lengths differ", path)
			}
		}
		if got := s.Do("HEAD", "/?etag=%22a%22", "Accept-Encoding", "gzip"); got.Header.Get("Vary") == "" || got.Header.Get("Content-Encoding") != "" {
			t.Errorf("HEAD, length not known: %q", got.Header)
		}
	})
}

func TestTags(t *testing.T) {
	h := compressor(t, Config{}).Wrap(http.HandlerFunc(answers))
	proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
		const path = "/?etag=%22a%22&accept-ranges=bytes&content-digest=x&repr-digest=x&cl=1"
		first := s.Get(path, "Accept-Encoding", "br")
		if tag := first.Header.Get("Etag"); tag != `W/"a"` {
			t.Fatalf("tag of what was compressed: %s", tag)
		}
		for _, f := range []string{"Accept-Ranges", "Content-Digest", "Repr-Digest", "Content-Length"} {
			if v := first.Header.Get(f); v != "" && v == first.Request.URL.Query().Get(strings.ToLower(f)) {
				t.Errorf("kept %s: %s", f, v)
			}
		}
		if tag := s.Get(path).Header.Get("Etag"); tag != `"a"` {
			t.Errorf("tag of what was not compressed: %s", tag)
		}
		got := s.Get(path, "Accept-Encoding", "br", "If-None-Match", `W/"a"`)
		if got.StatusCode != 304 || got.Header.Get("Etag") != `W/"a"` || got.Header.Get("Vary") != "Accept-Encoding" || got.Header.Get("Content-Encoding") != "" {
			t.Errorf("revalidated: %d %q", got.StatusCode, got.Header)
		}
		if got := s.Get(path, "Accept-Encoding", "br", "If-None-Match", `"a"`); got.StatusCode != 304 || got.Header.Get("Etag") != `"a"` {
			t.Errorf("revalidated by the strong tag: %d %q", got.StatusCode, got.Header)
		}
		if got := s.Get(path, "Accept-Encoding", "br", "If-None-Match", `W/"b"`); got.StatusCode != 200 {
			t.Errorf("another tag: %d", got.StatusCode)
		}
	})
}

// TestStreaming: what is flushed arrives while the handler goes on, in each coding; an event stream needs no flush.
func TestStreaming(t *testing.T) {
	for _, contentType := range []string{"text/plain", "text/event-stream"} {
		step := make(chan struct{})
		h := compressor(t, Config{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			for i := range 3 {
				fmt.Fprintf(w, "event %d\n", i)
				if contentType == "text/plain" {
					if err := http.NewResponseController(w).Flush(); err != nil {
						t.Error(err)
					}
				}
				select {
				case <-step:
				case <-r.Context().Done():
				}
			}
		}))
		// A stream of events must be seen from its first byte.
		proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
			for _, coding := range []string{"gzip", "br", "zstd", "identity"} {
				resp, err := s.Client.Do(s.Request("GET", "/", nil, "Accept-Encoding", coding))
				if err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewReader(decoded(t, resp.Header.Get("Content-Encoding"), resp.Body))
				for i := range 3 {
					line, err := lines.ReadString('\n')
					if want := fmt.Sprintf("event %d\n", i); line != want || err != nil {
						t.Fatalf("%s %s: got %q, %v, want %q", contentType, coding, line, err, want)
					}
					step <- struct{}{}
				}
				if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
					t.Errorf("%s %s: at the end: %q, %v", contentType, coding, rest, err)
				}
				if want := strings.TrimPrefix(coding, "identity"); resp.Header.Get("Content-Encoding") != want {
					t.Errorf("%s: got %q, want %q", contentType, resp.Header.Get("Content-Encoding"), want)
				}
				resp.Body.Close()
			}
		})
	}
}

// TestBrokenBodiesStayBroken: a client must see that a body is not whole.
func TestBrokenBodiesStayBroken(t *testing.T) {
	for name, breaks := range map[string]http.HandlerFunc{
		"panic":     func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, long); panic(http.ErrAbortHandler) },
		"too short": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, long[:len(long)-1]) },
	} {
		h := compressor(t, Config{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", strconv.Itoa(len(long)))
			breaks(w, r)
		}))
		proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
			for _, coding := range []string{"gzip", "br", "zstd"} {
				resp, err := s.Client.Do(s.Request("GET", "/", nil, "Accept-Encoding", coding))
				if err != nil {
					continue
				}
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil {
					t.Errorf("%s, %s: the client took it for whole", name, coding)
				}
			}
		})
	}
}

func TestEarlyHintsAndTrailers(t *testing.T) {
	h := compressor(t, Config{}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, "short")
		w.Header().Set("X-Sum", "42")
	}))
	proxytest.Each(t, h, func(t *testing.T, s *proxytest.Server) {
		got := s.Get("/", "Accept-Encoding", "gzip")
		if text(t, got) != "short" || got.Trailer.Get("X-Sum") != "42" || got.Header.Get("X-Sum") != "" {
			t.Errorf("got %q, header %q, trailer %q", text(t, got), got.Header, got.Trailer)
		}
	})
}

// TestBehindReverseProxy: the way it is used, with a back end, large bodies and many clients at once.
func TestBehindReverseProxy(t *testing.T) {
	body := strings.Repeat(long, 100)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, r.URL.Path)
		io.WriteString(w, body)
	}))
	t.Cleanup(origin.Close)
	to, err := url.Parse(origin.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Header.Del("Accept-Encoding") }}
	proxytest.Each(t, compressor(t, Config{}).Wrap(proxy), func(t *testing.T, s *proxytest.Server) {
		done := make(chan string)
		for i := range 8 {
			go func() {
				for j := range 6 {
					coding := []string{"gzip", "br", "zstd"}[j%3]
					path := fmt.Sprintf("/%d-%d", i, j)
					got := s.Get(path, "Accept-Encoding", coding)
					if got.Header.Get("Content-Encoding") != coding || text(t, got) != path+body {
						done <- path + " came out wrong"
						return
					}
				}
				done <- ""
			}()
		}
		for range 8 {
			if wrong := <-done; wrong != "" {
				t.Error(wrong)
			}
		}
	})
}

func TestOff(t *testing.T) {
	s := proxytest.Start(t, compressor(t, Config{Off: true}).Wrap(http.HandlerFunc(answers)))
	if got := s.Get("/", "Accept-Encoding", "gzip"); got.Header.Get("Content-Encoding") != "" || got.Header.Get("Vary") != "" {
		t.Errorf("got %q", got.Header)
	}
}

func TestLevelsAndTypes(t *testing.T) {
	c := Config{Encodings: []string{"br", "gzip"}, Types: []string{"image/png"}, MinBytes: 1, GzipLevel: 9, BrotliLevel: 6, ZstdLevel: 11}
	s := proxytest.Start(t, compressor(t, c).Wrap(http.HandlerFunc(answers)))
	if got := s.Get("/5?content-type=image/png", "Accept-Encoding", "zstd, gzip, br"); got.Header.Get("Content-Encoding") != "br" || text(t, got) != "xxxxx" {
		t.Errorf("got %q", got.Header)
	}
	if got := s.Get("/", "Accept-Encoding", "gzip"); got.Header.Get("Content-Encoding") != "" {
		t.Errorf("compressed a type that is not in the list: %q", got.Header)
	}
}

func TestValidate(t *testing.T) {
	err := Config{Encodings: []string{"gzip", "deflate", "gzip"}, Types: []string{"Text/html", "x", "a/b;c"}, MinBytes: -1, GzipLevel: 10, BrotliLevel: 11, ZstdLevel: 22}.Validate()
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, path := range []string{"encodings[1]", "encodings[2]", "types[0]", "types[1]", "types[2]", "min_bytes", "gzip_level", "brotli_level", "zstd_level"} {
		if !strings.Contains(err.Error(), path+": ") {
			t.Errorf("nothing about %s in\n%v", path, err)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	if text, _ := json.Marshal(Config{}); string(text) != "{}" {
		t.Errorf("the zero value is written as %s", text)
	}
}
