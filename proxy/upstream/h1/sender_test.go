package h1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// echo answers with what it got.
func echo(n int, c *net.TCPConn, r *bufio.Reader) {
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		text := fmt.Sprintf("%s %v %d %d %v", req.Method, req.TransferEncoding, req.ContentLength, len(body), req.Trailer)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Conn: %d\r\n\r\n%s", len(text), n, text)
	}
}

func TestBodies(t *testing.T) {
	p, _ := peer(t, echo)
	long := strings.Repeat("0123456789", 30_000)
	for _, x := range []struct {
		name string
		set  func(*Request)
		want string
	}{
		{"none", func(*Request) {}, "POST [] 0 0 map[]"},
		{"small", func(r *Request) { r.Data = []byte("hello") }, "POST [] 5 5 map[]"},
		{"large", func(r *Request) { r.Data = []byte(long) }, "POST [] 300000 300000 map[]"},
		{"sized", func(r *Request) { r.Body, r.Length = strings.NewReader(long), int64(len(long)) }, "POST [] 300000 300000 map[]"},
		{"chunked", func(r *Request) { r.Body, r.Length = strings.NewReader(long), -1 }, "POST [chunked] -1 300000 map[]"},
		{"empty chunked", func(r *Request) { r.Body, r.Length = strings.NewReader(""), -1 }, "POST [chunked] -1 0 map[]"},
		{"trailers", func(r *Request) {
			r.Body, r.Length, r.Announced = strings.NewReader("hi"), -1, []string{"X-Sum"}
			r.Trailer = func() http.Header {
				return http.Header{"X-Sum": {"1"}, "Content-Length": {"7"}, "X-Bad": {"a\r\nb: c"}}
			}
		}, "POST [chunked] -1 2 map[X-Sum:[1]]"},
		{"expect", func(r *Request) { r.Body, r.Length, r.Expect = strings.NewReader("hi"), 2, true }, "POST [] 2 2 map[]"},
	} {
		r := get()
		r.Method, r.Safe = "POST", false
		x.set(r)
		if got, err := ask(t, p, r); got != x.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", x.name, got, err, x.want)
		}
		if got := r.Into.Get("X-Conn"); got != "1" {
			t.Errorf("%s: went by connection %s, want that of all", x.name, got)
		}
	}
}

// An answer may come before the request has been sent, and the rest of that is not waited for.
func TestEarlyAnswer(t *testing.T) {
	p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
		io.Copy(io.Discard, r)
	})
	in, out := io.Pipe()
	stopped := false
	r := get()
	r.Method, r.Safe, r.Body, r.Length = "POST", false, in, 1<<20
	r.Stop = func() { stopped = true; out.CloseWithError(errors.New("stopped")) }
	resp, err := p.Do(t.Context(), r)
	if err != nil || resp.Status != 413 || !resp.Early {
		t.Fatalf("got %+v, %v", resp, err)
	}
	if got, err := finish(resp); got != "no" || err != nil || !stopped || p.Idle() != 0 {
		t.Errorf("got %q, %v, stopped %v, %d connections kept", got, err, stopped, p.Idle())
	}
}

// Both sides may talk at once.
func TestBothWays(t *testing.T) {
	p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		b := make([]byte, 100)
		for {
			n, err := req.Body.Read(b)
			if n > 0 {
				fmt.Fprintf(c, "%x\r\n%s\r\n", n, b[:n])
			}
			if err != nil {
				break
			}
		}
		fmt.Fprint(c, "0\r\n\r\n")
	})
	in, out := io.Pipe()
	r := get()
	r.Method, r.Safe, r.Body, r.Length = "POST", false, in, -1
	resp, err := p.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two", "three"} {
		if _, err := io.WriteString(out, word); err != nil {
			t.Fatal(err)
		}
		if got, err := resp.Body.Next(); string(got) != word || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, word)
		}
		if resp.Body.Ready() {
			t.Error("is ready without anything to read")
		}
	}
	out.Close()
	if got, err := finish(resp); got != "" || err != nil || p.Idle() != 1 {
		t.Errorf("got %q, %v, %d connections kept", got, err, p.Idle())
	}
}

