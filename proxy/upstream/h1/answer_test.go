package h1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// script is a connection on which a back end says a fixed text, in pieces of a size.
type script struct {
	net.Conn
	in    io.Reader
	piece int
	out   bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	if s.piece > 0 && len(p) > s.piece {
		p = p[:s.piece]
	}
	return s.in.Read(p)
}
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// got is an answer, read to its end.
type got struct {
	status  int
	header  http.Header
	body    string
	trailer http.Header
	kept    bool // the connection
	informs []int
	err     error
}

func play(text string, piece int, change func(*Request)) got {
	p := New(Config{Dial: func(context.Context) (net.Conn, error) {
		return &script{in: strings.NewReader(text), piece: piece}, nil
	}, MaxHead: 64 << 10})
	defer p.CloseIdle()
	g := got{header: http.Header{}}
	r := &Request{Method: "GET", Target: "/", Host: "a.test", Into: g.header, Interim: func(status int, _ http.Header) { g.informs = append(g.informs, status) }}
	if change != nil {
		change(r)
	}
	resp, err := p.Do(context.Background(), r)
	if err != nil {
		g.err = err
		return g
	}
	g.status = resp.Status
	var body bytes.Buffer
	for {
		b, err := resp.Body.Next()
		body.Write(b)
		if err != nil {
			if err != io.EOF {
				g.err = err
			}
			break
		}
	}
	g.body, g.trailer = body.String(), resp.Body.Trailer()
	resp.Body.Close()
	g.kept = p.Idle() == 1
	return g
}

