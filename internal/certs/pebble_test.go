package certs

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/certs/pebbletest"
	"github.com/platformd/platformd/internal/health"
)

// Every challenge that needs no DNS provider, by autocert and, where the CA has profiles, by hand.
func TestChallenges(t *testing.T) {
	long := newWorld(t)
	short := newWorldWith(t, pebbletest.Config{Profiles: map[string]time.Duration{"shortlived": 6 * 24 * time.Hour}})
	for _, tt := range []struct {
		name, profile string
		challenges    []string
		lifetime      time.Duration
	}{
		{"http.test", "", []string{"http-01"}, 90 * 24 * time.Hour},
		{"tls.test", "", []string{"tls-alpn-01"}, 90 * 24 * time.Hour},
		{"both.test", "", nil, 90 * 24 * time.Hour},
		{"profile-http.test", "shortlived", []string{"http-01"}, 6 * 24 * time.Hour},
		{"profile-tls.test", "shortlived", []string{"tls-alpn-01"}, 6 * 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := long
			if tt.profile != "" {
				w = short
			}
			ca := w.ca("pebble")
			ca.Profile = tt.profile
			h := newHost(t, []string{tt.name}, ca)
			h.settings.Challenges = tt.challenges
			w.serve(h)
			h.wantSource(tt.name, SelfSigned) // at once, before anybody is asked
			next := h.pass()
			c := h.wantSource(tt.name, "acme:pebble")
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(w.IssuerRoot())
			chain, err := parseChain(c.Chain)
			if err != nil || len(chain) < 2 {
				t.Fatalf("chain of %d, %v", len(chain), err)
			}
			between := x509.NewCertPool()
			between.AddCert(chain[1])
			if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: tt.name, Roots: roots, Intermediates: between}); err != nil {
				t.Errorf("a client would not trust it: %v", err)
			}
			if got := c.Expires.Sub(chain[0].NotBefore).Round(time.Hour); got != tt.lifetime {
				t.Errorf("got a lifetime of %v, want %v", got, tt.lifetime)
			}
			if h.count(activity.CertificateIssued, tt.name) != 1 || len(h.health.List()) != 0 {
				t.Errorf("records %v, conditions %v", h.records, h.health.List())
			}
			if len(h.challenges.http)+len(h.challenges.tls) != 0 {
				t.Error("challenges are still shown")
			}
			var left int
			if err := h.cfg.Store.db.Read.QueryRow(`SELECT count(*) FROM cache`).Scan(&left); err != nil || left != 0 {
				t.Errorf("%d entries of the order are left, %v", left, err)
			}
			if next.IsZero() || next.After(h.clock.now().Add(lookEvery)) {
				t.Errorf("looks again at %v", next)
			}
			if list := h.List(); len(list) != 1 || !list[0].InUse || list[0].RenewAt.IsZero() {
				t.Errorf("list: got %+v", list)
			}
			// After a restart it is there, and nobody is asked again.
			h.open()
			h.pass()
			if again := h.wantSource(tt.name, "acme:pebble"); again.Fingerprint != c.Fingerprint {
				t.Error("ordered again after a restart")
			}
		})
	}
}

func TestRenewal(t *testing.T) {
	w := newWorld(t)
	h := newHost(t, []string{"a.test"}, w.ca("pebble"))
	w.serve(h)
	h.pass()
	first := h.wantSource("a.test", "acme:pebble")
	h.clock.add(59 * 24 * time.Hour)
	h.pass()
	if c := h.wantSource("a.test", "acme:pebble"); c.Fingerprint != first.Fingerprint {
		t.Fatal("renewed with more than 30 days left")
	}
	h.clock.add(3 * 24 * time.Hour) // 28 days left, jitter included
	h.pass()
	second := h.wantSource("a.test", "acme:pebble")
	if second.Fingerprint == first.Fingerprint {
		t.Fatal("not renewed with 28 days left")
	}
	if bytes.Equal(second.Key, first.Key) {
		t.Error("the key is still the old one")
	}
	if got := strings.Join(h.changed, " "); got != "a.test a.test a.test" {
		t.Errorf("told of changes: %q", got)
	}
}

