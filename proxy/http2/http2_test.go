package http2

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/serving/servingtest"
)

// eventually waits for a condition, but not for ever.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to that: %s", what)
		}
	}
}

// start makes a server on loopback that speaks HTTP/2 without TLS.
func start(t *testing.T, cfg Config) (*Server, string) {
	t.Helper()
	for _, d := range []*time.Duration{&cfg.Header, &cfg.Idle, &cfg.Stall} {
		if *d == 0 {
			*d = time.Minute
		}
	}
	if cfg.MaxHead == 0 {
		cfg.MaxHead = 64 << 10
	}
	if cfg.Streams == 0 {
		cfg.Streams = 100
	}
	s := New(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); s.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.Serve(context.Background(), c, &tls.ConnectionState{})
		}
	}()
	return s, l.Addr().String()
}

// client speaks HTTP/2 without TLS, in the words of net/http.
func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// said is what a client takes an answer for.
type said struct {
	status        int
	header        http.Header
	body, trailer string
	length        int64
	err           string
}

func (s said) String() string {
	return fmt.Sprintf("%d %v %.80q %d %s %s", s.status, s.header, s.body, s.length, s.trailer, s.err)
}

func ask(t *testing.T, c *http.Client, method, url string, body io.Reader, header http.Header) (got said) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	if body != nil && header.Get("X-Trailer") != "" {
		req.Trailer = http.Header{"X-T": {"1"}}
	}
	resp, err := c.Do(req)
	if err != nil {
		got.err = "no answer"
		return got
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		got.err = "cut off"
	}
	if resp.Header.Get("Date") == "" {
		t.Errorf("%s %s: the answer has no Date", method, url)
	}
	resp.Header.Del("Date")
	return said{resp.StatusCode, resp.Header, string(b), fmt.Sprint(resp.Trailer), resp.ContentLength, got.err}
}

// TestAnswersAsNetHTTP: whatever a handler does, a client gets from us what it gets from net/http.
func TestAnswersAsNetHTTP(t *testing.T) {
	all := servingtest.Handlers()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { all[r.Header.Get("X-Do")](w, r) })
	_, ours := start(t, Config{Handler: h})
	theirs := httptest.NewUnstartedServer(h)
	theirs.Config.Protocols = new(http.Protocols)
	theirs.Config.Protocols.SetUnencryptedHTTP2(true)
	theirs.Start()
	t.Cleanup(theirs.Close)
	c := client(t)
	for name := range all {
		for what, x := range map[string]struct {
			method, body string
			header       http.Header
		}{
			"get":       {"GET", "", http.Header{}},
			"query":     {"GET", "", http.Header{"Cookie": {"a=b", "c=d"}, "X-Empty": {""}, "Te": {"trailers"}}},
			"head":      {"HEAD", "", http.Header{}},
			"post":      {"POST", "hello", http.Header{}},
			"large":     {"POST", strings.Repeat("0123456789", 100_000), http.Header{}},
			"trailers":  {"PUT", "hello", http.Header{"X-Trailer": {"1"}}},
			"expecting": {"POST", "hello", http.Header{"Expect": {"100-continue"}}},
		} {
			if strings.HasPrefix(name, "give up") && x.method != "GET" || what == "expecting" && name != "body" || name == "sudden trailer" {
				continue // what comes of it is a matter of luck, here or there; a trailer of two lines is none for us
			}
			one := func(addr string) said {
				var body io.Reader
				if x.body != "" {
					body = struct{ io.Reader }{strings.NewReader(x.body)}
				}
				header := x.header.Clone()
				header.Set("X-Do", name)
				return ask(t, c, x.method, "http://"+addr+"/a%20b/../c?d=%41", body, header)
			}
			if strings.HasPrefix(name, "no content") || name == "not modified" {
				// net/http promises a body here, for which its own client waits in vain.
				if got := one(ours); got.err != "" || got.body != "" || got.header.Get("Content-Length") != "" {
					t.Errorf("%s, %s: got %v", name, what, got)
				}
				continue
			}
			want, got := one(theirs.Listener.Addr().String()), one(ours)
			want.body, got.body = strings.ReplaceAll(want.body, theirs.Listener.Addr().String(), "HOST"), strings.ReplaceAll(got.body, ours, "HOST")
			if name == "more than its length" || name == "less than its length" {
				want.body, got.body, want.err, got.err = "", "", "", "" // it is cut off, here or there
				delete(want.header, "Content-Type")
				delete(got.header, "Content-Type")
			}
			if name == "close" || name == "keep-alive" {
				delete(want.header, "Connection") // HTTP/2 has no such field
			}
			if got.status != want.status || got.body != want.body || got.trailer != want.trailer || got.length != want.length || got.err != want.err || !maps.EqualFunc(got.header, want.header, slices.Equal) {
				t.Errorf("%s, %s:\ngot  %v\nwant %v", name, what, got, want)
			}
		}
	}
}

// TestLoad: many large bodies go both ways at the same time.
func TestLoad(t *testing.T) {
	_, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Errorf("echo: %v", err)
		}
	})})
	c := client(t)
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			want := bytes.Repeat([]byte{byte(i)}, 40_000*(i%20)+i)
			resp, err := c.Post("http://"+addr, "a/b", struct{ io.Reader }{bytes.NewReader(want)})
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, want %d, %v", len(got), len(want), err)
			}
		})
	}
	all.Wait()
}
