package worker

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unexpected is a system call that no proxy makes, and that does no harm: personality(2) with an argument that only asks.
const unexpected, onlyAsk = unix.SYS_PERSONALITY, 0xffffffff

// tracing in the environment makes TestSeccompModes the tracer of a process. That has to be another process than its parent, to
// which the kernel would report the same stops.
const tracing = "WORKER_TEST_TRACE"

// makes has a process make the unexpected call, as somebody would who has taken it over, and gives what the kernel answered. ended
// is the signal that the process died of instead.
func makes(t *testing.T, pid int) (answer int64, ended unix.Signal) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestSeccompModes$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", tracing, pid))
	out, err := cmd.CombinedOutput()
	if _, scanErr := fmt.Sscanf(string(out), "answer %d signal %d", &answer, &ended); err != nil || scanErr != nil {
		t.Fatalf("trace the worker: %v, %v: %s", err, scanErr, out)
	}
	return answer, ended
}

// trace does it by ptrace(2), on the first thread, which waits in a system call nearly always.
func trace(t *testing.T, pid int, call, arg uint64) (answer int64, ended unix.Signal) {
	t.Helper()
	runtime.LockOSThread() // ptrace is of one thread
	defer runtime.UnlockOSThread()
	for deadline := time.Now().Add(30 * time.Second); ; {
		var state unix.WaitStatus
		if err := unix.PtraceAttach(pid); err != nil {
			t.Fatalf("attach to the worker: %v", err)
		}
		await := func(want unix.Signal, again func(pid, signal int) error) {
			t.Helper()
			for {
				if _, err := unix.Wait4(pid, &state, unix.WALL, nil); err != nil {
					t.Fatal(err)
				}
				if !state.Stopped() || state.StopSignal() == want {
					return
				}
				if err := again(pid, int(state.StopSignal())); err != nil { // one of the runtime's own came first
					t.Fatal(err)
				}
			}
		}
		await(unix.SIGSTOP, unix.PtraceCont)
		var was unix.PtraceRegs
		if err := unix.PtraceGetRegs(pid, &was); err != nil {
			t.Fatal(err)
		}
		code := make([]byte, 2)
		_, err := unix.PtracePeekText(pid, uintptr(was.Rip-2), code)
		if err != nil || !bytes.Equal(code, []byte{0x0f, 0x05}) { // SYSCALL
			if err := unix.PtraceDetach(pid); err != nil || time.Now().After(deadline) {
				t.Fatalf("the worker's first thread is in no system call: %v", err)
			}
			continue
		}
		now := was
		now.Rip, now.Rax, now.Orig_rax, now.Rdi = was.Rip-2, call, ^uint64(0), arg
		if err := unix.PtraceSetRegs(pid, &now); err != nil {
			t.Fatal(err)
		}
		if err := unix.PtraceSingleStep(pid); err != nil {
			t.Fatal(err)
		}
		await(unix.SIGTRAP, func(pid, _ int) error { return unix.PtraceSingleStep(pid) })
		if state.Signaled() {
			return 0, state.Signal()
		}
		if err := unix.PtraceGetRegs(pid, &now); err != nil {
			t.Fatal(err)
		}
		answer = int64(now.Rax)
		if err := unix.PtraceSetRegs(pid, &was); err != nil {
			t.Fatal(err)
		}
		if err := unix.PtraceDetach(pid); err != nil {
			t.Fatal(err)
		}
		return answer, 0
	}
}

// auditLog gives the kernel's own records from now on.
func auditLog(t *testing.T) func(want string) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_AUDIT)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}) // AUDIT_NLGRP_READLOG
	}
	if err != nil {
		t.Fatalf("listen to the kernel's audit records: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	b := make([]byte, 16<<10)
	return func(want string) bool {
		n, _, err := unix.Recvfrom(fd, b, 0)
		return err == nil && strings.Contains(string(b[:n]), want)
	}
}

// What happens to a system call that a proxy does not make: it is made and logged, fails, or ends the process. In each mode
// the proxy serves; without a filter the call is simply made.
func TestSeccompModes(t *testing.T) {
	if pid, err := strconv.Atoi(os.Getenv(tracing)); err == nil {
		answer, ended := trace(t, pid, unexpected, onlyAsk)
		fmt.Printf("answer %d signal %d\n", answer, ended)
		return
	}
	for _, mode := range []string{"off", "log", "filter", "strict"} {
		t.Run(mode, func(t *testing.T) {
			s := newWebSite(t)
			s.cfg.Seccomp = func() string { return mode }
			b := backend(t)
			p := s.start(b.URL)
			if got, err := say(s.client(true)); got != "hello" {
				t.Fatalf("got %q, %v", got, err)
			}
			pid, err := strconv.Atoi(s.pid())
			if err != nil {
				t.Fatal(err)
			}
			logged := auditLog(t)
			answer, ended := makes(t, pid)
			record := fmt.Sprintf("pid=%d ", pid)
			switch mode {
			case "off", "log":
				if answer < 0 || ended != 0 {
					t.Errorf("the call got %d, and the process signal %v", answer, ended)
				}
			case "filter":
				if answer != -int64(unix.EPERM) || ended != 0 {
					t.Errorf("the call got %d, and the process signal %v", answer, ended)
				}
			case "strict":
				if ended != unix.SIGSYS {
					t.Errorf("the call got %d, and the process signal %v", answer, ended)
				}
				<-p.Gone()
				p = s.start(b.URL)
			}
			if mode == "log" || mode == "strict" {
				s.until("the kernel has noted the call", func() bool { return logged(record) })
			}
			// Whatever became of it, the proxy serves, by the next worker where that had to be.
			if got, err := say(s.client(true)); got != "hello" {
				t.Errorf("after it: got %q, %v", got, err)
			}
			if st, err := p.Status(t.Context()); err != nil || strings.Contains(fmt.Sprint(st.Weak), "every system call") != (mode == "off" || mode == "log") {
				t.Errorf("the worker says of itself %q, %v", st.Weak, err)
			}
			if want := map[bool]string{true: "\nSeccomp:\t0\n", false: "\nSeccomp:\t2\n"}[mode == "off"]; !strings.Contains(s.process(), want) {
				t.Errorf("the kernel does not say %q", want)
			}
		})
	}
}
