package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
)

const quickBans = `version: 1
firewall:
  ports:
    - {name: ssh, protocol: tcp, ports: [22]}
bans:
  strikes: 3
`

// A real sshd, a real ssh that fails to log in, and a real syslog daemon between them and us.
func TestRealSSHFailuresBan(t *testing.T) {
	onMachine(t, quickBans, func(m *machine) {
		m.ownDev()
		m.runSyslog()
		m.runSSHD(22)
		for i, a := range []string{"198.51.100.50", "2001:db8:7::50"} {
			source := netip.MustParseAddr(a)
			m.AddSource(m.T, m.Client1, source)
			from := m.Client1.From(source)
			if got := from.Eventually(m.T, "tcp", m.host(i, 22), nstest.Open); got != nstest.Open {
				m.Fatalf("sshd: got %s", got)
			}
			m.until(a+" is banned", func() bool {
				m.login(i, a)
				bans, err := m.client.Bans(m.ctx)
				return err == nil && len(bans) > i
			})
			m.until(a+" is refused", func() bool { return from.Dial(m.T, "tcp", m.host(i, 22)) == nstest.Filtered })
		}
		m.sees(22, nstest.Open) // others are not concerned
		bans, _ := m.client.Bans(m.ctx)
		if bans[0].Target != "2001:db8:7::/64" || bans[1].Target != "198.51.100.50" || bans[1].Reason != "sshd" {
			m.Errorf("got %+v", bans)
		}
		m.kill(syscall.SIGKILL)
		m.start()
		if again, err := m.client.Bans(m.ctx); err != nil || len(again) != 2 {
			m.Errorf("after a restart: %v, %v", again, err)
		}
		if err := m.client.Unban(m.ctx, "198.51.100.50"); err != nil {
			m.Fatal(err)
		}
		if got := m.Client1.From(netip.MustParseAddr("198.51.100.50")).Eventually(m.T, "tcp", m.host(0, 22), nstest.Open); got != nstest.Open {
			m.Errorf("unbanned: got %s", got)
		}
	})
}

// What an attacker makes sshd write, or a local user makes a log say, bans nobody but the attacker; an always-allowed
// source is never banned.
func TestForgedLinesDoNotBan(t *testing.T) {
	onMachine(t, quickBans, func(m *machine) {
		m.must(m.client.Allow(m.ctx, wire.Options{}, wire.AllowRequest{Targets: []string{"192.0.2.50"}}))
		line := func(program, message string) string {
			return "Nov 20 10:00:00 vps " + program + "[7]: " + message + "\n"
		}
		var log strings.Builder
		for range 5 {
			log.WriteString(line("sshd", "Failed password for invalid user x from 203.0.113.1 port 9 ssh2 from 192.0.2.60 port 5 ssh2"))
			log.WriteString(line("sshd", "Failed password for root from 192.0.2.50 port 5 ssh2"))
			log.WriteString(line("app", "sshd[1]: Failed password for root from 203.0.113.2 port 5 ssh2"))
			log.WriteString(line("sshd", "Failed password for root from 127.0.0.1 port 5 ssh2"))
			log.WriteString(line("sshd", "Failed password for root from 198.51.100.1 port 5 ssh2")) // the host itself
		}
		f, err := os.OpenFile(m.authLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			m.Fatal(err)
		}
		defer f.Close()
		m.until("the attacker is banned", func() bool {
			if _, err := f.WriteString(log.String()); err != nil {
				m.Fatal(err)
			}
			bans, err := m.client.Bans(m.ctx)
			return err == nil && len(bans) > 0
		})
		bans, err := m.client.Bans(m.ctx)
		if err != nil || len(bans) != 1 || bans[0].Target != "192.0.2.60" {
			m.Errorf("got %+v, %v, want only 192.0.2.60", bans, err)
		}
	})
}

// ownDev gives the test a /dev of its own, because /dev/log is a fixed name.
func (m *machine) ownDev() {
	m.Helper()
	dev := filepath.Join(m.dir, "dev")
	if err := os.MkdirAll(filepath.Join(dev, "pts"), 0o755); err != nil {
		m.Fatal(err)
	}
	for name, minor := range map[string]int{"null": 3, "zero": 5, "random": 8, "urandom": 9} {
		if err := syscall.Mknod(filepath.Join(dev, name), syscall.S_IFCHR|0o666, 1<<8|minor); err != nil {
			m.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dev, name), 0o666); err != nil {
			m.Fatal(err)
		}
	}
	if err := syscall.Mount(dev, "/dev", "", syscall.MS_BIND, ""); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = syscall.Unmount("/dev", syscall.MNT_DETACH) })
}

func (m *machine) runSyslog() {
	m.Helper()
	conf := filepath.Join(m.dir, "rsyslog.conf")
	m.write(conf, `module(load="imuxsock")
$ActionFileDefaultTemplate RSYSLOG_TraditionalFileFormat
auth,authpriv.* `+m.authLog()+"\n")
	m.background("rsyslogd", "-n", "-f", conf, "-i", filepath.Join(m.dir, "rsyslog.pid"))
	m.until("there is a /dev/log", func() bool { _, err := os.Stat("/dev/log"); return err == nil })
}

func (m *machine) runSSHD(port uint16) {
	m.Helper()
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		m.Fatal(err)
	}
	key := filepath.Join(m.dir, "host_key")
	m.Exec(m.T, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	conf := filepath.Join(m.dir, "sshd_config")
	m.write(conf, fmt.Sprintf("Port %d\nHostKey ", port)+key+"\nPidFile none\nUsePAM no\nPasswordAuthentication no\nAuthorizedKeysFile none\n")
	m.background("/usr/sbin/sshd", "-D", "-f", conf)
}

// background runs a program of the host until the test ends.
func (m *machine) background(name string, args ...string) {
	m.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	cmd.WaitDelay = time.Second // children of theirs may hold the pipe
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// login tries to log in from an address of client1 and fails.
func (m *machine) login(i int, from string) {
	m.Helper()
	err := m.Client1.Do(func() error {
		// A ban that comes in the middle leaves the client waiting for packets that are dropped.
		ctx, cancel := context.WithTimeout(m.ctx, 3*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "ssh", "-b", from, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
			"-o", "ConnectTimeout=2", "-F", "/dev/null", "nobody-here@"+m.Host1[i].String(), "true")
		return cmd.Run()
	})
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		m.Fatalf("ssh: got %v, want it to fail to log in", err)
	}
}

// The first start on a host whose sshd listens somewhere else keeps that port open, and closes the others.
func TestFirstStartKeepsTheWayIn(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.kill(syscall.SIGTERM)
		if err := os.RemoveAll(m.data()); err != nil {
			m.Fatal(err)
		}
		m.Nft(m.T, "delete table inet platform\n")
		m.Host.Serve(m.T, "tcp", 8080)
		m.runSSHD(2222)
		m.sees(2222, nstest.Open)
		m.start()
		m.sees(2222, nstest.Open)
		m.sees(8080, nstest.Filtered)
		ports, err := m.client.Ports(m.ctx)
		if err != nil || len(ports) != 5 || ports[4].Name != "ssh-2222" || ports[4].Limit != "ssh" {
			m.Errorf("got %+v, %v", ports, err)
		}
	})
}
