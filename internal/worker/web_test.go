package worker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/proxy"
)

// webSite is what a daemon has: listening sockets, and a certificate.
type webSite struct {
	*testing.T
	cfg     WebConfig
	sockets []WebSocket
	pool    *x509.CertPool
	asked   atomic.Int64 // certificates
	logs    atomic.Int64 // lines
}

func newWebSite(t *testing.T) *webSite {
	t.Helper()
	s := &webSite{T: t, pool: x509.NewCertPool()}
	pair := s.selfSigned("a.test")
	work := filepath.Join(t.TempDir(), "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(work, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	s.cfg = WebConfig{UID: nobody, GID: nobody, RunDir: filepath.Join(t.TempDir(), "run"), WorkDir: work, Version: "one", Args: []string{"platformd", "worker"}, Log: slog.New(slog.DiscardHandler),
		Certificate: func(_ context.Context, name string) (WebPair, error) {
			s.asked.Add(1)
			if name != "a.test" {
				return WebPair{}, errors.New("there is none")
			}
			return pair, nil
		},
		Logs: func(b []byte) { s.logs.Add(int64(strings.Count(string(b), "\n"))) },
	}
	for _, kind := range []string{"http", "https"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(int(f.Fd()), true); err != nil {
			t.Fatal(err)
		}
		s.sockets = append(s.sockets, WebSocket{kind, l.Addr().String(), f})
		l.Close()
	}
	t.Cleanup(func() {
		// Whatever a test left running: they have no other end.
		for _, p := range AdoptWeb(context.Background(), s.cfg) {
			closeSockets(p.Sockets)
			p.Drain(context.Background(), WebDrain{})
			<-p.Gone()
		}
		closeSockets(s.sockets)
	})
	return s
}

func (s *webSite) selfSigned(name string) WebPair {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		s.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		s.Fatal(err)
	}
	s.pool.AddCert(leaf)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.Fatal(err)
	}
	return WebPair{For: name, Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})}
}

// start runs a worker that serves a back end.
func (s *webSite) start(backend string, exempt ...string) *WebProcess {
	s.Helper()
	p, err := StartWeb(s.Context(), s.cfg, s.sockets)
	if err != nil {
		s.Fatal(err)
	}
	if err := p.Configure(s.Context(), proxy.Config{Exempt: exempt, Routes: []proxy.Route{{Host: "a.test", Backend: backend}}}); err != nil {
		s.Fatal(err)
	}
	return p
}

func (s *webSite) client(http2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, s.sockets[1].Addr)
		}}
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetHTTP2(http2)
	s.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func say(c *http.Client) (string, error) {
	resp, err := c.Get("https://a.test/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return string(b), err
}

func backend(t *testing.T) *httptest.Server {
	t.Helper()
	b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	t.Cleanup(b.Close)
	return b
}

func TestWebServesWithoutPrivileges(t *testing.T) {
	s := newWebSite(t)
	p := s.start(backend(t).URL)
	for _, h2 := range []bool{false, true} {
		if got, err := say(s.client(h2)); got != "hello" || err != nil {
			t.Errorf("HTTP/2 %v: got %q, %v", h2, got, err)
		}
	}
	st, err := p.Status(t.Context())
	if err != nil || !st.Serving || st.Stats.Requests != 2 || !onlyKernel(st.Weak) {
		t.Errorf("got %+v, %v", st, err)
	}
	// What the kernel says of the process.
	status := s.process()
	for _, want := range []string{"\nUid:\t65534\t65534\t65534\t65534\n", "\nGid:\t65534\t65534\t65534\t65534\n", "\nGroups:\t \n", "\nCapEff:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("the process has no %q in\n%s", want, status)
		}
	}
	if s.asked.Load() != 1 {
		t.Errorf("the certificate was asked for %d times", s.asked.Load())
	}
	// A file that root may read, and a back end that is none: both are told, and nothing changes.
	err = p.Configure(t.Context(), proxy.Config{Routes: []proxy.Route{{Host: "a.test", Backend: "ftp://x"}}})
	if err == nil || !strings.Contains(err.Error(), "routes[0].backend") {
		t.Errorf("got %v", err)
	}
	if got, err := say(s.client(false)); got != "hello" {
		t.Errorf("after a bad configuration: got %q, %v", got, err)
	}
	s.until("three requests are logged", func() bool { return s.logs.Load() == 3 })
}

