package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// feed is a connection that has only what was written to it.
type feed struct {
	net.Conn
	r io.Reader
}

func (f feed) Read(p []byte) (int, error) { return f.r.Read(p) }

// through is what the HTTP server gets to see of s, in reads of any size.
func through(s string, oneByte bool) (string, string) {
	var r io.Reader = strings.NewReader(s)
	if oneByte {
		r = iotest.OneByteReader(r)
	}
	why := ""
	c := &guardConn{Conn: feed{r: r}, refused: func(reason string) { why = reason }}
	got, err := io.ReadAll(c)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		why += " (in a body)"
	}
	return string(got), why
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n"

func TestGuardLetsThrough(t *testing.T) {
	for name, s := range map[string]string{
		"get":                  get + "\r\n",
		"two requests":         get + "\r\n" + get + "X: y\r\n\r\n",
		"a body":               "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /" + get + "\r\n",
		"an empty body":        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + get + "\r\n",
		"chunks":               "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nGET /\r\n1F;a=\"b\"\r\n" + strings.Repeat("x", 31) + "\r\n0\r\n\r\n" + get + "\r\n",
		"trailers":             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: y\r\n\r\n" + get + "\r\n",
		"the old version":      "GET / HTTP/1.0\r\n\r\n",
		"an absolute target":   "GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n",
		"a value with spaces":  get + "X:  a b\t \r\nEmpty:\r\n\r\n",
		"another protocol":     get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello\n\n",
		"a value beyond ASCII": get + "X: \xc3\xa4\r\n\r\n",
	} {
		for _, one := range []bool{false, true} {
			if got, why := through(s, one); got != s || why != "" {
				t.Errorf("%s (one byte at a time: %v): got %q, %s", name, one, got, why)
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
			got, why := through(s, one)
			if why == "" {
				t.Errorf("%s (one byte at a time: %v): went through", name, one)
				continue
			}
			// The server must see one bad request and nothing else.
			if r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(got))); err == nil {
				t.Errorf("%s (one byte at a time: %v): the server reads a request for %s in %q", name, one, r.URL, got)
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
		"a long extra":            "5;" + strings.Repeat("a", maxLine) + "\r\nhello\r\n0\r\n\r\n",
		"long trailers":           "0\r\n" + strings.Repeat("X: y\r\n", maxTrailers/6+1) + "\r\n",
	} {
		for _, one := range []bool{false, true} {
			if got, why := through(head+s+get+"\r\n", one); !strings.Contains(why, "in a body") || strings.Contains(got, "GET") {
				t.Errorf("%s (one byte at a time: %v): got %q, %s", name, one, got, why)
			}
		}
	}
}

// FuzzGuard: however the bytes arrive, the guard and net/http agree on how many requests there are and what they hold.
func FuzzGuard(f *testing.F) {
	f.Add(get + "\r\n" + get + "Content-Length: 3\r\n\r\nabc" + get + "\r\n")
	f.Add("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" + get + "\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		whole, why := through(s, false)
		bytewise, whyToo := through(s, true)
		if why != whyToo {
			t.Fatalf("%q: refused for %q in one read, for %q byte by byte", s, why, whyToo)
		}
		if why == "" && whole != bytewise {
			t.Fatalf("%q: got %q in one read, %q byte by byte", s, whole, bytewise)
		}
		if why == "" && whole != s {
			t.Fatalf("%q: became %q", s, whole)
		}
	})
}
