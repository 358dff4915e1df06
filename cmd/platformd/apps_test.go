package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
)

// withApps starts platformd again, with the proxy, on an engine of its own that has the image "busybox".
func (m *machine) withApps() *nstest.Docker {
	m.Helper()
	d := m.StartDocker(m.T)
	m.Cleanup(func() { _ = unix.Unmount(filepath.Join(m.data(), "apps"), unix.MNT_DETACH) }) // mounted while an app was there
	m.kill(syscall.SIGTERM)
	m.args = append(m.args, "--http", ":80", "--https", ":443", "--docker-host", d.Host())
	m.start()
	m.must(m.client.Set(m.ctx, wire.Options{}, "apps.require_apparmor", "false"))
	return d
}

// web is a manifest of a web server that says what its page is told to, in a folder that it keeps.
const web = `version: 1
id: web
release: "1"
image: busybox
http: {port: 8080}
entrypoint: [/bin/busybox, sh, -c]
command: ['echo "release 1 $WORD" > /tmp/index.html; [ -e /data/kept ] || echo first > /data/kept; exec /bin/busybox httpd -f -p 8080 -h /tmp']
env: {WORD: "for ${domain}"}
data: [{name: data, path: /data}]
health: {path: /index.html, statuses: [200], interval: 1s, grace: 20s}
`

func (m *machine) install(name, domain, manifest string) wire.App {
	m.Helper()
	m.Cleanup(func() {
		if m.Failed() {
			m.Logf("%+v", m.events(name))
		}
	})
	m.must(m.client.InstallApp(m.ctx, wire.Options{}, name, domain, "test.yaml", []byte(manifest)))
	return m.settled(name)
}

// events are what happened to an app until now.
func (m *machine) events(name string) (out []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for e := range m.client.FollowApp(ctx, name, 0) {
		out = append(out, fmt.Sprintf("%s %s %s\n", e.At.Format("05.000"), e.State, e.Text))
	}
	return out
}

// settled waits until the keeper is done with an app.
func (m *machine) settled(name string) (out wire.App) {
	m.Helper()
	m.until("app "+name+" is settled", func() bool {
		a, err := m.client.App(m.ctx, name)
		out = a
		return err == nil && a.Settled
	})
	return out
}

// An app is installed from its manifest, answers through the proxy, survives the daemon, is stopped, started, made anew when
// somebody removes its container, and leaves nothing behind but its data.
func TestAppLifecycle(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		d := m.withApps()
		if a := m.install("web", "web.test", web); a.State != "running" || a.User != "10001:10001" {
			m.Fatalf("got %+v", a)
		}
		c := m.browser(netip.MustParseAddr("127.0.0.1"), nil)
		c.Transport = insecure(c)
		serves := func(want string) func() bool {
			return func() bool {
				body, _, err := page(c, "https://web.test/index.html")
				return err == nil && body == want
			}
		}
		m.until("the app answers through the proxy", serves("release 1 for web.test\n"))
		kept := filepath.Join(m.data(), "apps/web/data/1/data/kept")
		if b, err := os.ReadFile(kept); err != nil || string(b) != "first\n" {
			m.Errorf("its data: %q, %v", b, err)
		}
		for what, args := range map[string][]string{
			"its root is read-only":          {"exec", "platform-web-a", "/bin/busybox", "touch", "/bin/x"},
			"it cannot make a raw socket":    {"exec", "platform-web-a", "/bin/busybox", "ping", "-c1", "-W1", "127.0.0.1"},
			"it cannot mount":                {"exec", "platform-web-a", "/bin/busybox", "mount", "-t", "tmpfs", "x", "/tmp"},
			"it cannot make a new sandbox":   {"exec", "platform-web-a", "/bin/busybox", "unshare", "-U", "true"},
			"it cannot become somebody else": {"exec", "platform-web-a", "/bin/busybox", "chown", "0", "/data/kept"},
		} {
			if out, err := d.Try(args...); err == nil {
				m.Errorf("%s: not so: %s", what, out)
			}
		}
		for _, flag := range []string{"nosuid", "nodev"} {
			if out, err := d.Try("exec", "platform-web-a", "/bin/busybox", "grep", " /data .*"+flag, "/proc/self/mountinfo"); err != nil {
				m.Errorf("its data is mounted without %s: %s", flag, out)
			}
		}
		m.kill(syscall.SIGKILL)
		m.until("it answers without the daemon", serves("release 1 for web.test\n"))
		d.Run(m.T, nil, "rm", "-f", "platform-web-a")
		m.start()
		m.until("what was removed by hand is made anew", serves("release 1 for web.test\n"))
		d.Run(m.T, nil, "kill", "platform-web-a")
		m.until("what ended is started again", serves("release 1 for web.test\n"))

		m.must(m.client.TellApp(m.ctx, wire.Options{}, "web", "stop"))
		m.until("it is stopped", func() bool {
			a, err := m.client.App(m.ctx, "web")
			return err == nil && a.Settled && a.State == "stopped"
		})
		if _, resp, err := page(c, "https://web.test/"); err != nil || resp.StatusCode != 503 {
			m.Errorf("while it is stopped: got %v, %v", resp, err)
		}
		m.must(m.client.TellApp(m.ctx, wire.Options{}, "web", "start"))
		m.until("it is started", serves("release 1 for web.test\n"))

		m.must(m.client.UninstallApp(m.ctx, wire.Options{}, "web", false))
		m.until("nothing of it is left in the engine", func() bool {
			return d.Run(m.T, nil, "ps", "-aq", "--filter", "label=platform.app")+d.Run(m.T, nil, "network", "ls", "-q", "--filter", "label=platform.app")+
				d.Run(m.T, nil, "volume", "ls", "-q", "--filter", "label=platform.app") == ""
		})
		if b, err := os.ReadFile(kept); err != nil || string(b) != "first\n" {
			m.Errorf("its data after it was uninstalled: %q, %v", b, err)
		}
		if _, resp, err := page(c, "https://web.test/"); err != nil || resp.StatusCode != 404 {
			m.Errorf("after it was uninstalled: got %v, %v", resp, err)
		}
		m.install("web", "web.test", web)
		m.must(m.client.UninstallApp(m.ctx, wire.Options{}, "web", true))
		if _, err := os.Stat(filepath.Join(m.data(), "apps/web")); !os.IsNotExist(err) {
			m.Errorf("its data is still there: %v", err)
		}
	})
}