func TestExpect(t *testing.T) {
	p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Header.Get("Expect") != "100-continue" || r.Buffered() > 0 {
			t.Errorf("got %v with %d bytes behind it", req.Header, r.Buffered())
		}
		if req.URL.Path == "/no" {
			fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			io.Copy(io.Discard, r)
			return
		}
		fmt.Fprint(c, "HTTP/1.1 100 Continue\r\n\r\n")
		b, _ := io.ReadAll(req.Body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(b), b)
	})
	r := get()
	r.Method, r.Body, r.Length, r.Expect = "POST", strings.NewReader("hello"), 5, true
	if got, err := ask(t, p, r); got != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	body := strings.NewReader("hello")
	r = get()
	r.Method, r.Target, r.Body, r.Length, r.Expect = "POST", "/no", body, 5, true
	resp, err := p.Do(t.Context(), r)
	if err != nil || resp.Status != 403 {
		t.Fatalf("got %v, %v", resp, err)
	}
	resp.Body.Close()
	if body.Len() != 5 || p.Idle() != 0 {
		t.Errorf("%d bytes of a body were sent that nobody asked for, %d connections kept", 5-body.Len(), p.Idle())
	}
}

// A body that ends too early or in an error is not passed on as a whole one.
func TestBrokenBody(t *testing.T) {
	for _, length := range []int64{-1, 10} {
		seen := make(chan error, 1)
		p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
			req, err := http.ReadRequest(r)
			if err == nil {
				_, err = io.ReadAll(req.Body)
			}
			seen <- err
		})
		r := get()
		broken := errors.New("broken")
		r.Method, r.Length, r.Body = "POST", length, io.MultiReader(strings.NewReader("hello"), errorReader{broken})
		_, err := p.Do(t.Context(), r)
		if e, ok := errors.AsType[*BodyError](err); !ok || !errors.Is(e, broken) {
			t.Errorf("%d: got %v", length, err)
		}
		if err := <-seen; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d: the back end got %v", length, err)
		}
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestSwitch(t *testing.T) {
	p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Connection") != "Upgrade" {
			t.Errorf("got %v, %v", req, err)
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-Websocket-Accept: x\r\n\r\nfirst")
		b, _ := io.ReadAll(r)
		fmt.Fprintf(c, "got %s", b)
	})
	r := get()
	r.Upgrade = "websocket"
	resp, err := p.Do(t.Context(), r)
	if err != nil || resp.Status != 101 || r.Into.Get("Sec-Websocket-Accept") != "x" || r.Into.Get("Connection") != "Upgrade" {
		t.Fatalf("got %v, %v, %v", resp, r.Into, err)
	}
	c, first := resp.Body.Tunnel()
	defer c.Close()
	if string(first) != "first" {
		t.Errorf("got %q first", first)
	}
	fmt.Fprint(c, "hello")
	c.(interface{ CloseWrite() error }).CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "got hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBadRequests(t *testing.T) {
	p, _ := peer(t, echo)
	for name, set := range map[string]func(*Request){
		"space in the target":  func(r *Request) { r.Target = "/ HTTP/1.1" },
		"line in the target":   func(r *Request) { r.Target = "/\r\nX: y" },
		"no target":            func(r *Request) { r.Target = "" },
		"method":               func(r *Request) { r.Method = "GET /" },
		"host":                 func(r *Request) { r.Host = "a\r\nb" },
		"value with a line":    func(r *Request) { r.Fields = []Field{{"X-A", "b\r\nX-B: c"}} },
		"value with line feed": func(r *Request) { r.Fields = []Field{{"X-A", "b\nX-B: c"}} },
		"name with a line":     func(r *Request) { r.Fields = []Field{{"X-A\r\nX-B", "c"}} },
		"nul":                  func(r *Request) { r.Fields = []Field{{"X-A", "\x00"}} },
	} {
		r := get()
		set(r)
		if got, err := ask(t, p, r); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
