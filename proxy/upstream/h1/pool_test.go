package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// peer is a back end on a real socket. serve gets each connection, with its number.
func peer(t *testing.T, serve func(n int, c *net.TCPConn, r *bufio.Reader)) (*Pool, *Config) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(n, c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	conf := &Config{Dial: func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}}
	p := New(*conf)
	t.Cleanup(func() { p.CloseIdle(); l.Close(); all.Wait() })
	return p, conf
}

func get() *Request {
	return &Request{Method: "GET", Target: "/", Host: "a.test", Safe: true, Into: http.Header{}}
}

// finish reads an answer to its end and closes it.
func finish(resp *Response) (string, error) {
	defer resp.Body.Close()
	var b strings.Builder
	for {
		piece, err := resp.Body.Next()
		b.Write(piece)
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
	}
}

// ask is Do and finish.
func ask(t *testing.T, p *Pool, r *Request) (string, error) {
	t.Helper()
	resp, err := p.Do(t.Context(), r)
	if err != nil {
		return "", err
	}
	return finish(resp)
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			fmt.Fprintf(c, ok+"%d", n)
		}
	})
	for range 3 {
		if got, err := ask(t, p, get()); got != "1" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// A connection that the back end has closed meanwhile costs no request.
func TestStaleConnections(t *testing.T) {
	requests := atomic.Int64{}
	p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		for i := 0; ; i++ {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if requests.Add(1); n == 1 && i == 1 {
				return // having read the second request, it goes without a word
			}
			fmt.Fprintf(c, ok+"%d", n)
		}
	})
	if got, err := ask(t, p, get()); got != "1" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if got, err := ask(t, p, get()); got != "2" || err != nil {
		t.Errorf("a request that may be repeated: got %q, %v", got, err)
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("the back end saw %d requests, want 3", n)
	}
}

func TestWhatMayNotBeRepeated(t *testing.T) {
	p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		for i := 0; i < 2; i++ {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if n == 1 && i == 1 {
				return
			}
			fmt.Fprintf(c, ok+"%d", n)
		}
	})
	if got, err := ask(t, p, get()); got != "1" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	post := get()
	post.Method, post.Safe = "POST", false
	if got, err := ask(t, p, post); err == nil {
		t.Errorf("a request that changes something was sent twice: got %q", got)
	}
}

// What a back end says without having been asked must not become the answer to somebody's next request.
func TestUnaskedAnswersAreDropped(t *testing.T) {
	said := make(chan struct{}, 1)
	p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			fmt.Fprintf(c, ok+"%d", n)
			if n == 1 {
				<-said
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
				said <- struct{}{}
			}
		}
	})
	if got, err := ask(t, p, get()); got != "1" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	said <- struct{}{}
	<-said
	until(t, "the bytes to arrive", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return !p.idle[0].alive() })
	for range 2 {
		if got, err := ask(t, p, get()); got != "2" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	closed := make(chan struct{})
	_, conf := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		fmt.Fprint(c, ok+"x")
		io.Copy(io.Discard, r)
		close(closed)
	})
	conf.Idle = 20 * time.Millisecond
	p := New(*conf)
	if _, err := ask(t, p, get()); err != nil {
		t.Fatal(err)
	}
	<-closed
	until(t, "the pool to be empty", func() bool { return p.Idle() == 0 })
}

func TestTimeouts(t *testing.T) {
	_, conf := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.URL.Path == "/stall" {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
		}
		io.Copy(io.Discard, r)
	})
	conf.Answer, conf.Stall = 50*time.Millisecond, 50*time.Millisecond
	p := New(*conf)
	for _, path := range []string{"/never", "/stall"} {
		r := get()
		r.Target = path
		_, err := ask(t, p, r)
		if e, ok := errors.AsType[*Error](err); !ok || !e.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	conf.Dial = func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	conf.Connect = 20 * time.Millisecond
	_, err := ask(t, New(*conf), get())
	if e, ok := errors.AsType[*Error](err); !ok || !e.Timeout() || e.Op != opConnect || !Repeatable(get(), err) {
		t.Errorf("connect: got %v", err)
	}
}

// A client that leaves ends the request at the back end, whatever that is doing.
func TestCancel(t *testing.T) {
	for _, path := range []string{"/never", "/stall", "/body"} {
		began, ended := make(chan struct{}), make(chan struct{})
		p, _ := peer(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if req.URL.Path == "/stall" {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
			}
			close(began)
			io.Copy(io.Discard, r)
			close(ended)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-began; cancel() }()
		r := get()
		r.Target = path
		if path == "/body" {
			in, out := io.Pipe()
			r.Method, r.Body, r.Length, r.Stop = "POST", in, -1, func() { out.Close() }
		}
		resp, err := p.Do(ctx, r)
		if err == nil {
			_, err = finish(resp)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", path, err)
		}
		<-ended
		if p.Idle() != 0 {
			t.Errorf("%s: the connection was kept", path)
		}
	}
}
