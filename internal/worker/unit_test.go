package worker

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// unitFile is the unit that the daemon runs as, and with it the proxy's worker, which has none of its own: all that the unit
// takes away is taken from the worker too.
const unitFile = "../../packaging/systemd/platformd.service"

// setting is what the unit says under a name, word by word.
func setting(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			out = append(out, strings.Fields(value)...)
		}
	}
	return out
}

// admitted are the system calls that words of SystemCallFilter= stand for, by systemd's own account.
func admitted(t *testing.T, words []string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		if !strings.HasPrefix(w, "@") {
			out[w] = true
			continue
		}
		list, err := exec.Command("systemd-analyze", "--no-pager", "syscall-filter", w).Output()
		if err != nil {
			t.Fatalf("systemd-analyze syscall-filter %s: %v", w, err)
		}
		for _, line := range strings.Split(string(list), "\n")[1:] {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				words = append(words, line)
			}
		}
	}
	return out
}

// TestUnitLetsTheProxyWork: the unit admits each system call that the worker's own filter admits, those by which the worker
// confines itself and the daemon ends it, and what its start needs. A call that systemd refuses is no mistake that anybody sees:
// it fails, and something else happens.
func TestUnitLetsTheProxyWork(t *testing.T) {
	have := admitted(t, setting(t, "SystemCallFilter"))
	want := strings.Fields(callsOften + " " + callsRuntime + " " + callsFiles + " socket seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self capset setresuid setresgid setgroups execve pidfd_open pidfd_send_signal memfd_create bind")
	if len(have) < 200 {
		t.Fatalf("systemd's list has %d calls", len(have))
	}
	for _, call := range want {
		if !have[call] {
			t.Errorf("the unit does not admit %s", call)
		}
	}
	for name, words := range map[string][]string{
		"RestrictAddressFamilies": {"AF_INET", "AF_INET6", "AF_UNIX"}, "RestrictNamespaces": {"pid", "ipc", "net"}, "KillMode": {"process"},
		"CapabilityBoundingSet": {"CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"},
	} {
		for _, w := range words {
			if got := setting(t, name); !slices.Contains(got, w) {
				t.Errorf("%s=%v lacks %s", name, got, w)
			}
		}
	}
}

// TestUnitConfinesTheProxy: what the unit takes away from the worker besides what it gives up itself, and how exposed the whole is
// by systemd's own measure. Most of what is left is what the daemon needs of root, which the worker has given up.
func TestUnitConfinesTheProxy(t *testing.T) {
	for _, name := range []string{"NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectClock", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
		"ProtectControlGroups", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute"} {
		if got := setting(t, name); !slices.Equal(got, []string{"yes"}) {
			t.Errorf("%s=%v", name, got)
		}
	}
	if out, err := exec.Command("systemd-analyze", "--no-pager", "security", "--offline=yes", "--threshold=42", unitFile).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}
