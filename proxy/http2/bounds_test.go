package http2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is a client that says what it wants.
type raw struct {
	net.Conn
	*http2.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	next uint32
}

func dial(t *testing.T, addr string, settings ...http2.Setting) *raw {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := &raw{Conn: c, Framer: http2.NewFramer(c, c), next: 1}
	r.enc = hpack.NewEncoder(&r.buf)
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err = io.WriteString(c, http2.ClientPreface)
	if err = errors.Join(err, r.WriteSettings(settings...)); err != nil {
		t.Fatal(err)
	}
	return r
}

// ask opens a stream.
func (r *raw) ask(path string, last bool) (uint32, error) {
	r.buf.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", path}} {
		_ = r.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	id := r.next
	r.next += 2
	return id, r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.buf.Bytes(), EndStream: last, EndHeaders: true})
}

// until reads frames until one is as wanted.
func (r *raw) until(t *testing.T, what string, want func(http2.Frame) bool) {
	t.Helper()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			t.Fatalf("before %s: %v", what, err)
		}
		if want(f) {
			return
		}
	}
}

// goneWith is for a GOAWAY with a code.
func goneWith(code http2.ErrCode) func(http2.Frame) bool {
	return func(f http2.Frame) bool {
		g, ok := f.(*http2.GoAwayFrame)
		return ok && g.ErrCode == code
	}
}

// TestResetsGainNothing: who resets what it has asked for has no more handlers at work than who does not, and is sent away.
func TestResetsGainNothing(t *testing.T) {
	var running, most atomic.Int64
	release := make(chan struct{})
	_, addr := start(t, Config{Streams: 20, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		running.Add(-1)
	})})
	defer close(release)
	r := dial(t, addr)
	go func() {
		for range 20 + 2*maxRefused {
			id, err := r.ask("/", true)
			if err != nil || r.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	r.until(t, "it is sent away", goneWith(http2.ErrCodeEnhanceYourCalm))
	if n := most.Load(); n != 20 {
		t.Errorf("%d handlers were at work", n)
	}
}

// TestClientLeaves: a reset, or the end of the connection, is told to whoever waits for it.
func TestClientLeaves(t *testing.T) {
	began, left := make(chan struct{}), make(chan error)
	_, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		_, err := r.Body.Read(make([]byte, 1))
		<-r.Context().Done()
		left <- err
	})})
	for _, leave := range []func(r *raw, id uint32){func(r *raw, id uint32) { _ = r.WriteRSTStream(id, http2.ErrCodeCancel) }, func(r *raw, _ uint32) { r.Close() }} {
		r := dial(t, addr)
		id, err := r.ask("/", false)
		if err != nil {
			t.Fatal(err)
		}
		<-began
		leave(r, id)
		if err := <-left; err == nil || err == io.EOF {
			t.Errorf("the body ends with %v", err)
		}
	}
}

// TestStalls: a client that opens no window for an answer is given up, and its connection serves others.
func TestStalls(t *testing.T) {
	ended := make(chan error, 1)
	_, addr := start(t, Config{Stall: 200 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			_, err := w.Write(make([]byte, 10_000))
			ended <- err
		}
	})})
	r := dial(t, addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	id, err := r.ask("/large", true)
	if err != nil {
		t.Fatal(err)
	}
	r.until(t, "it is reset", func(f http2.Frame) bool {
		x, ok := f.(*http2.RSTStreamFrame)
		return ok && x.StreamID == id
	})
	if err := <-ended; err == nil {
		t.Error("the handler was not told")
	}
	if id, err = r.ask("/", true); err != nil {
		t.Fatal(err)
	}
	r.until(t, "the next is answered", func(f http2.Frame) bool {
		x, ok := f.(*http2.MetaHeadersFrame)
		return ok && x.StreamID == id && x.PseudoValue("status") == "200"
	})
}

// TestBounds: what is too long, or takes too long, ends.
func TestBounds(t *testing.T) {
	_, addr := start(t, Config{Header: 300 * time.Millisecond, Idle: 300 * time.Millisecond, MaxHead: 10_000, Handler: http.NotFoundHandler()})
	silent, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_ = silent.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, silent); err != nil {
		t.Errorf("who says nothing: %v", err)
	}
	dial(t, addr).until(t, "who asks nothing is sent away", goneWith(http2.ErrCodeNo))
	part := dial(t, addr)
	io.WriteString(part, "\x00\x00\x08\x06")
	for err = nil; err == nil; {
		_, err = part.ReadFrame()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("part of a frame: %v", err)
	}
	long := dial(t, addr)
	if _, err := long.ask("/"+strings.Repeat("x", 9_900), true); err != nil {
		t.Fatal(err)
	}
	long.until(t, "a long head is answered", func(f http2.Frame) bool {
		x, ok := f.(*http2.MetaHeadersFrame)
		return ok && x.PseudoValue("status") == "431"
	})
}

// only shows the one connection that a server has, if it has one.
func only(s *Server, show func(*conn)) {
	s.Each(func(c *conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		show(c)
	})
}

// TestRests: a connection without a request holds nothing, and answers all the same.
func TestRests(t *testing.T) {
	s, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })})
	c := client(t)
	for i := range 3 {
		resp, err := c.Get(fmt.Sprintf("http://%s/%d", addr, i))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != fmt.Sprint("/", i) {
			t.Fatalf("got %q, %v", b, err)
		}
		eventually(t, "it rests", func() bool {
			resting := false
			only(s, func(c *conn) { resting = c.resting })
			return resting
		})
	}
}

// TestShutdown: requests that have begun are answered, and no others.
func TestShutdown(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	s, addr := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-goOn
	})})
	idle, busy := dial(t, addr), dial(t, addr)
	id, err := busy.ask("/", true)
	if err != nil {
		t.Fatal(err)
	}
	<-began
	eventually(t, "both are there", func() bool { n := 0; s.Each(func(*conn) { n++ }); return n == 2 })
	done := make(chan error)
	go func() { done <- s.Shutdown(t.Context()) }()
	idle.until(t, "it is sent away", goneWith(http2.ErrCodeNo))
	busy.until(t, "it is told", goneWith(http2.ErrCodeNo))
	if _, err := busy.ask("/late", true); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	busy.until(t, "it is answered", func(f http2.Frame) bool {
		x, ok := f.(*http2.MetaHeadersFrame)
		return ok && x.StreamID == id
	})
	idle.Close()
	if _, err := io.Copy(io.Discard, busy); err != nil {
		t.Error(err)
	}
	busy.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzFrames: whatever comes, the connection ends, and nothing is left at work.
func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x82\x87\x84\x41\x01a"), EndHeaders: true})
	_ = fr.WriteData(1, false, []byte("hello"))
	_ = fr.WriteWindowUpdate(0, 100)
	_ = fr.WritePing(false, [8]byte{})
	_ = fr.WriteRSTStream(1, http2.ErrCodeCancel)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte("\x82\x87\x84\x41\x01a"), EndHeaders: true, EndStream: true})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(Config{Header: time.Minute, Idle: time.Minute, Stall: time.Minute, MaxHead: 4096, Streams: 5, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
			_, _ = w.Write(make([]byte, 20))
		})})
		theirs, ours := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		go func() {
			_, _ = io.WriteString(theirs, http2.ClientPreface)
			_, _ = theirs.Write(b)
			theirs.Close()
		}()
		s.Serve(context.Background(), ours, nil)
		eventually(t, "nothing is left", func() bool {
			n := 0
			s.Each(func(*conn) { n++ })
			return n == 0
		})
	})
}
