// Package dockerd runs a Docker engine with folders and control groups of its own, in the network namespace of its caller,
// and leaves nothing behind.
//
// It is for tests and for the bench, which have no registry: the one image that it knows is "busybox", made of the program
// of that name on this machine. Its caller has to be in namespaces of its own; nothing here looks after that.
package dockerd

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Engine is a Docker engine. Its methods are not safe for concurrent use, but Run is.
type Engine struct {
	dir    string
	cgroup string
	client string
	cmd    *exec.Cmd
	log    bytes.Buffer
}

// Start makes an engine that publishes ports for IPv4 and IPv6 with packet filter rules alone, and waits until it answers.
// Remove has to be called, also after an error where an Engine is given.
func Start() (*Engine, error) {
	e := &Engine{cgroup: fmt.Sprintf("/nstest-%d", time.Now().UnixNano())}
	for _, p := range []string{"dockerd", "docker", "busybox"} {
		path, err := exec.LookPath(p)
		if err != nil {
			return nil, fmt.Errorf("%w; install docker.io and busybox-static", err)
		}
		if p == "docker" {
			e.client = path
		}
	}
	image, err := busybox()
	if err != nil {
		return nil, err
	}
	if e.dir, err = os.MkdirTemp("", "nstest-docker-"); err != nil {
		return nil, err
	}
	if err := e.start(); err != nil {
		return e, err
	}
	_, err = e.Run(image, "import", "-", "busybox")
	return e, err
}

// Host is where the engine listens, as DOCKER_HOST.
func (e *Engine) Host() string { return "unix://" + e.dir + "/sock" }

// Run runs the docker client and returns what it says.
func (e *Engine) Run(stdin []byte, args ...string) (string, error) {
	cmd := exec.Command(e.client, append([]string{"-H", e.Host()}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (e *Engine) start() error {
	e.cmd = exec.Command("dockerd", "--data-root", e.dir+"/data", "--exec-root", e.dir+"/exec", "-H", e.Host(),
		"--pidfile", e.dir+"/pid", "--storage-driver", "vfs", "--cgroup-parent", e.cgroup, "--userland-proxy=false",
		"--ipv6", "--fixed-cidr-v6", "fd00:d0c::/64", "--experimental", "--ip6tables")
	e.cmd.Stdout, e.cmd.Stderr = &e.log, &e.log
	if err := e.cmd.Start(); err != nil {
		e.cmd = nil
		return fmt.Errorf("start dockerd: %w", err)
	}
	for range 600 {
		if _, err := e.Run(nil, "version"); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	e.Stop()
	return fmt.Errorf("dockerd does not answer after 30 s:\n%s", e.log.String())
}

// Stop ends the engine, and with it its containers.
func (e *Engine) Stop() {
	if e.cmd == nil {
		return
	}
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- e.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		_ = e.cmd.Process.Kill()
		<-done
	}
	e.cmd = nil
}

// Restart stops and starts the engine; containers are stopped then.
func (e *Engine) Restart() error {
	e.Stop()
	return e.start()
}

// Remove leaves no process, mount, folder or control group behind.
func (e *Engine) Remove() error {
	e.Stop()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	errs := []error{err}
	lines := strings.Split(string(mounts), "\n")
	for _, line := range slices.Backward(lines) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], e.dir) {
			_ = unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
	errs = append(errs, os.RemoveAll(e.dir))
	found, _ := filepath.Glob("/sys/fs/cgroup/*" + e.cgroup) // version 1
	found = append(found, "/sys/fs/cgroup"+e.cgroup)         // version 2
	for _, root := range found {
		var dirs []string
		_ = filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		for _, p := range slices.Backward(slices.Sorted(slices.Values(dirs))) {
			errs = append(errs, os.Remove(p))
		}
	}
	return errors.Join(errs...)
}

// busybox is a root file system with busybox in it, and a page for its web server.
func busybox() ([]byte, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		name string
		mode int64
		body []byte
	}{
		{"bin/", 0o755, nil}, {"www/", 0o755, nil}, {"etc/", 0o755, nil},
		{"bin/busybox", 0o755, program}, {"www/index.html", 0o644, []byte("hello\n")},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/bin/sh\n")}, {"etc/group", 0o644, []byte("root:x:0:\n")},
	} {
		kind := byte(tar.TypeReg)
		if strings.HasSuffix(f.name, "/") {
			kind = tar.TypeDir
		}
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.body)), Typeflag: kind}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), w.Close()
}
