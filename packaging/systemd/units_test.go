// Package systemd has no code: it holds what systemd is told about platformd, and the tests that systemd understands it.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestUnits: systemd finds nothing wrong with them. The program is another one, because ours is not installed.
func TestUnits(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"platformd.service", "platformd-firewall.service"} {
		text := read(t, name)
		if strings.Count(text, "/usr/bin/platformd") != 1 {
			t.Errorf("%s must start /usr/bin/platformd once", name)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "/usr/bin/platformd", "/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	mount := filepath.Join(dir, "var-lib-platform-apps.mount")
	if err := os.WriteFile(mount, []byte(read(t, "var-lib-platform-apps.mount")), 0o644); err != nil {
		t.Fatal(err)
	}
	paths = append(paths, mount)
	if out := run(t, "systemd-analyze", append([]string{"verify", "--man=no"}, paths...)...); strings.Contains(out, "platformd") {
		t.Errorf("systemd-analyze verify: %s", out)
	}
}

// TestContracts: what other parts rely on.
func TestContracts(t *testing.T) {
	for file, lines := range map[string][]string{
		"platformd.service": {
			"Type=notify", "KillMode=process", "NoNewPrivileges=yes", "ProtectSystem=strict",
			"StateDirectory=platform", "RuntimeDirectory=platform", "ReadWritePaths=/run -/sys/kernel/security/apparmor -/proc/sys/net/bridge",
		},
		"platformd-firewall.service": {
			"Type=oneshot", "RemainAfterExit=yes", "Wants=network-pre.target", "Before=network-pre.target shutdown.target",
			"DefaultDependencies=no", "ExecStart=/usr/bin/platformd restore-firewall",
		},
		"modules-load.conf":           {"br_netfilter"},
		"var-lib-platform-apps.mount": {"Options=bind,nodev,nosuid", "Before=platformd.service docker.service"},
		"sysctl.conf":                 {"net.ipv4.tcp_syncookies = 1"},
	} {
		have := strings.Split(read(t, file), "\n")
		for _, want := range lines {
			found := false
			for _, l := range have {
				found = found || l == want
			}
			if !found {
				t.Errorf("%s has no line %q", file, want)
			}
		}
	}
}

// TestUsersAndFolders: in a root of its own, the user, the group and the folders are made.
func TestUsersAndFolders(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	run(t, "systemd-sysusers", "--root="+root, filepath.Join(here, "sysusers.conf"))
	for file, want := range map[string]string{"etc/passwd": "\nplatform-proxy:", "etc/group": "\nplatform:"} {
		if got := "\n" + read(t, filepath.Join(root, file)); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want a line that begins with %q", file, got, want[1:])
		}
	}
	run(t, "systemd-tmpfiles", "--create", "--root="+root, filepath.Join(here, "tmpfiles.conf"))
	for dir, want := range map[string]os.FileMode{"run/platform": 0o755, "var/lib/platform": 0o700} {
		got, err := os.Stat(filepath.Join(root, dir))
		if err != nil {
			t.Error(err)
			continue
		}
		if got.Mode().Perm() != want {
			t.Errorf("/%s: got mode %v, want %v", dir, got.Mode().Perm(), want)
		}
	}
}

// TestSysctl: the kernel knows every key.
func TestSysctl(t *testing.T) {
	n := 0
	for _, line := range strings.Split(read(t, "sysctl.conf"), "\n") {
		key, value, ok := strings.Cut(line, " = ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		n++
		if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(key, ".", "/")); err != nil || value == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
	if n == 0 {
		t.Error("sysctl.conf sets nothing")
	}
}
