// Package sqlitetest gives the tests of the daemon's stores the faults that they must survive: a disk that is full, and a
// process that is killed while it writes. Both run the test again in a process of its own. Only tests import it.
package sqlitetest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const inside = "PLATFORM_SQLITETEST"

// SmallDisk runs fn with the path of an empty disk of size bytes: the test runs itself again in a mount namespace of its
// own, where a memory file system of that size is mounted.
func SmallDisk(t *testing.T, size int, fn func(dir string)) {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
			t.Fatalf("mount a disk of %d bytes: %v", size, err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		fn(dir)
		return
	}
	cmd := again(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")) {
		t.Fatalf("in a mount namespace: %v\n%s", err, out)
	}
}

// Fill leaves the disk that dir lies on without a free byte, until the function it returns is called.
func Fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	f, err := os.CreateTemp(dir, "filler")
	if err != nil {
		t.Fatal(err)
	}
	for chunk := 1 << 20; chunk > 0; {
		if _, err := f.Write(make([]byte, chunk)); errors.Is(err, unix.ENOSPC) {
			chunk /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Error(err)
		}
	}
}

// Killed runs the test again as a child. There, work is called and reports each thing that it was promised is on disk;
// the child is killed with SIGKILL after it has reported the given number, at whatever it does then. Killed returns what
// was reported in the parent, and does not return in the child. value is handed to the child's work.
func Killed(t *testing.T, after int, value string, work func(value string, report func(string))) []string {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		work(os.Getenv(inside+"_VALUE"), func(s string) {
			// One write each, past every buffer: what the parent has read was acknowledged.
			if _, err := os.Stdout.WriteString("ACK " + s + "\n"); err != nil {
				os.Exit(1)
			}
		})
		os.Exit(3) // work goes on until it is killed; that it ended is a mistake
	}
	cmd := again(t)
	cmd.Env = append(cmd.Env, inside+"_VALUE="+value)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acked, other []string
	lines := bufio.NewScanner(io.Reader(pipe))
	for lines.Scan() {
		ack, ok := strings.CutPrefix(lines.Text(), "ACK ")
		if !ok {
			other = append(other, lines.Text())
			continue
		}
		if acked = append(acked, ack); len(acked) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() || len(acked) < after {
		t.Fatalf("child ended with %v after %d of %d reports, not killed\n%s\n%s", err, len(acked), after, strings.Join(other, "\n"), stderr.String())
	}
	return acked
}

func again(t *testing.T) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(t.Name(), "/") {
		t.Fatal("only a top-level test can be run again in a process of its own")
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	// A killed child cannot remove its files; they lie below ours.
	cmd.Env = append(os.Environ(), inside+"="+t.Name(), "TMPDIR="+t.TempDir())
	return cmd
}