// A version that becomes healthy takes the place of the one before, on a copy of its data; one that does not leaves the one
// before as it was; and rollback goes back.
func TestAppUpdate(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.withApps()
		m.install("web", "web.test", web)
		c := m.browser(netip.MustParseAddr("127.0.0.1"), nil)
		c.Transport = insecure(c)
		expect := func(want string) {
			m.Helper()
			m.until("it says "+want, func() bool {
				body, _, err := page(c, "https://web.test/index.html")
				return err == nil && body == want+" for web.test\n"
			})
		}
		expect("release 1")
		second := strings.NewReplacer("release 1", "release 2", `release: "1"`, `release: "2"`, "echo first", "echo second", "[ -e /data/kept ] ||", "").Replace(web)
		m.must(m.client.UpdateApp(m.ctx, wire.Options{}, "web", "test.yaml", []byte(second)))
		if a := m.settled("web"); a.State != "running" || a.Release != "2" || a.Previous != "1" {
			m.Fatalf("after the update: %+v", a)
		}
		expect("release 2")
		data := func(n, want string) {
			m.Helper()
			if b, err := os.ReadFile(filepath.Join(m.data(), "apps/web/data", n, "data/kept")); err != nil || string(b) != want {
				m.Errorf("data %s: got %q, %v; want %q", n, b, err, want)
			}
		}
		data("1", "first\n")
		data("2", "second\n")

		bad := strings.NewReplacer("release 2", "release 3", `release: "2"`, `release: "3"`, "echo second", "echo broken", "exec /bin/busybox httpd", "exit 7; ").Replace(second)
		m.must(m.client.UpdateApp(m.ctx, wire.Options{}, "web", "test.yaml", []byte(bad)))
		if a := m.settled("web"); a.State != "running" || a.Release != "2" || a.Next != "" || !strings.Contains(a.UpdateFailed, "status 7") {
			m.Fatalf("after the update that failed: %+v", a)
		}
		expect("release 2")
		data("2", "second\n")
		found, err := m.client.Activity(m.ctx, wire.ActivityFilter{Action: "app-update-failed"})
		if err != nil || len(found) != 1 || !strings.Contains(found[0].Message, "status 7") {
			m.Errorf("the record of the failure: %+v, %v", found, err)
		}

		m.must(m.client.RollbackApp(m.ctx, wire.Options{}, "web", false))
		if a := m.settled("web"); a.State != "running" || a.Release != "1" || a.Previous != "2" {
			m.Fatalf("after the rollback: %+v", a)
		}
		expect("release 1")
		data("3", "first\n")
	})
}

