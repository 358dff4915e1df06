package main

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/proxy"
)

// signal sends a signal to a process that this test has started through platformd.
func (m *machine) signal(pid int, sig syscall.Signal) {
	m.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		m.Fatal(err)
	}
}

// alive reports whether a process runs; one that nobody has buried yet does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// served asks over a connection of its own, and reports whether the back end has answered.
func (m *machine) served() bool {
	c := m.browser(netip.MustParseAddr("127.0.0.1"), nil)
	c.Timeout = 2 * time.Second
	defer c.CloseIdleConnections()
	body, _, err := page(c, "http://a.test/")
	return err == nil && body == "hello 127.0.0.1"
}

// A worker that is stopped is found out and killed, and the next one serves on the same sockets; platformctl status and the log
// say so. A daemon that stood still itself takes no worker for hung, and one that starts beside a worker that is stopped gets
// its sockets.
func TestHungWorkerIsReplaced(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		backend := m.withProxy()
		m.kill(syscall.SIGTERM)
		m.args = append(m.args, "--proxy-patience", "3s")
		m.start()
		m.must(m.client.AddRoute(m.ctx, wire.Options{}, proxy.Route{Host: "a.test", Backend: backend, PlainHTTP: true}, false))
		if !m.served() {
			m.Fatal("nothing is served")
		}
		first := m.workerPID()

		m.signal(m.cmd.Process.Pid, syscall.SIGSTOP)
		for begun := time.Now(); time.Since(begun) < 7*time.Second; {
			if !m.served() {
				m.Error("a request failed while the daemon stood still")
			}
		}
		m.signal(m.cmd.Process.Pid, syscall.SIGCONT)
		for range 20 { // the daemon has looked again when it has answered for longer than its patience
			if _, err := m.client.Proxy(m.ctx); err != nil {
				m.Fatal(err)
			}
			for begun := time.Now(); time.Since(begun) < 200*time.Millisecond; {
				m.served()
			}
		}
		if got := m.workerPID(); got != first || len(m.recorded("worker-replaced")) > 0 {
			m.Errorf("a daemon that stood still has replaced process %d by %d", first, got)
		}

		var failing atomic.Bool
		m.signal(first, syscall.SIGSTOP)
		m.until("the worker is replaced", func() bool {
			failing.Store(failing.Load() || !m.served())
			return len(m.recorded("worker-replaced")) == 1
		})
		if !failing.Load() {
			m.Error("the worker was stopped, and served all the same")
		}
		m.until("the next one serves", m.served)
		second := m.workerPID()
		if second == first || alive(first) {
			m.Errorf("process %d is there still, beside %d", first, second)
		}
		if s, there := m.condition("proxy-hung"); !there || s.Conditions[0].Severity != "warning" || !strings.Contains(s.Conditions[0].Message, "another has taken its place") {
			m.Errorf("conditions: %+v", s.Conditions)
		}
		if st, err := m.client.Proxy(m.ctx); err != nil || !st.Serving {
			m.Errorf("got %+v, %v", st, err)
		}
		if c, err := tls.Dial("tcp", "127.0.0.1:443", &tls.Config{ServerName: "a.test", InsecureSkipVerify: true}); err != nil {
			m.Errorf("a handshake with the next one: %v", err)
		} else {
			c.Close()
		}

		// Stopped when the daemon comes: its sockets are needed.
		m.kill(syscall.SIGKILL)
		m.signal(second, syscall.SIGSTOP)
		m.start()
		m.until("the third serves", m.served)
		if third := m.workerPID(); third == second || alive(second) {
			m.Errorf("process %d is there still, beside %d", second, third)
		}
		if got := fmt.Sprint(len(m.recorded("worker-replaced"))); got != "2" {
			m.Errorf("%s records of workers that were replaced", got)
		}
	})
}
