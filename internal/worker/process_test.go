package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// waiting listens for the children that call.
func waiting(t *testing.T) (url string, next func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String() + "/", func() net.Conn {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		return c
	}
}

// gone waits until the process at the other end is gone.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a child is still there: %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	for _, mode := range []string{"hang", "hang-with-child"} {
		t.Run(mode, func(t *testing.T) {
			url, next := waiting(t)
			p := pool(t, mode)
			ctx, cancel := context.WithCancel(t.Context())
			conn := make(chan net.Conn)
			go func() {
				c := next()
				cancel()
				conn <- c
			}()
			if _, err := p.Run(ctx, Job{Kind: FetchFeed, Source: url}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
			gone(t, <-conn)
			if _, err := p.Run(ctx, Job{Kind: FetchFeed, Source: url}); !errors.Is(err, context.Canceled) {
				t.Errorf("canceled before: got %v", err)
			}
		})
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	url, next := waiting(t)
	parent := exec.Command("/proc/self/exe", "worker", "parent", "hang", url, t.TempDir())
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	c := next()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	gone(t, c)
}

func TestWeakInAUserNamespaceWithoutTheUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("8.8.8.8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command("/proc/self/exe", "worker", "parent", "outbound", path, t.TempDir())
	parent.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}}}
	out, err := parent.CombinedOutput()
	if want := "user 65534 is not in it"; err != nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "read 1") {
		t.Errorf("got %s %v, want %q", out, err, want)
	}
}

func TestWeakIsSaid(t *testing.T) {
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("8.8.8.8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{TempDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.Run(t.Context(), Job{Kind: FetchFeed, Source: path})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if !slices.ContainsFunc(res.Weak, func(s string) bool { return strings.Contains(s, "no unprivileged user is configured") }) || !strings.Contains(log.String(), "confined less") {
		t.Errorf("got weak %q, log %s", res.Weak, log.String())
	}
}

func TestMapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "uid_map")
	if err := os.WriteFile(path, []byte("         0       1000          1\n         5     100000         10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint32]bool{0: true, 1: false, 4: false, 5: true, 14: true, 15: false, nobody: false} {
		if got := mapped(path, id); got != want {
			t.Errorf("%d: got %v, want %v", id, got, want)
		}
	}
	if mapped("/nonexistent", 0) {
		t.Error("a map that is not there maps")
	}
}
