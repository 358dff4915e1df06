package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
)

// asProgram in the environment makes the test binary be platformd; a worker is known by its name.
const asProgram = "PLATFORMD_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" || (os.Args[0] == "platformd" && len(os.Args) > 1 && os.Args[1] == "worker") {
		main()
		return
	}
	os.Exit(m.Run())
}

// machine is a host with neighbours and a platformd that can be killed and started again.
type machine struct {
	*testing.T
	*nstest.Topology
	ctx    context.Context
	dir    string
	client *client.Client
	cmd    *exec.Cmd
	args   []string
	log    bytes.Buffer
}

// onMachine runs f on a machine of its own, in namespaces of its own, with platformd started.
func onMachine(t *testing.T, document string, f func(m *machine)) {
	t.Helper()
	nstest.Run(t, func(t *testing.T) {
		m := &machine{T: t, Topology: nstest.NewTopology(t), ctx: t.Context(), dir: t.TempDir()}
		m.client = client.New(m.socket())
		t.Cleanup(func() {
			m.kill(syscall.SIGKILL)
			if t.Failed() {
				auth, _ := os.ReadFile(m.authLog())
				t.Logf("%s%s", m.log.String(), auth)
			}
		})
		if document != "" {
			path := filepath.Join(m.dir, "document.yaml")
			m.write(path, document)
			m.args = append(m.args, "--config", path)
		}
		m.start()
		f(m)
	})
}

func (m *machine) socket() string { return filepath.Join(m.dir, "api.sock") }
func (m *machine) data() string   { return filepath.Join(m.dir, "data") }

// start runs platformd and waits until the policy is in force.
func (m *machine) start() {
	m.Helper()
	m.launch()
	m.until("the policy is in force", func() bool {
		s, err := m.client.Status(m.ctx)
		return err == nil && s.Firewall.Verified
	})
}

func (m *machine) launch() {
	m.Helper()
	args := append([]string{"--data-dir", m.data(), "--socket", m.socket(), "--auth-log", m.authLog()}, m.args...)
	m.cmd = m.program(args...)
	m.cmd.Stderr = &m.log
	m.cmd.WaitDelay = time.Second // the guard and workers have the pipe too
	if err := m.cmd.Start(); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) authLog() string { return filepath.Join(m.dir, "auth.log") }

func (m *machine) program(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

func (m *machine) kill(sig syscall.Signal) {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(sig)
	_ = m.cmd.Wait()
	m.cmd = nil
}

// until waits for a condition, for at most half a minute.
func (m *machine) until(what string, ok func() bool) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			m.Fatalf("waited in vain until %s\n%s", what, m.log.String())
		}
	}
}

func (m *machine) write(path, content string) {
	m.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) must(r wire.ChangeResult, err error) wire.ChangeResult {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
	if !r.Verified && !r.DryRun {
		m.Fatalf("not verified: %+v", r)
	}
	return r
}

func (m *machine) block(targets ...string) {
	m.Helper()
	m.must(m.client.Block(m.ctx, wire.Options{}, wire.BlockRequest{Targets: targets}))
}

func (m *machine) open(port string) {
	m.Helper()
	m.must(m.client.OpenPorts(m.ctx, wire.Options{}, wire.PortRequest{Ports: []string{port}, Protocol: "tcp"}))
}

// sees asserts what client1 gets at a port of the host, over IPv4 and IPv6.
func (m *machine) sees(port uint16, want nstest.Result) {
	m.Helper()
	for _, a := range m.Host1 {
		to := netip.AddrPortFrom(a, port)
		from := m.Client1.From(netip.Addr{})
		got := from.Dial(m.T, "tcp", to)
		if want == nstest.Open {
			got = from.Eventually(m.T, "tcp", to, want)
		}
		if got != want {
			m.Errorf("client1 to %v: got %s, want %s", to, got, want)
		}
	}
}

// becomes waits until client1 gets that.
func (m *machine) becomes(port uint16, want nstest.Result) {
	m.Helper()
	for _, a := range m.Host1 {
		to := netip.AddrPortFrom(a, port)
		m.until(fmt.Sprintf("%v is %s", to, want), func() bool { return m.Client1.From(netip.Addr{}).Dial(m.T, "tcp", to) == want })
	}
}

func (m *machine) condition(id string) (wire.Status, bool) {
	m.Helper()
	s, err := m.client.Status(m.ctx)
	if err != nil {
		m.Fatal(err)
	}
	for _, c := range s.Conditions {
		if strings.HasPrefix(c.ID, id) {
			return s, true
		}
	}
	return s, false
}

func (m *machine) recorded(action string) []wire.Record {
	m.Helper()
	out, err := m.client.Activity(m.ctx, wire.ActivityFilter{Action: action})
	if err != nil {
		m.Fatal(err)
	}
	return out
}

func (m *machine) host(i int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(m.Host1[i], port)
}
