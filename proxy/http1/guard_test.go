package http1

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/platformd/platformd/proxy/wire"
)

// feed is a connection that has only what was written to it, and keeps what is written.
type feed struct {
	net.Conn
	r   io.Reader
	out bytes.Buffer
}

func (f *feed) Read(p []byte) (int, error)  { return f.r.Read(p) }
func (f *feed) Write(p []byte) (int, error) { return f.out.Write(p) }
func (f *feed) Close() error                { return nil }
func (f *feed) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:1"))
}
func (f *feed) SetDeadline(time.Time) error      { return nil }
func (f *feed) SetReadDeadline(time.Time) error  { return nil }
func (f *feed) SetWriteDeadline(time.Time) error { return nil }

// seen is a request that has reached the handler.
type seen struct {
	method, target, host string
	header, trailer      http.Header
	length               int64
	body                 string
	err                  error
}

func (s seen) String() string {
	return fmt.Sprintf("%s %s %s %v %d %q %v %v", s.method, s.target, s.host, s.header, s.length, s.body, s.trailer, s.err)
}

// whole reports whether it was read to its end.
func (s seen) whole() bool { return s.err == nil }

// through is what the handler gets to see of s, in reads of any size, why the rest was refused, and what is answered.
func through(s string, oneByte bool) (all []seen, why, out string) {
	f := &feed{r: strings.NewReader(s)}
	if oneByte {
		f.r = iotest.OneByteReader(f.r)
	}
	server := New(Config{Header: time.Minute, Idle: time.Minute, Stall: time.Minute, MaxHead: 64 << 10,
		Refused: func(_ context.Context, reason string) { why = reason },
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			x := seen{method: r.Method, target: r.RequestURI, host: r.Host, header: r.Header, length: r.ContentLength}
			b, err := io.ReadAll(r.Body)
			x.body, x.err, x.trailer = string(b), err, r.Trailer
			all = append(all, x)
		})})
	server.Serve(context.Background(), f, nil)
	return all, why, f.out.String()
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n"

