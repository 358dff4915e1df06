package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/pebbletest"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/internal/worker"
)

// TestMain makes the test binary the worker when the pool starts it so.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "worker" && os.Args[2] == "acme" {
		os.Exit(worker.ACME(os.Stdin, os.Stdout, os.Stderr))
	}
	if len(os.Args) > 2 && os.Args[1] == "order" {
		os.Exit(orderAndDie(os.Args[2:]))
	}
	if len(os.Args) > 3 && os.Args[1] == "dns-program" {
		os.Exit(dnsProgram(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// clock is one that a test sets.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// host is a Manager with everything around it real but its clock.
type host struct {
	*Manager
	t          *testing.T
	dir        string
	clock      *clock
	settings   state.Certs
	names      []string
	health     *health.Registry
	challenges *Challenges
	log        *bytes.Buffer

	mu      sync.Mutex
	records []activity.Record
	changed []string
}

// newHost makes one that asks the CAs for names.
func newHost(t *testing.T, names []string, cas ...state.CA) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), clock: &clock{t: time.Now()}, names: names, challenges: &Challenges{}, log: &bytes.Buffer{},
		settings: state.Certs{Email: "admin@example.org", TermsAgreed: true, CAs: cas}}
	h.open()
	t.Cleanup(func() {
		h.running.Wait()
		if err := h.cfg.Store.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s\nconditions: %v\nrecords: %v", h.log, h.health.List(), h.records[max(0, len(h.records)-10):])
		}
	})
	return h
}

// open starts the manager anew, as after a restart of the daemon.
func (h *host) open() {
	h.t.Helper()
	if h.Manager != nil {
		h.running.Wait()
		if err := h.cfg.Store.Close(); err != nil {
			h.t.Fatal(err)
		}
	}
	h.health = health.New(h.clock.now)
	store, err := OpenStore(h.t.Context(), h.dir, "", h.clock.now)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Manager, err = New(h.t.Context(), Config{Store: store, Issuer: pool(h.t, h.dir), Responder: h.challenges,
		Names: func() []string { return h.names }, Settings: func() state.Certs { return h.settings },
		Changed: func(n []string) { h.mu.Lock(); h.changed = append(h.changed, n...); h.mu.Unlock() },
		Record: func(_ context.Context, r activity.Record) {
			h.mu.Lock()
			h.records = append(h.records, r)
			h.mu.Unlock()
		},
		Health: h.health, Now: h.clock.now, Log: slog.New(slog.NewTextHandler(h.log, nil))})
	if err != nil {
		h.t.Fatal(err)
	}
}

func pool(t testing.TB, dir string) *worker.Pool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests start processes as another user: run them as root")
	}
	return poolFor(dir)
}

func poolFor(dir string) *worker.Pool {
	const nobody = 65534
	p, err := worker.New(worker.Config{UID: nobody, GID: nobody, TempDir: dir, UserAgent: "platformd-test"})
	if err != nil {
		panic(err)
	}
	return p
}

// pass looks once and waits until all that came of it is done.
func (h *host) pass() time.Time {
	h.t.Helper()
	next := h.look(h.t.Context())
	h.running.Wait()
	return next
}

// served is what a client gets for a name now.
func (h *host) served(name string) *Served {
	h.t.Helper()
	c, err := h.Certificate(name)
	if err != nil {
		h.t.Fatalf("certificate of %s: %v", name, err)
	}
	if _, err := tls.X509KeyPair(c.Chain, c.Key); err != nil {
		h.t.Fatalf("certificate of %s: %v", name, err)
	}
	return c
}

func (h *host) wantSource(name, want string) *Served {
	h.t.Helper()
	c := h.served(name)
	if c.Source != want {
		h.t.Fatalf("certificate of %s: got one from %q, want %q", name, c.Source, want)
	}
	return c
}

func (h *host) condition(id string) (health.Condition, bool) {
	for _, c := range h.health.List() {
		if c.ID == id {
			return c, true
		}
	}
	return health.Condition{}, false
}

func (h *host) count(a activity.Action, object string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, r := range h.records {
		if r.Action == a && r.Object == object {
			n++
		}
	}
	return n
}

func (h *host) failure(name string) Attempt {
	h.t.Helper()
	h.Manager.mu.Lock()
	defer h.Manager.mu.Unlock()
	for _, a := range h.attempts[name] {
		return a
	}
	h.t.Fatalf("%s: no attempt failed", name)
	return Attempt{}
}

// responder answers the CA from the challenges of hosts, as the proxy does. The ports are those where Pebble validates.
type responder struct {
	http, tls int
	mu        sync.Mutex
	of        []*Challenges
	wrong     map[string]bool // hosts that answer with something else
}

func newResponder(t *testing.T) *responder {
	t.Helper()
	r := &responder{wrong: map[string]bool{}}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.http, r.tls = plain.Addr().(*net.TCPAddr).Port, secure.Addr().(*net.TCPAddr).Port
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv := &http.Server{Handler: http.HandlerFunc(r.answer), ErrorLog: quiet}
	tlsSrv := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: quiet, TLSConfig: &tls.Config{GetCertificate: r.certificate, NextProtos: []string{"acme-tls/1"}},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){"acme-tls/1": func(_ *http.Server, c *tls.Conn, _ http.Handler) { c.Close() }}}
	go srv.Serve(plain)
	go tlsSrv.ServeTLS(secure, "", "")
	t.Cleanup(func() { srv.Close(); tlsSrv.Close() })
	return r
}

func (r *responder) answer(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	host, _, _ := strings.Cut(req.Host, ":")
	for _, c := range r.of {
		if v, ok := c.Token(strings.TrimPrefix(req.URL.Path, "/.well-known/acme-challenge/")); ok {
			if r.wrong[host] {
				v = "somebody.else"
			}
			fmt.Fprint(w, v)
			return
		}
	}
	http.NotFound(w, req)
}

func (r *responder) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.of {
		if p, ok := c.TLS(hello.ServerName); ok && !r.wrong[hello.ServerName] {
			cert, err := tls.X509KeyPair(p.Chain, p.Key)
			return &cert, err
		}
	}
	return nil, errors.New("no challenge")
}

func (r *responder) serve(h *host) { r.mu.Lock(); r.of = append(r.of, h.challenges); r.mu.Unlock() }

func (r *responder) setWrong(name string, wrong bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong[name] = wrong
}

// world is a CA with a DNS server, and a responder where it looks.
type world struct {
	*pebbletest.CA
	*responder
}

func newWorld(t *testing.T) *world { return newWorldWith(t, pebbletest.Config{}) }

func newWorldWith(t *testing.T, cfg pebbletest.Config) *world {
	t.Helper()
	r := newResponder(t)
	cfg.HTTPPort, cfg.TLSPort = r.http, r.tls
	if cfg.DNS == "" {
		cfg.DNS = pebbletest.StartDNS(t)
	}
	return &world{pebbletest.Start(t, cfg), r}
}

// ca is how the document names it.
func (w *world) ca(name string) state.CA {
	return state.CA{Name: name, Directory: w.Directory, Root: w.Root}
}