// A daemon that is killed at any step of an update goes on with it when it comes back: there is always one whole version.
func TestAppUpdateKilledAtEveryStep(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		d := m.withApps()
		m.install("web", "web.test", web)
		c := m.browser(netip.MustParseAddr("127.0.0.1"), nil)
		c.Transport = insecure(c)
		release := func(n int) string {
			return strings.NewReplacer("release 1", fmt.Sprintf("release %d", n), `release: "1"`, fmt.Sprintf(`release: "%d"`, n)).Replace(web)
		}
		for step := 1; ; step++ {
			from := m.lastEvent("web")
			m.must(m.client.UpdateApp(m.ctx, wire.Options{}, "web", "test.yaml", []byte(release(step+1))))
			reached := m.atEvent("web", from, step)
			m.kill(syscall.SIGKILL)
			m.start()
			if a := m.settled("web"); a.State != "running" || a.Release != fmt.Sprint(step+1) || a.Next != "" {
				t.Fatalf("killed at %q: %+v", reached, a)
			}
			want := fmt.Sprintf("release %d for web.test\n", step+1)
			m.until("it says "+want, func() bool { body, _, err := page(c, "https://web.test/index.html"); return err == nil && body == want })
			if n := strings.Count(d.Run(m.T, nil, "ps", "-aq", "--filter", "label=platform.app"), "\n"); n != 1 {
				t.Errorf("killed at %q: %d containers are there", reached, n)
			}
			kept, err := filepath.Glob(filepath.Join(m.data(), "apps/web/data/*"))
			if err != nil || len(kept) != 2 {
				t.Errorf("killed at %q: data %v, %v; want that of the version and of the one before", reached, kept, err)
			}
			if reached == "running" {
				return
			}
		}
	})
}

// lastEvent is the number of the newest event of an app.
func (m *machine) lastEvent(name string) (last int64) {
	ctx, cancel := context.WithTimeout(m.ctx, time.Second)
	defer cancel()
	for e := range m.client.FollowApp(ctx, name, 0) {
		last = e.Seq
	}
	return last
}

// atEvent waits until an app has so many events behind a number, or runs, and says which the last one was.
func (m *machine) atEvent(name string, after int64, n int) string {
	ctx, cancel := context.WithTimeout(m.ctx, 30*time.Second)
	defer cancel()
	for e, err := range m.client.FollowApp(ctx, name, after) {
		if err != nil {
			m.Fatal(err)
		}
		if e.State == "running" {
			return "running"
		}
		if n--; n == 0 {
			return e.Text
		}
	}
	m.Fatalf("app %s has no %d more events", name, n)
	return ""
}

// Where two versions may share their data, an update fails none of ten thousand requests.
func TestAppUpdateWithoutPause(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.withApps()
		first := web + "overlap: true\n"
		m.install("web", "web.test", first)
		c := m.browser(netip.MustParseAddr("127.0.0.1"), nil)
		c.Transport = insecure(c)
		var done atomic.Int64
		var failed sync.Map
		ctx, stop := context.WithCancel(m.ctx)
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for ctx.Err() == nil {
					body, resp, err := page(c, "https://web.test/index.html")
					if err != nil || resp.StatusCode != 200 || !strings.HasSuffix(body, " for web.test\n") {
						failed.Store(fmt.Sprint(err, resp, body), done.Load())
					}
					done.Add(1)
				}
			})
		}
		second := strings.NewReplacer("release 1", "release 2", `release: "1"`, `release: "2"`).Replace(first)
		m.must(m.client.UpdateApp(m.ctx, wire.Options{}, "web", "test.yaml", []byte(second)))
		if a := m.settled("web"); a.State != "running" || a.Release != "2" {
			t.Errorf("got %+v", a)
		}
		m.until("ten thousand requests were made", func() bool { return done.Load() >= 10_000 })
		stop()
		clients.Wait()
		failed.Range(func(why, at any) bool { t.Errorf("request %v: %v", at, why); return true })
		if body, _, err := page(c, "https://web.test/index.html"); body != "release 2 for web.test\n" {
			t.Errorf("got %q, %v", body, err)
		}
	})
}
