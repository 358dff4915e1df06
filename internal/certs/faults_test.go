package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/certs/pebbletest"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/state"
)

// between stands before a CA and answers some requests in its place.
type between struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request) bool // true where it did
	asked  []string
}

func newBetween(t *testing.T, ca *pebbletest.CA) *between {
	t.Helper()
	b := &between{}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.Root))
	to, err := url.Parse(ca.Directory)
	if err != nil {
		t.Fatal(err)
	}
	to.Path = ""
	proxy := &httputil.ReverseProxy{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }}
	b.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.asked = append(b.asked, r.URL.Path)
		answer := b.answer
		b.mu.Unlock()
		if answer == nil || !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *between) ca(name string) state.CA {
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate().Raw})
	return state.CA{Name: name, Directory: b.URL + "/dir", Root: string(root)}
}

func (b *between) set(answer func(w http.ResponseWriter, r *http.Request) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

func (b *between) times(path string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.asked {
		if strings.HasPrefix(p, path) {
			n++
		}
	}
	return n
}

// refuse answers requests for a path with a problem.
func refuse(path string, status int, kind, retryAfter string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, path) {
			return false
		}
		w.Header().Set("Content-Type", "application/problem+json")
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"urn:ietf:params:acme:error:%s","detail":"says the test\u001b","status":%d}`, kind, status)
		return true
	}
}

const newOrder, finalize = "/order-plz", "/finalize-order/"

func TestRateLimited(t *testing.T) {
	w := newWorld(t)
	b := newBetween(t, w.CA)
	h := newHost(t, []string{"a.test"}, b.ca("busy"))
	w.serve(h)
	b.set(refuse(newOrder, http.StatusTooManyRequests, "rateLimited", "86400"))
	h.pass()
	a := h.failure("a.test")
	if a.Problem != "rateLimited" || a.Next.Sub(a.At) < 24*time.Hour || strings.ContainsRune(a.Reason, 0x1b) {
		t.Fatalf("got %+v, want a pause of a day", a)
	}
	if n := b.times(newOrder); n != 1 {
		t.Errorf("asked %d times in one order", n)
	}
	if _, err := h.Renew(t.Context(), "a.test", false); err == nil || !strings.Contains(err.Error(), "asked too much") {
		t.Errorf("renew by hand: got %v", err)
	}
	h.clock.add(23 * time.Hour)
	h.open() // remembered
	h.pass()
	if n := b.times(newOrder); n != 1 {
		t.Errorf("asked %d times within the time that the CA named", n)
	}
	b.set(nil)
	h.clock.add(2 * time.Hour)
	h.pass()
	h.wantSource("a.test", "acme:busy")
}

func TestCAAForbids(t *testing.T) {
	w := newWorld(t)
	b := newBetween(t, w.CA)
	h := newHost(t, []string{"a.test", "b.test"}, b.ca("strict"))
	w.serve(h)
	b.set(refuse(finalize, http.StatusForbidden, "caa", ""))
	h.pass()
	for _, n := range h.names {
		if a := h.failure(n); a.Problem != "caa" {
			t.Errorf("%s: got %+v", n, a)
		}
	}
	if c, ok := h.condition("certificate-failed:a.test"); !ok || !strings.Contains(c.Remedy, "CAA records of a.test") {
		t.Errorf("condition: got %+v", c)
	}
}

func TestFallback(t *testing.T) {
	w := newWorld(t)
	b := newBetween(t, w.CA)
	down := state.CA{Name: "down", Directory: "https://127.0.0.1:1/dir", Root: w.Root}
	h := newHost(t, []string{"a.test"}, down, b.ca("limited"), w.ca("good"))
	w.serve(h)
	b.set(refuse(newOrder, http.StatusTooManyRequests, "rateLimited", "3600"))
	h.pass()
	h.wantSource("a.test", "acme:good")
	if len(h.health.List()) != 0 || h.count(activity.CertificateFailed, "a.test") != 2 {
		t.Errorf("conditions %v, records %v", h.health.List(), h.records)
	}
}

// A week without the CA: what is there is served, people are told in time, and the CA is asked each hour at most.
func TestCADownForAWeek(t *testing.T) {
	w := newWorld(t)
	h := newHost(t, []string{"a.test"}, w.ca("pebble"))
	w.serve(h)
	h.pass()
	first := h.wantSource("a.test", "acme:pebble")
	w.Stop()
	h.clock.add(65 * 24 * time.Hour)
	for range 7 * 24 {
		h.pass()
		if c := h.served("a.test"); c.Fingerprint != first.Fingerprint {
			t.Fatal("another certificate came from nowhere")
		}
		h.clock.add(time.Hour)
	}
	a := h.failure("a.test")
	if a.Problem != order.Unreachable || a.Failures < 80 || a.Failures > 7*24 || a.Next.Sub(a.At) > 75*time.Minute {
		t.Errorf("after a week: got %+v", a)
	}
	if c, ok := h.condition("certificate-failed:a.test"); !ok || !strings.Contains(c.Message, "the one in use ends at") {
		t.Errorf("condition: got %+v", c)
	}
	if c, ok := h.condition("certificate-expiring:a.test"); !ok || c.Severity != health.Warning || h.count(activity.CertificateExpiring, "a.test") != 1 {
		t.Errorf("18 days before the end: got %+v, %d records", c, h.count(activity.CertificateExpiring, "a.test"))
	}
	w.Restart()
	h.clock.add(2 * time.Hour)
	h.pass()
	h.pass()
	_, failed := h.condition("certificate-failed:a.test")
	if c := h.wantSource("a.test", "acme:pebble"); c.Fingerprint == first.Fingerprint || failed {
		t.Errorf("not renewed when the CA was back: %v", h.health.List())
	}
	if n := h.count(activity.CertificateFailed, "a.test"); n != 1 {
		t.Errorf("%d records of one outage", n)
	}
}

// The clock goes ahead by years and comes back: nothing is lost, and nothing waits for years.
func TestClockJump(t *testing.T) {
	w := newWorld(t)
	h := newHost(t, []string{"a.test"}, w.ca("pebble"))
	w.serve(h)
	h.pass()
	first := h.wantSource("a.test", "acme:pebble")
	const years = 3 * 365 * 24 * time.Hour
	h.clock.add(years)
	h.pass()
	if c := h.served("a.test"); c.Fingerprint != first.Fingerprint {
		t.Error("the old certificate is not served any more")
	}
	if a := h.failure("a.test"); !strings.Contains(a.Reason, "ended at") {
		t.Errorf("what is issued is over already: got %+v", a)
	}
	h.clock.add(-years)
	h.pass()
	if c := h.served("a.test"); c.Fingerprint != first.Fingerprint {
		t.Error("renewed for no reason")
	}
	h.clock.add(65 * 24 * time.Hour)
	h.pass()
	if c := h.served("a.test"); c.Fingerprint == first.Fingerprint {
		t.Error("the attempt from the future holds up the renewal")
	}
	h.clock.add(-100 * 24 * time.Hour) // before everything
	h.pass()
	h.wantSource("a.test", "acme:pebble")
}

// A certificate that cannot be stored is not ordered again and again.
func TestFullDiskIsNoLoop(t *testing.T) {
	w := newWorldWith(t, pebbletest.Config{GoodNonces: true})
	b := newBetween(t, w.CA)
	h := newHost(t, []string{"a.test"}, b.ca("pebble"))
	w.serve(h)
	if _, err := h.cfg.Store.db.Write.Exec(`CREATE TRIGGER full BEFORE INSERT ON certificates WHEN NEW.kind = 'acme' BEGIN SELECT RAISE(FAIL, 'no room'); END`); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.pass()
	}
	if n := b.times(newOrder); n != 1 {
		t.Errorf("%d orders", n)
	}
	if a := h.failure("a.test"); !strings.Contains(a.Reason, "cannot be stored") {
		t.Errorf("got %+v", a)
	}
	h.wantSource("a.test", SelfSigned)
	if _, err := h.cfg.Store.db.Write.Exec(`DROP TRIGGER full`); err != nil {
		t.Fatal(err)
	}
	h.clock.add(10 * time.Minute)
	h.pass()
	h.wantSource("a.test", "acme:pebble")
}

// With a clock that is two months ahead, what is issued is always due: it is not ordered all the time.
func TestWrongClockIsNoLoop(t *testing.T) {
	w := newWorldWith(t, pebbletest.Config{GoodNonces: true})
	b := newBetween(t, w.CA)
	h := newHost(t, []string{"a.test"}, b.ca("pebble"))
	w.serve(h)
	h.clock.add(70 * 24 * time.Hour)
	for range 3 {
		h.pass()
	}
	if n := b.times(newOrder); n != 1 {
		t.Errorf("%d orders at once", n)
	}
	for range 24 {
		h.clock.add(time.Hour)
		h.pass()
	}
	if n := b.times(newOrder); n != 3 {
		t.Errorf("%d orders within a day, want one each 12 hours", n)
	}
}

// No CA hears of us before it may, nor of names that nobody wants.
func TestNobodyIsAskedTooEarly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			heard <- struct{}{}
			c.Close()
		}
	}()
	_, root, err := selfSigned("ca.test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca := state.CA{Name: "ca", Directory: "https://" + l.Addr().String() + "/dir", Root: string(root.Chain)}
	for name, set := range map[string]func(*state.Certs){"no agreement": func(s *state.Certs) { s.TermsAgreed = false }, "no address": func(s *state.Certs) { s.Email = "" }} {
		h := newHost(t, []string{"a.test"}, ca)
		set(&h.settings)
		h.pass()
		h.Test(t.Context(), "a.test")
		if _, err := h.Renew(t.Context(), "a.test", true); err == nil || !strings.Contains(err.Error(), "certs setup") {
			t.Errorf("%s: renew: got %v", name, err)
		}
		if c, ok := h.condition("certificates-not-set-up"); !ok || !strings.Contains(c.Remedy, "certs setup") {
			t.Errorf("%s: got %v", name, h.health.List())
		}
		h.wantSource("a.test", SelfSigned)
	}
	h := newHost(t, []string{"localhost", "192.0.2.1", "2001:db8::1"}, ca)
	h.pass()
	if _, err := h.Renew(t.Context(), "b.test", true); err == nil || !strings.Contains(err.Error(), "no route has this name") {
		t.Errorf("renew what nobody wants: got %v", err)
	}
	if c := h.served("192.0.2.1"); c.Name != "192.0.2.1" || len(h.health.List()) != 0 {
		t.Errorf("got %q, %v", c.Name, h.health.List())
	}
	if len(heard) > 0 {
		t.Errorf("the CA was contacted %d times", len(heard))
	}
	// The listener does hear who calls.
	h = newHost(t, []string{"a.test"}, ca)
	h.pass()
	if len(heard) == 0 {
		t.Error("nobody called, though it was allowed")
	}
}

// The daemon is killed while the CA looks at the challenge; the next one finishes, with the same account.
func TestKilledInTheMiddleOfAnOrder(t *testing.T) {
	w := newWorld(t)
	b := newBetween(t, w.CA)
	h := newHost(t, []string{"a.test"}, b.ca("pebble"))
	w.serve(h)
	if err := h.cfg.Store.Close(); err != nil {
		t.Fatal(err)
	}
	reached, killed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/chalZ/") || strings.HasPrefix(r.URL.Path, finalize) {
			once.Do(func() { close(reached) })
			<-killed
			return true
		}
		return false
	})
	root := h.dir + "/root.pem"
	if err := os.WriteFile(root, []byte(b.ca("").Root), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "order", h.dir, b.ca("").Directory, root, "a.test")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-reached:
	case <-time.After(30 * time.Second):
		t.Errorf("the order did not get that far")
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	close(killed)
	if t.Failed() {
		t.Fatal(said.String())
	}
	b.set(nil)
	accounts := func() (n int, key string) {
		var sealed []byte
		if err := h.cfg.Store.db.Read.QueryRow(`SELECT count(*), max(key) FROM accounts`).Scan(&n, &sealed); err != nil {
			t.Fatal(err)
		}
		return n, string(sealed)
	}
	h.Manager = nil // what it had is of another process now
	h.open()
	n, before := accounts()
	h.pass()
	h.wantSource("a.test", "acme:pebble")
	if after, key := accounts(); n != 1 || after != 1 || key != before {
		t.Errorf("%d accounts before, %d after; the same key: %v", n, after, key == before)
	}
}

// orderAndDie is a daemon that is killed: the folder of its store, the CA, its root, a name.
func orderAndDie(args []string) int {
	root, err := os.ReadFile(args[2])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	store, err := OpenStore(ctx, args[0], "", time.Now)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	settings := state.Certs{Email: "admin@example.org", TermsAgreed: true, CAs: []state.CA{{Name: "pebble", Directory: args[1], Root: string(root)}}}
	m, err := New(ctx, Config{Store: store, Issuer: poolFor(args[0]), Responder: &Challenges{}, Names: func() []string { return args[3:] }, Settings: func() state.Certs { return settings },
		Changed: func([]string) {}, Record: func(context.Context, activity.Record) {}, Health: health.New(time.Now), Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(m.Run(ctx))
	return 1
}

func TestExternalAccount(t *testing.T) {
	const mac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	w := newWorldWith(t, pebbletest.Config{EAB: map[string]string{"kid-1": mac}})
	ca := w.ca("pebble")
	h := newHost(t, []string{"a.test"}, ca)
	w.serve(h)
	h.pass()
	if a := h.failure("a.test"); a.Problem != "externalAccountRequired" {
		t.Errorf("without: got %+v", a)
	}
	h.settings.CAs[0].EAB = state.EAB{KID: "kid-1", Secret: "eab"}
	h.clock.add(time.Hour)
	h.pass()
	if a := h.failure("a.test"); !strings.Contains(a.Reason, "certs secret set eab") {
		t.Errorf("without its secret: got %+v", a)
	}
	if err := h.SetSecret(t.Context(), activity.Record{Actor: "root"}, "eab", Secret(mac+"\n")); err != nil {
		t.Fatal(err)
	}
	h.clock.add(time.Hour)
	h.pass()
	h.wantSource("a.test", "acme:pebble")
	if strings.Contains(h.log.String(), mac) || strings.Contains(fmt.Sprint(h.records), mac) {
		t.Error("the secret was written somewhere")
	}
}
