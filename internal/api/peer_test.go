package api

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/api/wire"
)

func TestActor(t *testing.T) {
	proc := t.TempDir()
	for pid, login := range map[string]string{"1": "4294967295", "2": "0", "3": "65534", "4": "what"} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "loginuid"), []byte(login+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		pid  int
		uid  uint32
		want string
	}{{1, 0, "root"}, {2, 0, "root"}, {3, 0, "nobody (sudo)"}, {4, 0, "root"}, {5, 0, "root"}, {3, 65534, "nobody"}, {3, 4_000_000, "uid 4000000"}} {
		if got := actor(proc, tc.pid, tc.uid); got != tc.want {
			t.Errorf("pid %d, uid %d: got %q, want %q", tc.pid, tc.uid, got, tc.want)
		}
	}
}

func TestMayTalk(t *testing.T) {
	if err := mayTalk(&unix.Ucred{}); err != nil {
		t.Errorf("root: got %v", err)
	}
	for uid, says := range map[uint32]string{65534: `user "nobody": only root and the members of group "platform"`, 4_000_000: "user 4000000: is not known here"} {
		if err := mayTalk(&unix.Ucred{Uid: uid, Gid: 4_000_000}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("uid %d: got %v, want %q", uid, err, says)
		}
	}
}

// The kernel's word counts, whatever the mode of the socket is.
func TestStrangersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to become somebody else")
	}
	name := "@platformd-api-test-" + filepath.Base(t.TempDir()) + t.Name()
	l, err := net.Listen("unix", name) // in the abstract namespace there are no modes at all
	if err != nil {
		t.Fatal(err)
	}
	s, handler := newServer(t.Context(), &fakeHost{}, ServerConfig{})
	srv := &http.Server{Handler: handler, ConnContext: s.connContext}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()

	conns, errs := make(chan net.Conn, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread that is nobody ends here
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
			errs <- e
			return
		}
		c, err := net.Dial("unix", name)
		if err != nil {
			errs <- err
			return
		}
		conns <- c
	}()
	var c net.Conn
	select {
	case err := <-errs:
		t.Fatal(err)
	case c = <-conns:
	}
	defer c.Close()
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}}
	resp, err := client.Get("http://platformd/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p wire.Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != 403 || p.Code != wire.CodeForbidden || !strings.Contains(p.Detail, "nobody") {
		t.Errorf("got %d %+v, %v, want 403", resp.StatusCode, p, err)
	}
}
