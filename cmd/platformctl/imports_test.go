package main

import (
	"os/exec"
	"strings"
	"testing"
)

// platformctl is started for each block: what it imports is paid for each time. And it reaches the daemon only through the
// API, so it has no use for what is behind that.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 50 {
		t.Fatalf("got %d packages, want more", len(deps))
	}
	for _, d := range deps {
		own, ok := strings.CutPrefix(d, "github.com/platformd/platformd/")
		switch {
		case ok && strings.HasPrefix(own, "internal/") && own != "internal/api/client" && own != "internal/api/wire" && own != "internal/health":
			t.Errorf("imports %s; platformctl talks to the daemon through internal/api/client only", d)
		case ok && strings.HasPrefix(own, "firewall/") && own != "firewall/ranges":
			t.Errorf("imports %s; drivers and readers of lists belong to the daemon", d)
		case strings.Contains(d, "sqlite"), strings.HasPrefix(d, "github.com/danielgtaylor/huma"), strings.Contains(d, "netlink"):
			t.Errorf("imports %s, which only the daemon needs", d)
		}
	}
}
