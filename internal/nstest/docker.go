package nstest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Docker is a Docker engine in the host of a topology, with folders of its own. It knows the image "busybox" and reaches no
// registry.
type Docker struct {
	tp     *Topology
	dir    string
	cgroup string
	cmd    *exec.Cmd
	log    bytes.Buffer
	client string
}

// StartDocker starts an engine that publishes ports for IPv4 and IPv6 with packet filter rules alone, and removes all of it
// when the test ends. It fails the test where Docker is not installed.
func (tp *Topology) StartDocker(t testing.TB) *Docker {
	t.Helper()
	if err := Check(); err != nil {
		t.Fatalf("nstest: %v", err)
	}
	d := &Docker{tp: tp, cgroup: fmt.Sprintf("/nstest-%d", time.Now().UnixNano())}
	for _, p := range []string{"dockerd", "docker", "busybox"} {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatalf("nstest: %v; install %s", err, debianPackage(p))
		}
		if p == "docker" {
			d.client = path
		}
	}
	var err error
	if d.dir, err = os.MkdirTemp("", "nstest-docker-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.remove(t) })
	d.start(t)
	d.Run(t, busyboxImage(t), "import", "-", "busybox")
	return d
}

func (d *Docker) start(t testing.TB) {
	t.Helper()
	d.cmd = exec.Command("dockerd", "--data-root", d.dir+"/data", "--exec-root", d.dir+"/exec", "-H", "unix://"+d.dir+"/sock",
		"--pidfile", d.dir+"/pid", "--storage-driver", "vfs", "--cgroup-parent", d.cgroup, "--userland-proxy=false",
		"--ipv6", "--fixed-cidr-v6", "fd00:d0c::/64", "--experimental", "--ip6tables")
	d.cmd.Stdout, d.cmd.Stderr = &d.log, &d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("start dockerd: %v", err)
	}
	for range 600 {
		if exec.Command(d.client, "-H", "unix://"+d.dir+"/sock", "version").Run() == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.Stop(t)
	t.Fatalf("dockerd does not answer after 30 s:\n%s", d.log.String())
}

// Run runs the docker client and returns what it says; an error fails the test.
func (d *Docker) Run(t testing.TB, stdin []byte, args ...string) string {
	t.Helper()
	return d.tp.Exec(t, string(stdin), d.client, append([]string{"-H", "unix://" + d.dir + "/sock"}, args...)...)
}

// Host is where the engine listens, as DOCKER_HOST.
func (d *Docker) Host() string { return "unix://" + d.dir + "/sock" }

// Try runs the docker client; what goes wrong is for the caller to judge.
func (d *Docker) Try(args ...string) (string, error) {
	out, err := exec.Command(d.client, append([]string{"-H", d.Host()}, args...)...).CombinedOutput()
	return string(out), err
}

// Stop ends the engine, and with it its containers.
func (d *Docker) Stop(t testing.TB) {
	t.Helper()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- d.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		_ = d.cmd.Process.Kill()
		<-done
	}
	d.cmd = nil
}

// Restart stops and starts the engine; containers are stopped then.
func (d *Docker) Restart(t testing.TB) {
	t.Helper()
	d.Stop(t)
	d.start(t)
}

// remove leaves no process, mount, folder or cgroup behind.
func (d *Docker) remove(t testing.TB) {
	d.Stop(t)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
	}
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 4 && strings.HasPrefix(f[4], d.dir) {
			_ = unix.Unmount(f[4], unix.MNT_DETACH)
		}
	}
	if err := os.RemoveAll(d.dir); err != nil {
		t.Errorf("remove %s: %v", d.dir, err)
	}
	found, _ := filepath.Glob("/sys/fs/cgroup/*" + d.cgroup) // version 1
	found = append(found, "/sys/fs/cgroup"+d.cgroup)         // version 2
	for _, root := range found {
		var dirs []string
		_ = filepath.WalkDir(root, func(p string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		sort.Sort(sort.Reverse(sort.StringSlice(dirs)))
		for _, p := range dirs {
			if err := os.Remove(p); err != nil {
				t.Errorf("remove cgroup: %v", err)
			}
		}
	}
}

// busyboxImage is a root file system with busybox in it, and a page for its web server.
func busyboxImage(t testing.TB) []byte {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, dir := range []string{"bin/", "www/", "etc/"} {
		if err := w.WriteHeader(&tar.Header{Name: dir, Mode: 0o755, Typeflag: tar.TypeDir}); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []struct {
		name string
		mode int64
		body []byte
	}{
		{"bin/busybox", 0o755, program}, {"www/index.html", 0o644, []byte("hello\n")},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/bin/sh\n")}, {"etc/group", 0o644, []byte("root:x:0:\n")},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
