package bans

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A real journal, read by the real journalctl: what sshd logged as root counts, what others say in its name does not.
func TestRealJournal(t *testing.T) {
	var export strings.Builder
	n := 0
	add := func(fields ...string) {
		n++
		fmt.Fprintf(&export, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032x\n_PID=%d\n", 1_700_000_000_000_000+n, n, 7, n)
		export.WriteString(strings.Join(fields, "\n") + "\n\n")
	}
	failed := func(source string) string { return "MESSAGE=Failed password for root from " + source + " port 5 ssh2" }
	add("_COMM=sshd", "_UID=0", "SYSLOG_IDENTIFIER=sshd", failed("192.0.2.1"))
	add("_COMM=sshd-session", "_UID=0", failed("2001:db8::1"))
	add("_COMM=logger", "_UID=1000", "SYSLOG_IDENTIFIER=sshd", "COMM=sshd", failed("198.51.100.1"))
	add("_COMM=sshd", "_UID=1000", failed("198.51.100.2"))
	add("_COMM=logger", "_UID=0", "SYSLOG_IDENTIFIER=sshd", failed("198.51.100.3"))
	file := filepath.Join(t.TempDir(), "test.journal")
	remote := exec.Command("/lib/systemd/systemd-journal-remote", "--output="+file, "-")
	remote.Stdin = strings.NewReader(export.String())
	if out, err := remote.CombinedOutput(); err != nil {
		t.Fatalf("systemd-journal-remote (Debian package of that name): %v\n%s", err, out)
	}
	for name, selected := range map[string][]string{"everything": nil, "as it is selected": {"_UID=0", "_COMM=sshd", "_COMM=sshd-session", "_COMM=sshd-auth"}} {
		args := append([]string{"--file=" + file, "--output=json", "--output-fields=MESSAGE,_COMM,_UID,_PID"}, selected...)
		out, err := exec.Command("journalctl", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(string(out), "\n"); lines != map[bool]int{true: n, false: 2}[selected == nil] {
			t.Errorf("%s: journalctl gave %d lines", name, lines)
		}
		var got []string
		for _, r := range read(t, Journal, string(out)) {
			got = append(got, r.Source.String())
		}
		if s := strings.Join(got, " "); s != "192.0.2.1 2001:db8::1" {
			t.Errorf("%s: got %q", name, s)
		}
	}
}
