package http1

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/serving/servingtest"
)

// listen serves connections on loopback until the test ends.
func listen(t *testing.T, serve func(net.Listener)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go serve(l)
	return l.Addr().String()
}

// start makes a server of ours on loopback.
func start(t *testing.T, cfg Config) (*Server, string) {
	t.Helper()
	or := func(d *time.Duration) {
		if *d == 0 {
			*d = time.Minute
		}
	}
	or(&cfg.Header)
	or(&cfg.Idle)
	or(&cfg.Stall)
	if cfg.MaxHead == 0 {
		cfg.MaxHead = 64 << 10
	}
	s := New(cfg)
	t.Cleanup(func() { s.Close() })
	return s, listen(t, func(l net.Listener) {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.Serve(context.Background(), c, nil)
		}
	})
}

// said is what a server answers: what a client takes it for, and whether the connection can be used again.
type said struct {
	status        int
	proto         string
	header        http.Header
	body, trailer string
	kept          bool
	err           string
	informs       []int
}

func (s said) String() string {
	return fmt.Sprintf("%d %s %v %.80q %s, kept %v, %s, informed %v", s.status, s.proto, s.header, s.body, s.trailer, s.kept, s.err, s.informs)
}

// ends makes what it says of the connection what another says of it.
func (s *said) ends(as said) {
	s.kept = as.kept
	for _, name := range []string{"Connection", "(close)"} {
		delete(s.header, name)
		if v, ok := as.header[name]; ok {
			s.header[name] = v
		}
	}
}

// ask sends a request and reads what comes, then looks whether another is answered.
func ask(t *testing.T, addr, request string) (got said) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	method, _, _ := strings.Cut(request, " ")
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			got.err = "no answer"
			return got
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			got.informs = append(got.informs, resp.StatusCode)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			got.err = "cut off"
		}
		if resp.Header.Get("Date") == "" {
			t.Errorf("%q: the answer has no Date", request)
		}
		resp.Header.Del("Date")
		got.status, got.proto, got.header, got.body = resp.StatusCode, resp.Proto, resp.Header, string(body)
		got.header["(length)"] = []string{strconv.FormatInt(resp.ContentLength, 10)}
		got.header["(encoding)"] = resp.TransferEncoding
		got.header["(close)"] = []string{strconv.FormatBool(resp.Close)}
		got.trailer = fmt.Sprint(resp.Trailer)
		break
	}
	if _, err := io.WriteString(c, "GET /after HTTP/1.1\r\nHost: a\r\n\r\n"); err == nil {
		resp, err := http.ReadResponse(r, nil)
		got.kept = err == nil && resp.StatusCode == http.StatusTeapot
	}
	return got
}

// TestAnswersAsNetHTTP: whatever a handler does, a client gets from us what it gets from net/http.
func TestAnswersAsNetHTTP(t *testing.T) {
	all := servingtest.Handlers()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/after" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		all[r.Header.Get("X-Do")](w, r)
	})
	_, ours := start(t, Config{Handler: h})
	theirs := listen(t, func(l net.Listener) { _ = (&http.Server{Handler: h}).Serve(l) })
	for name := range all {
		for what, request := range map[string]string{
			"get":          "GET /x?y HTTP/1.1\r\nHost: a\r\nX-Do: " + name + "\r\n\r\n",
			"head":         "HEAD /x HTTP/1.1\r\nHost: a\r\nX-Do: " + name + "\r\n\r\n",
			"post":         "POST /x HTTP/1.1\r\nHost: a\r\nX-Do: " + name + "\r\nContent-Length: 5\r\n\r\nhello",
			"chunks":       "POST /x HTTP/1.1\r\nHost: a\r\nX-Do: " + name + "\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
			"close":        "GET http://a/x HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\nX-Do: " + name + "\r\n\r\n",
			"old":          "GET /%41/..//x?%41 HTTP/1.0\r\nX-Do: " + name + "\r\n\r\n",
			"old and kept": "GET /x HTTP/1.0\r\nConnection: keep-alive\r\nX-Do: " + name + "\r\n\r\n",
			"old head":     "HEAD /x HTTP/1.0\r\nConnection: keep-alive\r\nX-Do: " + name + "\r\n\r\n",
			"expecting":    "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nX-Do: " + name + "\r\nContent-Length: 5\r\n\r\nhello",
		} {
			want, got := ask(t, theirs, request), ask(t, ours, request)
			reads := strings.HasPrefix(name, "body")
			if (what == "post" || what == "chunks") && !reads {
				// net/http reads what the handler has not; we end the connection.
				want.ends(got)
			}
			if name == "body late" && strings.Contains(request, "POST") {
				want.kept = false // net/http does not say what becomes of the connection
				want.ends(got)
			}
			if name == "early hints" && strings.HasPrefix(what, "old") {
				want.informs = nil // HTTP/1.0 knows nothing of them (RFC 9110, section 15.2)
			}
			same := got.status == want.status && got.proto == want.proto && got.body == want.body && got.trailer == want.trailer && got.kept == want.kept && got.err == want.err &&
				slices.Equal(got.informs, want.informs) && maps.EqualFunc(got.header, want.header, slices.Equal)
			if !same {
				t.Errorf("%s, %s:\ngot  %v\nwant %v", name, what, got, want)
			}
		}
	}
}