func TestGuardLetsThrough(t *testing.T) {
	for name, s := range map[string]struct {
		text string
		want int
	}{
		"get":                  {get + "\r\n", 1},
		"two requests":         {get + "\r\n" + get + "X: y\r\n\r\n", 2},
		"a body":               {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /" + get + "\r\n", 2},
		"an empty body":        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + get + "\r\n", 2},
		"chunks":               {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nGET /\r\n1F;a=\"b\"\r\n" + strings.Repeat("x", 31) + "\r\n0\r\n\r\n" + get + "\r\n", 2},
		"trailers":             {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\n\r\n" + get + "\r\n", 2},
		"the old version":      {"GET / HTTP/1.0\r\n\r\n", 1},
		"an absolute target":   {"GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n", 1},
		"a value with spaces":  {get + "X:  a b\t \r\nEmpty:\r\n\r\n", 1},
		"another protocol":     {get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello\n\n", 1},
		"a value beyond ASCII": {get + "X: \xc3\xa4\r\n\r\n", 1},
	} {
		for _, one := range []bool{false, true} {
			all, why, out := through(s.text, one)
			if why != "" || len(all) != s.want || slices.ContainsFunc(all, func(x seen) bool { return !x.whole() }) || strings.Count(out, " 200 OK") != s.want {
				t.Errorf("%s (one byte at a time: %v): got %v, %s, %q", name, one, all, why, out)
			}
		}
	}
}

func TestGuardRefuses(t *testing.T) {
	post := "POST / HTTP/1.1\r\nHost: a\r\n"
	for name, s := range map[string]string{
		"both lengths":             post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"both lengths, otherwise":  post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		"two lengths":              post + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
		"a list of lengths":        post + "Content-Length: 4, 4\r\n\r\nabcd",
		"a signed length":          post + "Content-Length: +4\r\n\r\nabcd",
		"a negative length":        post + "Content-Length: -4\r\n\r\n",
		"a hexadecimal length":     post + "Content-Length: 0x4\r\n\r\nabcd",
		"an empty length":          post + "Content-Length:\r\n\r\n",
		"a huge length":            post + "Content-Length: 99999999999999999999\r\n\r\n",
		"two encodings":            post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"another encoding":         post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"an unknown encoding":      post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"an encoding with a tail":  post + "Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
		"space before the colon":   post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"a tab before the colon":   post + "Content-Length\t: 4\r\n\r\nabcd",
		"a continued field":        post + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a continued first field":  "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
		"a bare line feed":         post + "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"bare line feeds":          "GET / HTTP/1.1\nHost: a\n\n",
		"a bare carriage return":   post + "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"an encoding in HTTP/1.0":  "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two hosts":                get + "Host: b\r\n\r\n",
		"a target of another host": "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"a tab in the first line":  "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"two spaces":               "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"another version":          "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
		"no version":               "GET /\r\n\r\n",
		"the old HTTP/2 preface":   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"an empty name":            get + ": x\r\n\r\n",
		"a name with a slash":      get + "A/B: x\r\n\r\n",
		"a zero byte":              get + "X: a\x00b\r\n\r\n",
		"a line feed before all":   "\r\n" + get + "\r\n",
		"an upgrade with a body":   get + "Upgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
		"too many fields":          get + strings.Repeat("X: y\r\n", maxFields) + "\r\n",
	} {
		for _, one := range []bool{false, true} {
			all, why, out := through(s, one)
			if why == "" || len(all) > 0 || !strings.HasPrefix(out, "HTTP/1.1 400 ") {
				t.Errorf("%s (one byte at a time: %v): got %v, %s, %q", name, one, all, why, out)
			}
		}
	}
}

func TestGuardRefusesBodies(t *testing.T) {
	head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, s := range map[string]string{
		"no size":                 "\r\nhello\r\n0\r\n\r\n",
		"a size that is none":     "xyz\r\nhello\r\n0\r\n\r\n",
		"a signed size":           "+5\r\nhello\r\n0\r\n\r\n",
		"a prefix":                "0x5\r\nhello\r\n0\r\n\r\n",
		"a huge size":             "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
		"space before the size":   " 5\r\nhello\r\n0\r\n\r\n",
		"space behind the size":   "5 \r\nhello\r\n0\r\n\r\n",
		"a bare line feed":        "5\nhello\r\n0\r\n\r\n",
		"a line feed in an extra": "5;a\nhello\r\n0\r\n\r\n",
		"a long chunk":            "5\r\nhello!\r\n0\r\n\r\n",
		"a short chunk":           "5\r\nhell\r\n0\r\n\r\n",
		"no end of a chunk":       "5\r\nhello0\r\n\r\n",
		"a length in a trailer":   "0\r\nContent-Length: 5\r\n\r\n",
		"a long extra":            "5;" + strings.Repeat("a", wire.MaxLine) + "\r\nhello\r\n0\r\n\r\n",
		"long trailers":           "0\r\n" + strings.Repeat("X: y\r\n", wire.MaxTrailers/6+1) + "\r\n",
	} {
		for _, one := range []bool{false, true} {
			if all, why, _ := through(head+s+get+"\r\n", one); why == "" || len(all) != 1 || all[0].whole() {
				t.Errorf("%s (one byte at a time: %v): got %v, %s", name, one, all, why)
			}
		}
	}
}

// agree: however the bytes arrive, the same requests are read, and net/http reads the same in what is taken.
func agree(t *testing.T, s string) {
	t.Helper()
	whole, why, _ := through(s, false)
	bytewise, whyToo, _ := through(s, true)
	for _, l := range []*[]seen{&whole, &bytewise} {
		if n := len(*l); n > 0 && !(*l)[n-1].whole() {
			*l = (*l)[:n-1]
		}
	}
	if why != whyToo || fmt.Sprint(whole) != fmt.Sprint(bytewise) {
		t.Fatalf("%q: got %v in one read, %s, and %v byte by byte, %s", s, whole, why, bytewise, whyToo)
	}
	r := bufio.NewReaderSize(strings.NewReader(s), 128<<10)
	for _, x := range whole {
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("%q: we take %v, net/http says %v", s, x, err)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil || string(body) != x.body || req.Method != x.method || req.RequestURI != x.target || req.Host != x.host || req.ContentLength != x.length ||
			!maps.EqualFunc(req.Header, x.header, slices.Equal) || !maps.EqualFunc(req.Trailer, x.trailer, slices.Equal) {
			t.Fatalf("%q: we read %v, net/http %v with %q, %v", s, x, req, body, err)
		}
	}
}

// seeds are the parts of which requests are made.
var seeds = [][]string{
	{"GET / HTTP/1.1\r\n", "POST /a%20b?c=d HTTP/1.1\r\n", "HEAD http://a/x HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "POST /x? HTTP/1.0\r\n", "GET //a/../b?? HTTP/1.1\r\n", "GET http://b/ HTTP/1.1\r\n", "get  / HTTP/1.1\r\n"},
	{"Host: a\r\n", "host:A \r\n", "", "Host: a\r\nHost: a\r\n"},
	{"", "Content-Length: 5\r\n", "content-length:05 \r\n", "Transfer-Encoding: chunked\r\n", "TRANSFER-ENCODING:\tChunked\t\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: identity\r\n"},
	{"", "Cookie: a=b\r\ncookie: c=d\r\nPragma: no-cache\r\n", "X-Empty:\r\nX\x80: y\r\n", "Connection: close\r\n", "Connection: keep-alive\r\n", "Trailer: X-T, Y\r\nExpect: 100-continue\r\n", "X-Tab:\ta\tb\t\r\n"},
	{"\r\n"},
	{"", "hello", "5\r\nhello\r\n0\r\n\r\n", "5;a=\"b\"\r\nhello\r\n3\r\nabc\r\n00\r\nX-T: 1\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "0\r\nX-T : 1\r\n\r\n"},
	{"", get + "\r\n"},
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
	if n < 10_000 {
		t.Errorf("tried only %d", n)
	}
}

func FuzzGuard(f *testing.F) {
	f.Add(get + "\r\n" + get + "Content-Length: 3\r\n\r\nabc" + get + "\r\n")
	f.Add("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" + get + "\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
	f.Fuzz(agree)
}
