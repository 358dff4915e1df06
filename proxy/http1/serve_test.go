package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
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

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// answer reads one, and gives its status and body.
func answer(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(resp.StatusCode, " ", string(b))
}

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	fmt.Fprint(w, r.URL.Path, " ", string(b))
	if err != nil {
		fmt.Fprint(w, err)
	}
})

// TestPipelines: requests that come at once are answered one after the other.
func TestPipelines(t *testing.T) {
	_, addr := start(t, Config{Handler: echo})
	c := dial(t, addr)
	text := ""
	for i := range 100 {
		switch i % 3 {
		case 0:
			text += fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		case 1:
			text += fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", i)
		case 2:
			text += fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nX: %s\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", i, strings.Repeat("x", 200*i))
		}
	}
	go io.WriteString(c, text)
	r := bufio.NewReader(c)
	for i := range 100 {
		want := fmt.Sprintf("200 /%d ", i)
		if i%3 > 0 {
			want += "abc"
		}
		if got := answer(t, r); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// TestBounds: what is too long, or takes too long, ends.
func TestBounds(t *testing.T) {
	_, addr := start(t, Config{Handler: echo, Header: 300 * time.Millisecond, Idle: 300 * time.Millisecond, MaxHead: 10_000})
	for name, x := range map[string]struct{ send, want string }{
		"nothing":         {"", ""},
		"part of a head":  {"GET / HTTP/1.1\r\nHost: a\r\n", ""},
		"then nothing":    {get + "\r\n", "HTTP/1.1 200 OK"},
		"then part":       {get + "\r\nGET", "HTTP/1.1 200 OK"},
		"a long head":     {get + "X: " + strings.Repeat("y", 20_000), "HTTP/1.1 431 "},
		"a long line":     {"GET /" + strings.Repeat("y", 20_000), "HTTP/1.1 431 "},
		"expects another": {get + "Expect: 200-ok\r\n\r\n" + get + "\r\n", "HTTP/1.1 417 "},
	} {
		c := dial(t, addr)
		if _, err := io.WriteString(c, x.send); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(b), x.want) || strings.Count(string(b), "HTTP/1.1 ") != strings.Count(x.want, "HTTP/1.1 ") {
			t.Errorf("%s: got %q, %v, want %q", name, b, err, x.want)
		}
	}
}

// TestClientLeaves: whoever waits for a client that has left is told.
func TestClientLeaves(t *testing.T) {
	began, left := make(chan struct{}), make(chan error, 3)
	_, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called := make(chan struct{})
		context.AfterFunc(r.Context(), func() { close(called) })
		own, cancel := context.WithTimeout(r.Context(), time.Hour)
		defer cancel()
		close(began)
		<-own.Done()
		<-called
		left <- r.Context().Err()
	})})
	c := dial(t, addr)
	io.WriteString(c, get+"\r\n")
	<-began
	c.Close()
	select {
	case err := <-left:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody was told")
	}
}

// TestSlowAnswer: while an answer takes long, the next request may come, and is not lost.
func TestSlowAnswer(t *testing.T) {
	goOn := make(chan struct{})
	s, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-goOn
		}
		fmt.Fprint(w, r.URL.Path, r.Context().Err())
	})})
	c := dial(t, addr)
	io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	var watched chan struct{}
	eventually(t, "it is watched", func() bool {
		only(s, func(c *conn) { watched = c.watched })
		return watched != nil
	})
	io.WriteString(c, "GET /ne")
	<-watched
	io.WriteString(c, "xt HTTP/1.1\r\nHost: a\r\n\r\n")
	close(goOn)
	r := bufio.NewReader(c)
	for _, want := range []string{"200 /slow<nil>", "200 /next<nil>"} {
		if got := answer(t, r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// only shows the one connection that a server has, if it has one.
func only(s *Server, show func(*conn)) {
	s.Each(func(c *conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		show(c)
	})
}

// count is how many connections a server has.
func count(s *Server) (n int) {
	s.Each(func(*conn) { n++ })
	return n
}

// TestContextEnds: with the answer the context is over.
func TestContextEnds(t *testing.T) {
	contexts := make(chan context.Context, 1)
	_, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { contexts <- r.Context() })})
	c := dial(t, addr)
	io.WriteString(c, get+"\r\n")
	ctx := <-contexts
	<-ctx.Done()
	stop := context.AfterFunc(ctx, func() {})
	if ctx.Err() == nil || stop() {
		t.Error("it goes on")
	}
}

// TestRests: a connection without a request holds nothing, and answers all the same.
func TestRests(t *testing.T) {
	s, addr := start(t, Config{Handler: echo})
	c := dial(t, addr)
	r := bufio.NewReader(c)
	for i := range 3 {
		io.WriteString(c, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := answer(t, r); got != "200 /x " {
			t.Fatalf("request %d: got %q", i, got)
		}
		eventually(t, "it rests", func() bool {
			resting := false
			only(s, func(c *conn) { resting = c.resting && c.in == nil && c.out == nil && c.header == nil })
			return resting
		})
	}
}

// TestShutdown: requests that have begun are answered, and connections without one are closed.
func TestShutdown(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	s, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-goOn
		}
	})})
	idle, fresh, busy := dial(t, addr), dial(t, addr), dial(t, addr)
	r := bufio.NewReader(idle)
	io.WriteString(idle, get+"\r\n")
	answer(t, r)
	io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-began
	eventually(t, "all are there", func() bool { return count(s) == 3 })
	done := make(chan error)
	go func() { done <- s.Shutdown(t.Context()) }()
	for _, c := range []net.Conn{idle, fresh} {
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("got %d bytes, %v", n, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a request under way: got %v", err)
	}
	close(goOn)
	if b, err := io.ReadAll(busy); err != nil || !strings.Contains(string(b), "200 OK") || !strings.Contains(string(b), "Connection: close") {
		t.Errorf("got %q, %v", b, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, err := dial(t, addr).Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("a new connection: got %d bytes, %v", n, err)
	}
}

// TestHijack: another protocol gets what has come already, and the connection is not ours any more.
func TestHijack(t *testing.T) {
	s, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("got %v", err)
		}
		go func() {
			defer c.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\n")
			l, _ := rw.ReadString('\n')
			rw.WriteString("got " + l)
			rw.Flush()
		}()
	})})
	for _, first := range []string{"hel", ""} {
		c := dial(t, addr)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n"+first)
		eventually(t, "the server forgets it", func() bool { return count(s) == 0 })
		io.WriteString(c, "lo\n")
		if b, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(b), "got "+first+"lo\n") {
			t.Errorf("got %q, %v", b, err)
		}
	}
}
