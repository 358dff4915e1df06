package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/platformd/platformd/apps/compose"
	"github.com/platformd/platformd/apps/compose/report"
	"github.com/platformd/platformd/internal/nstest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"platformctl": main, report.Program: func() {
		if err := compose.Serve(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
	}})
}

// TestScripts runs each script of testdata in network, mount and process namespaces of its own, against the real daemon.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("got %d scripts, %v", len(scripts), err)
	}
	daemon := buildDaemon(t)
	for _, file := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			nstest.Run(t, func(t *testing.T) {
				nstest.Enter(t)
				testscript.Run(t, testscript.Params{
					Files:    []string{file},
					Deadline: time.Now().Add(3 * time.Minute), // a script that waits for what never comes ends, and says where
					Setup: func(e *testscript.Env) error {
						e.Setenv("PLATFORM_SOCKET", filepath.Join(e.WorkDir, "api.sock"))
						e.Setenv("TZ", "UTC")
						e.Values[daemonKey{}] = &daemonProcess{program: daemon, dir: e.WorkDir}
						return nil
					},
					Cmds: map[string]func(*testscript.TestScript, bool, []string){"daemon": daemonCommand, "exits": exitsCommand},
				})
			})
		})
	}
}

// built names the daemon for the processes in the namespaces, which run the same test binary again.
const built = "PLATFORMCTL_TEST_DAEMON"

// buildDaemon makes the program under test, once.
func buildDaemon(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(built); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "platformd")
	build := exec.Command("go", "build", "-o", path, "../platformd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build platformd: %v\n%s", err, out)
	}
	t.Setenv(built, path)
	return path
}

type daemonKey struct{}

// daemonProcess is the daemon of one script.
type daemonProcess struct {
	program, dir string
	cmd          *exec.Cmd
}

// daemonCommand is "daemon start [FLAG ...]", "daemon stop" and "daemon kill".
func daemonCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: daemon start|stop|kill")
	}
	d := ts.Value(daemonKey{}).(*daemonProcess)
	if args[0] != "start" {
		signal := map[string]syscall.Signal{"stop": syscall.SIGTERM, "kill": syscall.SIGKILL}[args[0]]
		ts.Check(d.cmd.Process.Signal(signal))
		err := d.cmd.Wait()
		if args[0] == "stop" {
			ts.Check(err)
		}
		return
	}
	log, err := os.OpenFile(filepath.Join(d.dir, "platformd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	d.cmd = exec.Command(d.program, append([]string{"--data-dir", filepath.Join(d.dir, "data"), "--socket", ts.Getenv("PLATFORM_SOCKET")}, args[1:]...)...)
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = d.dir, log, log
	ts.Check(d.cmd.Start())
	cmd := d.cmd
	ts.Defer(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	ts.Check(ts.Exec("platformctl", "status", "--wait", "30s"))
}

// exitsCommand is "exits CODE COMMAND [ARG ...]": the command must end with that code.
func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG ...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}
