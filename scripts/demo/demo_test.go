package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTour is "ONCE=1 make run": what it promises is there, and nothing is left behind.
func TestTour(t *testing.T) {
	bin, tmp := t.TempDir(), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/", "../../cmd/...", ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	before := devices(t)
	cmd := exec.Command(filepath.Join(bin, "demo"), "-bin", bin, "-tools", "../../.cache")
	cmd.Env = append(os.Environ(), "ONCE=1", "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	if got, want := strings.Count(string(out), " as it should be\n"), 31; got != want || strings.Contains(string(out), "NOT as it should be") {
		t.Errorf("the tour saw %d things, want at least %d:\n%s", got, want, out)
	}
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		t.Errorf("%s is left behind", e.Name())
	}
	if after := devices(t); after != before {
		t.Errorf("network devices of the machine before:\n%s\nafter:\n%s", before, after)
	}
}

// devices are what the demo makes many of, and must not make here.
func devices(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
