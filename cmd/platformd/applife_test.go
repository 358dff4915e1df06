package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
)

// exec runs a program in an app and returns what it wrote, and how it ended.
func (m *machine) exec(name, input string, tty bool, command ...string) (out, errs string, code int) {
	m.Helper()
	var o, e bytes.Buffer
	code, err := m.client.ExecApp(m.ctx, name, client.Exec{Command: command, TTY: tty, In: strings.NewReader(input), Out: &o, Errors: &e})
	if err != nil {
		m.Fatalf("exec %q: %v", command, err)
	}
	return o.String(), e.String(), code
}

// Programs run in an app, confined as the app is: with input, both outputs, a terminal, and their exit codes.
func TestAppExec(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.withApps()
		m.install("web", "web.test", web)
		out, errs, code := m.exec("web", "from outside", false, "/bin/busybox", "sh", "-c", "/bin/busybox cat; echo wrong >&2; exit 7")
		if out != "from outside" || errs != "wrong\n" || code != 7 {
			m.Errorf("got %q, %q, %d", out, errs, code)
		}
		if out, _, code := m.exec("web", "", true, "/bin/busybox", "tty"); !strings.HasPrefix(out, "/dev/pts/") || code != 0 {
			m.Errorf("with a terminal: got %q, %d", out, code)
		}
		if _, errs, code := m.exec("web", "", false, "/bin/busybox", "touch", "/bin/x"); code == 0 {
			m.Errorf("it wrote to the root file system: %q", errs)
		}
		big, _, _ := m.exec("web", strings.Repeat("x", 3<<20), false, "/bin/busybox", "wc", "-c")
		if strings.TrimSpace(big) != "3145728" {
			m.Errorf("of three megabytes arrived %s", big)
		}
		if out, _, code := m.exec("web", "", false, "/not/there"); code == 0 {
			m.Errorf("a program that is not there: %q", out)
		}
		_, err := m.client.ExecApp(m.ctx, "nobody", client.Exec{Command: []string{"x"}})
		if p, ok := errors.AsType[*wire.Problem](err); !ok || p.Code != wire.CodeNotFound {
			m.Errorf("an app that is not there: %v", err)
		}
		found, err := m.client.Activity(m.ctx, wire.ActivityFilter{Action: "app-executed"})
		if err != nil || len(found) < 5 || strings.Contains(found[0].Message, "outside") || strings.Contains(found[0].Message, "exit 7") {
			m.Errorf("records: %+v, %v", found, err)
		}
	})
}

