package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/apps/docker"
	"github.com/platformd/platformd/internal/document"
	"github.com/platformd/platformd/internal/nstest/dockerd"
	"github.com/platformd/platformd/internal/state"
)

// manyApps is how many are there while a pass with nothing to do is measured.
const manyApps = 100

const appManifest = `version: 1
id: web
image: busybox
http: {port: 8080}
entrypoint: [/bin/busybox, httpd, -f, -p, "8080", -h, /www]
health: {path: /index.html}
`

// appBench is an engine, and a platformd that looks after apps on it.
type appBench struct {
	b      *bench
	engine *dockerd.Engine
	daemon *exec.Cmd
	dir    string
}

func appsSection(b *bench) error {
	a, err := b.startApps()
	if a != nil {
		defer func() { err = errors.Join(err, a.stop()) }()
	}
	if err != nil {
		return err
	}
	if err := a.installs(); err != nil {
		return err
	}
	if err := a.reconciles(); err != nil {
		return err
	}
	b.note("Installing is `platformctl app install` of an image that is there, from the command to the app's first answer; it checks the manifest, stores a revision, puts the firewall and the route in force, makes network and container, starts it and asks it for a page. The peer is `docker network create` and `docker run -d`, which wait for no answer.")
	b.note("A pass with nothing to do is what `platformd` does when an engine says that something happened: three lists (containers, networks, volumes) however many apps there are, what the document means, and the difference.")
	return nil
}

func (b *bench) startApps() (*appBench, error) {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return nil, err
	}
	a := &appBench{b: b}
	if a.engine, err = dockerd.Start(); err != nil {
		return a, err
	}
	if a.dir, err = os.MkdirTemp(b.dir, "apps-"); err != nil {
		return a, err
	}
	if err := os.WriteFile(a.file("web.yaml"), []byte(appManifest), 0o644); err != nil {
		return a, err
	}
	log, err := os.Create(a.file("log"))
	if err != nil {
		return a, err
	}
	defer log.Close()
	a.daemon = exec.Command(b.file("bin/platformd"), "--data-dir", a.file("data"), "--socket", a.file("api.sock"), "--auth-log", a.file("auth.log"), "--docker-host", a.engine.Host())
	a.daemon.Stdout, a.daemon.Stderr = log, log
	if err := a.daemon.Start(); err != nil {
		return a, err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err = a.ctl("status", "--wait", "10s"); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err == nil {
		_, err = a.ctl("settings", "set", "apps.require_apparmor", "false")
	}
	return a, err
}

func (a *appBench) file(name string) string { return filepath.Join(a.dir, name) }

func (a *appBench) stop() error {
	if a.daemon != nil {
		end(a.daemon, 10*time.Second)
	}
	if a.engine == nil {
		return nil
	}
	return a.engine.Remove()
}

func (a *appBench) ctl(args ...string) (string, error) {
	cmd := exec.Command(a.b.file("bin/platformctl"), append([]string{"--socket", a.file("api.sock")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("platformctl %s: %w: %s", strings.Join(args[:min(2, len(args))], " "), err, out)
	}
	return string(out), err
}

// timed says how long something takes.
func timed(do func() error) (time.Duration, error) {
	start := time.Now()
	err := do()
	return time.Since(start), err
}

func (a *appBench) installs() error {
	var ours, peers, over []time.Duration
	for range a.b.rounds {
		o, err := timed(func() error {
			_, err := a.ctl("app", "install", a.file("web.yaml"), "--domain", "web.test")
			return err
		})
		if err == nil {
			_, err = a.ctl("app", "uninstall", "web", "--data")
		}
		if err != nil {
			return err
		}
		p, err := timed(func() error {
			_, err := a.engine.Run(nil, "network", "create", "peer")
			if err == nil {
				_, err = a.engine.Run(nil, "run", "-d", "--name", "peer", "--network", "peer", "busybox", "/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www")
			}
			return err
		})
		if err == nil {
			_, err = a.engine.Run(nil, "rm", "-f", "peer")
		}
		if err == nil {
			_, err = a.engine.Run(nil, "network", "rm", "peer")
		}
		if err != nil {
			return err
		}
		progress("apps: installed in %v, docker %v", o, p)
		ours, peers, over = append(ours, o), append(peers, p), append(over, o-p)
	}
	a.b.row(row{What: "install of an app whose image is there, until it answers", Ours: ms(median(ours)), Peer: "docker network create + docker run " + ms(median(peers)), Ratio: "+" + ms(median(over)),
		Target: "0.5 s more", Met: met(median(over) <= 500*time.Millisecond)})
	return nil
}

// reconciles puts many apps on the engine and measures a pass that finds nothing to do.
func (a *appBench) reconciles() error {
	n := manyApps
	if a.b.quick {
		n = 10
	}
	text, err := a.ctl("export", "--json")
	if err != nil {
		return err
	}
	var s state.State
	if err := document.Decode([]byte(text), "", &s); err != nil {
		return err
	}
	var m apps.Manifest
	if err := document.Decode([]byte(appManifest), "", &m); err != nil {
		return err
	}
	image, err := a.engine.Run(nil, "image", "inspect", "--format", "{{.Id}}", "busybox")
	if err != nil {
		return err
	}
	for i := range n {
		v := apps.Placeholder(m)
		v.ImageID, v.User = strings.TrimSpace(image), "10001:10001"
		s.Apps.Add(apps.App{Name: fmt.Sprintf("web%d", i), Domain: fmt.Sprintf("web%d.test", i), Current: v})
	}
	data, err := document.Encode(&s)
	if err == nil {
		err = os.WriteFile(a.file("many.yaml"), data, 0o644)
	}
	if err == nil {
		_, err = a.ctl("apply", "-f", a.file("many.yaml"))
	}
	if err != nil {
		return err
	}
	engine, err := docker.New(docker.Config{Host: a.engine.Host(), Folder: a.file("data/apps")})
	if err != nil {
		return err
	}
	defer engine.Close()
	pass := func() ([]apps.Step, error) {
		want := s.Apps.Compile(apps.Facts{})
		have, err := engine.Observe(context.Background())
		return apps.Diff(&want, &have), err
	}
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		steps, err := pass()
		if err != nil {
			return err
		}
		if len(steps) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d steps are still to be made, %v first", len(steps), steps[0])
		}
		progress("apps: %d steps to go", len(steps))
	}
	var took []time.Duration
	for range 10 * a.b.rounds {
		d, err := timed(func() error { _, err := pass(); return err })
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	a.b.row(row{What: fmt.Sprintf("pass over %d apps with nothing to do", n), Ours: ms(median(took)) + ", 3 requests to the engine", Target: "100 ms, no request for each container", Met: met(median(took) <= 100*time.Millisecond)})
	return nil
}
