package apparmor

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/platformd/platformd/apps"
)

func app() *apps.App {
	m := apps.Manifest{Data: []apps.Data{{Name: "data", Path: "/var/lib/wiki"}, {Name: "odd", Path: `/srv/a "b" {c,*}`}}, Tmpfs: []apps.Tmpfs{{Path: "/run", Exec: true}}, Capabilities: []string{"SETUID"}}
	next := apps.Placeholder(apps.Manifest{Data: []apps.Data{{Name: "data", Path: "/new"}}, Capabilities: []string{"CHOWN", "SETUID"}})
	return &apps.App{Name: "wiki", Current: apps.Placeholder(m), Next: &next}
}

// TestProfile: the profile is the one that was looked at (testdata), and AppArmor's own compiler takes it.
func TestProfile(t *testing.T) {
	got := Profile(app())
	want, err := os.ReadFile("testdata/wiki.profile")
	if err != nil || got != string(want) {
		t.Errorf("the profile is not that of testdata/wiki.profile (%v):\n%s", err, got)
	}
	path, err := exec.LookPath("apparmor_parser")
	if err != nil {
		t.Fatalf("%v; install apparmor", err)
	}
	// --skip-kernel-load compiles, and needs no kernel with AppArmor; the features of a Debian 12 are named by its ABI.
	cmd := exec.Command(path, "--skip-kernel-load", "--skip-cache", "--stdout")
	cmd.Stdin = strings.NewReader(got)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || len(out) == 0 {
		t.Errorf("apparmor_parser: %v, %d bytes, %s", err, len(out), stderr.String())
	}
}