// A plan says what would be done and does nothing; a repair makes everything anew but the data; a clone has the data and other
// secrets.
func TestAppPlanRepairClone(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		d := m.withApps()
		manifest := strings.Replace(web, "${domain}", "${domain} ${secret.word}", 1) + "secrets: [{name: word, bytes: 16}]\n"
		p, err := m.client.PlanApp(m.ctx, "", "web.test", "test.yaml", []byte(manifest))
		if err != nil || !p.Installs || len(p.Steps) != 4 {
			m.Errorf("plan of an installation: %+v, %v", p, err)
		}
		if out := d.Run(m.T, nil, "ps", "-aq"); out != "" {
			m.Errorf("a plan made containers: %s", out)
		}
		m.install("web", "web.test", manifest)
		c := m.browser(netip.MustParseAddr("127.0.0.1"), nil)
		c.Transport = insecure(c)
		first, _, err := page(c, "https://web.test/index.html")
		if err != nil || !strings.HasPrefix(first, "release 1 for web.test ") {
			m.Fatalf("got %q, %v", first, err)
		}
		if p, err := m.client.PlanInstalledApp(m.ctx, "web"); err != nil || len(p.Steps)+len(p.Document) != 0 {
			m.Errorf("plan of what is there: %+v, %v", p, err)
		}
		p, err = m.client.PlanApp(m.ctx, "web", "", "test.yaml", []byte(strings.Replace(manifest, `release: "1"`, `release: "2"`, 1)))
		if steps := strings.Join(p.Steps, "\n"); err != nil || !strings.Contains(steps, "create platform-web-b") || !strings.Contains(steps, "remove platform-web-a") || len(p.Document) == 0 {
			m.Errorf("plan of an update: %+v, %v", p, err)
		}

		before := d.Run(m.T, nil, "network", "ls", "-q", "--filter", "label=platform.app") + d.Run(m.T, nil, "ps", "-aq")
		m.must(m.client.RepairApp(m.ctx, wire.Options{}, "web"))
		if a := m.settled("web"); a.State != "running" || a.Restarts != 0 {
			m.Errorf("after the repair: %+v", a)
		}
		after := d.Run(m.T, nil, "network", "ls", "-q", "--filter", "label=platform.app") + d.Run(m.T, nil, "ps", "-aq")
		for id := range strings.FieldsSeq(before) {
			if strings.Contains(after, id) {
				m.Errorf("%s was not made anew", id)
			}
		}
		m.until("it answers after the repair, with the secret that it had", func() bool {
			body, _, err := page(c, "https://web.test/index.html")
			return err == nil && body == first
		})

		m.exec("web", "", false, "/bin/busybox", "sh", "-c", "echo mine > /data/own")
		m.must(m.client.CloneApp(m.ctx, wire.Options{}, "web", "copy", "copy.test"))
		if a := m.settled("copy"); a.State != "running" {
			m.Fatalf("the copy: %+v", a)
		}
		second := ""
		m.until("both answer", func() bool {
			body, _, err := page(c, "https://copy.test/index.html")
			second = body
			one, _, err1 := page(c, "https://web.test/index.html")
			return err == nil && strings.HasPrefix(body, "release 1 for copy.test ") && err1 == nil && one == first
		})
		if strings.Fields(first)[4] == strings.Fields(second)[4] {
			m.Errorf("the copy has the secret of its original")
		}
		if out, _, _ := m.exec("copy", "", false, "/bin/busybox", "cat", "/data/own"); out != "mine\n" {
			m.Errorf("the data of the copy: %q", out)
		}
		if _, err := m.client.CloneApp(m.ctx, wire.Options{}, "web", "other", "web.test"); err == nil {
			m.Errorf("two apps have one domain")
		}
		if _, err := os.Stat(filepath.Join(m.data(), "apps/other")); !os.IsNotExist(err) {
			m.Errorf("a clone that was refused left data: %v", err)
		}
	})
}

// While an app is debugged another program runs in its place, the root file system is writable, all else is as it was, and
// nobody is led to it; start ends it.
func TestAppDebug(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.withApps()
		m.install("web", "web.test", web)
		m.must(m.client.DebugApp(m.ctx, wire.Options{}, "web", []string{"/bin/busybox", "sleep", "100000"}))
		if a := m.settled("web"); a.State != "debugging" {
			m.Fatalf("got %+v", a)
		}
		// The image's files are root's, and the app is not.
		if out, _, _ := m.exec("web", "", false, "/bin/busybox", "grep", " / ", "/proc/mounts"); !strings.Contains(out, " rw,") {
			m.Errorf("its root: %q", out)
		}
		for _, command := range [][]string{{"mount", "-t", "tmpfs", "x", "/tmp"}, {"ping", "-c1", "-W1", "127.0.0.1"}, {"unshare", "-U", "true"}} {
			if out, _, code := m.exec("web", "", false, append([]string{"/bin/busybox"}, command...)...); code == 0 {
				m.Errorf("%v: it could: %s", command, out)
			}
		}
		if out, _, _ := m.exec("web", "", false, "/bin/busybox", "cat", "/data/kept"); out != "first\n" {
			m.Errorf("its data: %q", out)
		}
		c := m.browser(netip.MustParseAddr("127.0.0.1"), nil)
		c.Transport = insecure(c)
		if _, resp, err := page(c, "https://web.test/"); err != nil || resp.StatusCode != 503 {
			m.Errorf("its route: %v, %v", resp, err)
		}
		if _, err := m.client.UpdateApp(m.ctx, wire.Options{}, "web", "test.yaml", []byte(web)); err == nil {
			m.Errorf("it was updated meanwhile")
		}
		m.must(m.client.TellApp(m.ctx, wire.Options{}, "web", "start"))
		if a := m.settled("web"); a.State != "running" {
			m.Errorf("after start: %+v", a)
		}
		if out, _, _ := m.exec("web", "", false, "/bin/busybox", "grep", " / ", "/proc/mounts"); !strings.Contains(out, " ro,") {
			m.Errorf("its root after start: %q", out)
		}
	})
}

