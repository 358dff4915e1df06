package certs

import (
	"testing"
	"time"

	"github.com/platformd/platformd/internal/state"
)

func TestRenewAt(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name        string
		life        time.Duration
		fingerprint string
		window      [2]time.Duration // after the start; zero is none
		want        time.Duration    // before the end
	}{
		{"a year", 365 * day, "0000", [2]time.Duration{}, 30 * day},
		{"90 days", 90 * day, "0000", [2]time.Duration{}, 30 * day},
		{"a third", 45 * day, "0000", [2]time.Duration{}, 15 * day},
		{"six days", 6 * day, "0000", [2]time.Duration{}, 2 * day},
		{"jitter", 90 * day, "8000", [2]time.Duration{}, 30*day - 12*time.Hour},
		{"jitter of a short one", 6 * day, "8000", [2]time.Duration{}, 2*day - 6*day/60},
		{"window before", 90 * day, "0000", [2]time.Duration{10 * day, 12 * day}, 80 * day},
		{"inside the window", 90 * day, "8000", [2]time.Duration{10 * day, 12 * day}, 79 * day},
		{"window too late", 90 * day, "0000", [2]time.Duration{85 * day, 86 * day}, 30 * day},
	} {
		c := &Certificate{NotBefore: start, Expires: start.Add(tt.life), Fingerprint: tt.fingerprint}
		if tt.window[1] > 0 {
			c.Window = Window{start.Add(tt.window[0]), start.Add(tt.window[1])}
		}
		if got := c.Expires.Sub(renewAt(c)); got != tt.want {
			t.Errorf("%s: got %v before the end, want %v", tt.name, got, tt.want)
		}
	}
}

func TestGrantable(t *testing.T) {
	for name, want := range map[string][2]bool{ // of a public CA, of a private one
		"www.example.org": {true, true}, "*.example.org": {true, true}, "a.internal": {false, true}, "nas.lan": {false, true}, "a.test": {false, true},
		"localhost": {}, "*.org": {}, "192.0.2.1": {}, "2001:db8::1": {},
	} {
		got := [2]bool{grantable(name, state.CA{}), grantable(name, state.CA{Root: "x"})}
		if got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestPause(t *testing.T) {
	for _, tt := range []struct {
		failures   int
		problem    string
		retryAfter time.Duration
		min, max   time.Duration
	}{
		{1, "unauthorized", 0, 5 * time.Minute, 6 * time.Minute},
		{2, "unauthorized", 0, 15 * time.Minute, 18 * time.Minute},
		{50, "unauthorized", 0, 12 * time.Hour, 12*time.Hour + 12*time.Hour/5},
		{50, "unreachable", 0, time.Hour, 72 * time.Minute},
		{1, "rateLimited", 0, time.Hour, 72 * time.Minute},
		{1, "rateLimited", 30 * time.Hour, 30 * time.Hour, 30 * time.Hour},
		{1, "rateLimited", 365 * 24 * time.Hour, 7 * 24 * time.Hour, 7 * 24 * time.Hour},
	} {
		got := pause(Attempt{Name: "a.test", CA: "ca", Failures: tt.failures, Problem: tt.problem}, tt.retryAfter)
		if got < tt.min || got > tt.max {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}