// until waits for a condition, for at most a minute.
func (s *webSite) until(what string, ok func() bool) {
	s.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			s.Fatalf("waited in vain until %s", what)
		}
	}
}

// process is /proc/PID/status of the newest worker of this test.
func (s *webSite) process() string {
	s.Helper()
	return string(must(os.ReadFile(filepath.Join("/proc", s.pid(), "status"))))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// pid finds the worker by its command line, which names its folder.
func (s *webSite) pid() string {
	s.Helper()
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), s.cfg.WorkDir) {
			return filepath.Base(filepath.Dir(path))
		}
	}
	s.Fatal("there is no such process")
	return ""
}

func TestWebOutlivesTheDaemon(t *testing.T) {
	s := newWebSite(t)
	p := s.start(backend(t).URL)
	p.link.Run(canceled()) // the daemon is gone: nothing reads any more
	<-p.Gone()
	c := s.client(false)
	if got, err := say(c); got != "hello" {
		t.Fatalf("without a daemon: got %q, %v", got, err)
	}
	found := AdoptWeb(t.Context(), s.cfg)
	if len(found) != 1 || found[0].Version != "one" || len(found[0].Sockets) != 2 || found[0].Sockets[1].Addr != s.sockets[1].Addr {
		t.Fatalf("adopted %+v", found)
	}
	closeSockets(found[0].Sockets)
	if err := found[0].Configure(t.Context(), proxy.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := say(c); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("after the next daemon took the route away: %v", err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestWebTakesOverUnderLoad: one worker after the other takes the same sockets, and no request fails; when one is killed,
// only what was under way does.
func TestWebTakesOverUnderLoad(t *testing.T) {
	s := newWebSite(t)
	b := backend(t)
	var clients []func() error
	for i := range 8 {
		c := s.client(i%2 == 1)
		clients = append(clients, func() error { _, err := say(c); return err })
	}
	s.takeOver(func() *WebProcess { return s.start(b.URL, loopback) }, clients, 2000)
}

// manyRequests is what a take-over is held to with PLATFORMD_LONG in the environment, as "make test-long" sets it.
const manyRequests = 100_000

// loopback is exempt from limits where clients send as fast as they can.
const loopback = "127.0.0.0/8"

// takeOver has workers take over from each other while clients go on: three times in order, of which no request may fail, and
// once from a worker that is killed, of which only those under way may. step is how many requests lie between; where there is
// time for it, they are manyRequests in all, and nine take-overs.
func (s *webSite) takeOver(start func() *WebProcess, clients []func() error, step int64) {
	s.Helper()
	old := start()
	var done, failed atomic.Int64
	var firstErr atomic.Pointer[error]
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for _, ask := range clients {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := ask(); err != nil {
					failed.Add(1)
					firstErr.CompareAndSwap(nil, &err)
				}
				done.Add(1)
			}
		})
	}
	wait := func() {
		for end := done.Load() + step; done.Load() < end; {
			to := min(end, done.Load()+1000)
			s.until("the load has gone on", func() bool { return done.Load() >= to })
		}
	}
	times := 3
	if os.Getenv("PLATFORMD_LONG") != "" {
		times = 9
		step = manyRequests / int64(times+1)
	}
	for range times {
		wait()
		next := start()
		if err := old.Drain(s.Context(), WebDrain{Idle: 10 * time.Second, Grace: time.Minute}); err != nil {
			s.Fatal(err)
		}
		<-old.Gone()
		old = next
	}
	wait()
	if n := failed.Load(); n > 0 {
		s.Errorf("%d of %d requests failed in clean take-overs, the first with: %v", n, done.Load(), *firstErr.Load())
	}
	s.Logf("%d take-overs, %d requests, %d failed", times, done.Load(), failed.Load())
	failed.Store(0)
	pid, err := strconv.Atoi(s.pid())
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		s.Fatal(err)
	}
	<-old.Gone()
	start()
	wait()
	cancel()
	group.Wait()
	if n := failed.Load(); n > int64(len(clients)) {
		s.Errorf("%d requests failed with the worker that was killed, and %d were under way", n, len(clients))
	}
}