// What a container wrote before it ended is shown before what the new one writes, and what an app uses is measured.
func TestAppLastWordsAndStats(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.withApps()
		m.install("web", "web.test", strings.Replace(web, "exec /bin/busybox httpd", "echo attempt; [ -e /data/crash ] && { rm /data/crash; echo last words; exit 3; }; exec /bin/busybox httpd", 1))
		m.exec("web", "", false, "/bin/busybox", "touch", "/data/crash")
		m.must(m.client.TellApp(m.ctx, wire.Options{}, "web", "restart"))
		var lines []string
		m.until("the last words are shown", func() bool {
			lines = nil
			for l, err := range m.client.AppLogs(m.ctx, "web", 100, false) {
				if err != nil {
					return false
				}
				lines = append(lines, l.Line)
			}
			return strings.Count(strings.Join(lines, "\n"), "attempt") == 3
		})
		whole := strings.Join(lines, "\n")
		if i, j := strings.Index(whole, "last words"), strings.LastIndex(whole, "attempt"); i < 0 || i > j || strings.Count(whole, "--- platform-web-a, until ") != 2 {
			m.Errorf("got %q", lines)
		}
		var stats []wire.AppSample
		m.until("it is measured", func() bool {
			var err error
			stats, err = m.client.AppStats(m.ctx, "web")
			return err == nil && len(stats) > 0
		})
		if s := stats[len(stats)-1]; s.Memory < 1<<12 || s.PIDs < 1 || s.CPU < 0 || s.CPU > 64 {
			m.Errorf("got %+v", s)
		}
	})
}

// Where the data would not fit on the disk, nothing is begun.
func TestAppsOnAFullDisk(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.withApps()
		dir := filepath.Join(m.data(), "apps")
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("disk", dir, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, "size=100m,mode=711"); err != nil {
			t.Fatal(err)
		}
		m.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		m.install("web", "web.test", web)
		// Twenty megabytes leave room for the host, and none for a copy of them.
		m.exec("web", "", false, "/bin/busybox", "dd", "if=/dev/zero", "of=/data/large", "bs=1M", "count=20")
		_, err := m.client.UpdateApp(m.ctx, wire.Options{}, "web", "test.yaml", []byte(strings.Replace(web, `release: "1"`, `release: "2"`, 1)))
		if p, ok := errors.AsType[*wire.Problem](err); !ok || p.Code != wire.CodeUnavailable || !strings.Contains(p.Error(), "are needed") {
			m.Errorf("an update: got %v", err)
		}
		m.exec("web", "", false, "/bin/busybox", "dd", "if=/dev/zero", "of=/data/larger", "bs=1M", "count=75")
		m.until("there is a condition", func() bool {
			all, err := m.client.Health(m.ctx)
			for _, c := range all {
				if c.ID == "apps-disk" {
					return err == nil
				}
			}
			return false
		})
		_, err = m.client.InstallApp(m.ctx, wire.Options{}, "two", "two.test", "test.yaml", []byte(web))
		if p, ok := errors.AsType[*wire.Problem](err); !ok || p.Code != wire.CodeUnavailable {
			m.Errorf("an installation: got %v", err)
		}
		m.exec("web", "", false, "/bin/busybox", "rm", "/data/large", "/data/larger")
		m.until("the condition ended", func() bool {
			all, err := m.client.Health(m.ctx)
			for _, c := range all {
				if c.ID == "apps-disk" {
					return false
				}
			}
			return err == nil
		})
		if a := m.settled("web"); a.State != "running" || a.Release != "1" {
			m.Errorf("afterwards: %+v", a)
		}
	})
}
