package dns

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/platformd/platformd/internal/certs/order"
)

func TestOpen(t *testing.T) {
	for _, kind := range []string{"rfc2136", "cloudflare", "route53", "digitalocean", "hetzner", "exec"} {
		z, err := Open(order.Provider{Type: kind, Zones: []string{"example.test"}, Secret: []byte("x"), Settings: map[string]string{}})
		if err != nil || z.provider == nil {
			t.Errorf("%s: got %v", kind, err)
		}
	}
	if _, err := Open(order.Provider{Type: "bind\x1b"}); err == nil || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("unknown: got %v", err)
	}
}

func TestZoneOf(t *testing.T) {
	z := &Zone{cfg: order.Provider{Zones: []string{"example.test", "lab.example.test"}}}
	for name, want := range map[string]string{"a.example.test": "example.test", "example.test": "example.test", "_acme-challenge.x.lab.example.test": "lab.example.test", "badexample.test": "", "test": ""} {
		if got, err := z.zoneOf(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// An operator's program that fails is quoted, and its secret is not.
func TestProgramFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "update")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nread secret\necho \"$1 $2 $3 $4 $5: wrong token $secret\" >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	z, err := Open(order.Provider{Type: "exec", Zones: []string{"example.test"}, Secret: []byte("very-secret\n"), Settings: map[string]string{"program": path}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = z.Present(t.Context(), "_acme-challenge.a.example.test", "the value; $(reboot)")
	if err == nil || !strings.Contains(err.Error(), "exit status 3: append example.test _acme-challenge.a.example.test TXT the value; $(reboot): wrong token [redacted]") {
		t.Errorf("got %v", err)
	}
	if err == nil || strings.Contains(err.Error(), "very-secret") {
		t.Error("the secret is told")
	}
	if _, err := z.Records(t.Context(), []string{"a.example.test"}); err == nil {
		t.Error("a program cannot list records")
	}
}