// The CA says that a certificate should be replaced now.
func TestRenewalWindow(t *testing.T) {
	w := newWorld(t)
	h := newHost(t, []string{"a.test"}, w.ca("pebble"))
	w.serve(h)
	h.pass()
	first := h.wantSource("a.test", "acme:pebble")
	h.pass() // asks for the window
	if list := h.List(); list[0].Window.Start.IsZero() {
		t.Fatalf("the window is not known: %+v", list[0])
	}
	w.SetRenewalInfo(first.Chain, h.clock.now().Add(-2*time.Hour), h.clock.now().Add(-time.Hour))
	h.clock.add(time.Hour)
	h.pass()
	h.pass()
	if c := h.served("a.test"); c.Fingerprint != first.Fingerprint {
		t.Error("asked the CA again within 12 hours")
	}
	h.clock.add(lookEvery)
	h.pass()
	h.open() // the window is remembered
	if list := h.List(); !list[0].RenewAt.Before(h.clock.now()) {
		t.Errorf("renewal at %v", list[0].RenewAt)
	}
	h.pass()
	if c := h.wantSource("a.test", "acme:pebble"); c.Fingerprint == first.Fingerprint {
		t.Error("not renewed though the CA asked for it")
	}
}

// One name that cannot be proved does not hold up another, and is tried again later and later, also after a restart.
func TestWrongKeyAuthorization(t *testing.T) {
	w := newWorld(t)
	h := newHost(t, []string{"good.test", "bad.test"}, w.ca("pebble"))
	w.serve(h)
	w.setWrong("bad.test", true)
	h.pass()
	h.wantSource("good.test", "acme:pebble")
	h.wantSource("bad.test", SelfSigned)
	if len(h.challenges.http)+len(h.challenges.tls) != 0 {
		t.Error("challenges of an order that failed are still shown")
	}
	a := h.failure("bad.test")
	if a.Failures != 1 || a.Problem != "unauthorized" || !strings.Contains(a.Reason, "tls-alpn-01: ") || !strings.Contains(a.Reason, "http-01: unauthorized") || !strings.Contains(a.Reason, "key authorization") {
		t.Errorf("got %+v", a)
	}
	c, ok := h.condition("certificate-failed:bad.test")
	if !ok || c.Severity != health.Warning || !strings.Contains(c.Remedy, "ports 80 and 443") {
		t.Errorf("condition: got %+v", c)
	}
	h.open()
	h.clock.add(4 * time.Minute)
	h.pass()
	if got := h.failure("bad.test").Failures; got != 1 {
		t.Errorf("tried %d times, want a pause of 5 minutes after the first", got)
	}
	h.clock.add(3 * time.Minute)
	h.pass()
	b := h.failure("bad.test")
	if b.Failures != 2 || b.Next.Sub(b.At) < 15*time.Minute {
		t.Errorf("second failure: got %+v", b)
	}
	w.setWrong("bad.test", false)
	h.clock.add(20 * time.Minute)
	h.pass()
	h.wantSource("bad.test", "acme:pebble")
	if _, still := h.condition("certificate-failed:bad.test"); still || h.count(activity.CertificateFailed, "bad.test") != 1 {
		t.Errorf("conditions %v", h.health.List())
	}
}

// Names that the CA refuses, and a CA that cannot be verified.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	h := newHost(t, []string{"blocked.test"}, w.ca("pebble"))
	w.serve(h)
	h.pass()
	if a := h.failure("blocked.test"); a.Problem != "rejectedIdentifier" {
		t.Errorf("blocked: got %+v", a)
	}
	other := w.ca("other")
	other.Root = ""
	other.Directory = w.Directory
	h = newHost(t, []string{"a.example.org"}, other)
	h.pass()
	if a := h.failure("a.example.org"); a.Problem != order.Unreachable || !strings.Contains(a.Reason, "unknown authority") {
		t.Errorf("unverified: got %+v", a)
	}
}