func TestAnswers(t *testing.T) {
	head := func(r *Request) { r.Method = "HEAD" }
	for _, x := range []struct {
		name, text string
		change     func(*Request)
		status     int
		body       string
		kept       bool
		header     string // one that must be there, as "Name: value"
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", nil, 200, "hello", true, "Content-Length: 5"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\nhello", nil, 200, "hello", false, ""},
		{"empty", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", nil, 404, "", true, "Content-Length: 0"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", nil, 200, "hello", true, ""},
		{"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", nil, 200, "x", false, ""},
		{"named by Connection", "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nX-Open: 2\r\nContent-Length: 0\r\n\r\n", nil, 200, "", true, "X-Open: 2"},
		{"old", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", nil, 200, "x", false, ""},
		{"old and kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", nil, 200, "x", true, ""},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", nil, 200, "x", true, ""},
		{"head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head, 200, "", true, "Content-Length: 5"},
		{"head with a body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", head, 200, "", false, "Content-Length: 5"},
		{"not modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nEtag: x\r\n\r\n", nil, 304, "", true, "Etag: x"},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", nil, 204, "", true, ""},
		{"no content, with some", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nxx", nil, 204, "", false, ""},
		{"more than its length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n", nil, 200, "x", false, ""},
		{"interim", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", nil, 200, "x", true, ""},
		{"long head", "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("y", 40_000) + "\r\nContent-Length: 1\r\n\r\nx", nil, 200, "x", true, ""},
		{"long body", "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("0123456789", 20_000), nil, 200, strings.Repeat("0123456789", 20_000), true, ""},
		{"long chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n" + strings.Repeat("0123456789", 20_000) + "\r\n0\r\n\r\n", nil, 200, strings.Repeat("0123456789", 20_000), true, ""},
	} {
		for _, piece := range []int{0, 1, 7} {
			if piece > 0 && len(x.text) > 50_000 {
				piece = 1000 * piece
			}
			g := play(x.text, piece, x.change)
			if g.err != nil || g.status != x.status || g.body != x.body || g.kept != x.kept && (piece == 0 || x.kept) { // what comes later than the answer is seen at the next request
				t.Errorf("%s by %d: got %d, %d bytes, kept %v, %v", x.name, piece, g.status, len(g.body), g.kept, g.err)
			}
			if name, value, ok := strings.Cut(x.header, ": "); ok && g.header.Get(name) != value {
				t.Errorf("%s: got %v, want %s", x.name, g.header, x.header)
			}
			for _, name := range []string{"Connection", "Transfer-Encoding", "Keep-Alive", "X-Secret", "Link"} {
				if g.header.Get(name) != "" {
					t.Errorf("%s: %s was passed on: %v", x.name, name, g.header)
				}
			}
			if want := strings.Count(x.text, " 103 "); len(g.informs) != want {
				t.Errorf("%s: got interim answers %v, want %d", x.name, g.informs, want)
			}
		}
	}
}

func TestRefusedAnswers(t *testing.T) {
	for name, text := range map[string]string{
		"both":                  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":           "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"list of lengths":       "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
		"signed":                "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
		"negative":              "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
		"huge":                  "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\nhello",
		"other encoding":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"encoding of 1.0":       "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded":                "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
		"bare line feed":        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
		"bare line feeds":       "HTTP/1.1 200 OK\n\n",
		"bare carriage return":  "HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 0\r\n\r\n",
		"space before colon":    "HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 0\r\n\r\n",
		"no colon":              "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n",
		"nul":                   "HTTP/1.1 200 OK\r\nX-A: \x00\r\nContent-Length: 0\r\n\r\n",
		"version":               "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"status of two digits":  "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
		"status of four digits": "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
		"status out of range":   "HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
		"switch unasked":        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"interim with a body":   "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"too many interims":     strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"too many fields":       "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", 300) + "\r\n",
		"too long":              "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("b", 70_000) + "\r\n\r\n",
		"leading blank line":    "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",

		"chunk size":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
		"prefixed size":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
		"long chunk":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
		"chunk with a line feed":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
		"trailer of framing":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
		"size of many digits":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000000005\r\nhello\r\n0\r\n\r\n",
		"extensions without end":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("x", 9000) + "\r\nhello\r\n0\r\n\r\n",
		"trailers without end":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X-A: "+strings.Repeat("b", 1000)+"\r\n", 20) + "\r\n",
		"control in an extension": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;\x01\r\nhello\r\n0\r\n\r\n",
	} {
		for _, piece := range []int{0, 1} {
			if g := play(text, piece, nil); !errors.Is(g.err, ErrMalformed) || g.kept {
				t.Errorf("%s by %d: got %d %.40q, kept %v, %v; want it refused", name, piece, g.status, g.body, g.kept, g.err)
			}
		}
	}
	for name, text := range map[string]string{
		"cut head": "HTTP/1.1 200 OK\r\nConte", "cut body": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "nothing": "",
		"cut chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "no last chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		if g := play(text, 0, nil); !errors.Is(g.err, io.ErrUnexpectedEOF) || g.kept {
			t.Errorf("%s: got %d %q, kept %v, %v", name, g.status, g.body, g.kept, g.err)
		}
	}
}

func TestTrailers(t *testing.T) {
	g := play("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n", 1, nil)
	if want := (http.Header{"X-Sum": {"1"}, "X-Other": {"2"}}); g.err != nil || !maps.EqualFunc(g.trailer, want, slices.Equal) || !g.kept {
		t.Errorf("got %v, kept %v, %v", g.trailer, g.kept, g.err)
	}
}

// agree holds an answer that we take against what the standard library makes of it: it may refuse less, and must read the same.
func agree(t *testing.T, text string) {
	t.Helper()
	g := play(text, 0, nil)
	for _, piece := range []int{1, 3} {
		if h := play(text, piece, nil); fmt.Sprint(h.err) != fmt.Sprint(g.err) || h.status != g.status || h.body != g.body || !maps.EqualFunc(h.header, g.header, slices.Equal) {
			t.Fatalf("%q: by %d it is %d %q %v %v, and at once %d %q %v %v", text, piece, h.status, h.body, h.header, h.err, g.status, g.body, g.header, g.err)
		}
	}
	if g.err != nil {
		return
	}
	r := bufio.NewReaderSize(strings.NewReader(text), 128<<10)
	var resp *http.Response
	for {
		var err error
		if resp, err = http.ReadResponse(r, &http.Request{Method: "GET"}); err != nil {
			t.Fatalf("%q: we take it as %d, net/http says %v", text, g.status, err)
		}
		if resp.StatusCode >= 200 {
			break
		}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != g.body || resp.StatusCode != g.status {
		t.Fatalf("%q: we read %d %q, net/http %d %q, %v", text, g.status, g.body, resp.StatusCode, body, err)
	}
	for name, values := range g.header {
		if name != "Content-Length" && !slices.Equal(resp.Header[name], values) {
			t.Fatalf("%q: we read %s as %q, net/http as %q", text, name, values, resp.Header[name])
		}
	}
	for name := range resp.Header {
		if len(g.header[name]) == 0 && !slices.Contains([]string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade", "Proxy-Authenticate", "Proxy-Authorization", "Trailer", "Content-Length"}, name) && !strings.Contains(strings.ToLower(text), "connection:") {
			t.Fatalf("%q: we lost %s", text, name)
		}
	}
	if !maps.EqualFunc(g.trailer, resp.Trailer, slices.Equal) && len(g.trailer)+len(resp.Trailer) > 0 {
		for name, values := range g.trailer {
			if !slices.Equal(resp.Trailer[name], values) {
				t.Fatalf("%q: we read trailers %v, net/http %v", text, g.trailer, resp.Trailer)
			}
		}
	}
}

// seeds are the parts of which answers are made.
var seeds = [][]string{
	{"HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 204 No Content\r\n", "HTTP/1.1 304 Not Modified\r\n", "HTTP/1.1 200\r\n", "HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 500 \xe9\r\n", "HTTP/1.1  200 OK\r\n"},
	{"", "Content-Length: 5\r\n", "Content-Length: 05\r\n", "content-length:5 \r\n", "Transfer-Encoding: chunked\r\n", "TRANSFER-ENCODING:\tchunked\t\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: identity\r\n"},
	{"", "Set-Cookie: a=b\r\nset-cookie: c=d\r\n", "X-Empty:\r\n", "Connection: close, X-Empty\r\nX-Empty: 1\r\n", "Trailer: X-T\r\n", "X-Tab:\ta\tb\t\r\n", " X: y\r\n", "X\x80: y\r\n"},
	{"\r\n"},
	{"", "hello", "5\r\nhello\r\n0\r\n\r\n", "5;a=\"b\"\r\nhello\r\n00\r\nX-T: 1\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n", "0\r\n\r\n", "0\r\nX-T : 1\r\n\r\n"},
}

// TestAgreesWithNetHTTP tries every combination.
func TestAgreesWithNetHTTP(t *testing.T) {
	n := 0
	var build func(text string, parts [][]string)
	build = func(text string, parts [][]string) {
		if len(parts) == 0 {
			n++
			agree(t, text)
			return
		}
		for _, p := range parts[0] {
			build(text+p, parts[1:])
		}
	}
	build("", seeds)
	if n < 3000 {
		t.Errorf("tried only %d", n)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, a := range seeds[0] {
		for i := range seeds[4] {
			f.Add(a + seeds[1][i%len(seeds[1])] + seeds[2][i%len(seeds[2])] + "\r\n" + seeds[4][i])
		}
	}
	f.Fuzz(agree)
}

// FuzzRequest: what is written is read as that one request, or it is refused.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a?b", "a.test", "X-A", "b", "")
	f.Add("POST", "/", "a.test:80", "X-A", "b\r\nX-B: c", "hello")
	f.Add("GET", "/ HTTP/1.1\r\nX: y", "a", "A", "", "")
	f.Fuzz(func(t *testing.T, method, target, host, name, value, body string) {
		r := &Request{Method: method, Target: target, Host: host, Fields: []Field{{name, value}}, Data: []byte(body)}
		if r.check() != nil {
			return
		}
		b, err := r.appendHead(nil)
		if err != nil {
			return
		}
		in := bufio.NewReader(bytes.NewReader(append(append(b, body...), "rest"...)))
		req, err := http.ReadRequest(in)
		if err != nil {
			return // a name that is no token, or the like; it is one request all the same
		}
		if method == "CONNECT" || !isToken(name) || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Transfer-Encoding") || strings.EqualFold(name, "Host") {
			return
		}
		got, err := io.ReadAll(req.Body)
		rest, _ := io.ReadAll(in)
		if err != nil || string(got) != body || string(rest) != "rest" || req.Method != method || req.RequestURI != target {
			t.Fatalf("%q: read as %s %q with %q and %q behind it, %v", b, req.Method, req.RequestURI, got, rest, err)
		}
	})
}

func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}
