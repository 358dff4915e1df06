package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// firewalld measures `firewall-cmd --add-rich-rule` on an otherwise empty firewalld with a bus of its own.
func (b *bench) firewalld(n int) error {
	for _, tool := range []string{"firewalld", "firewall-cmd", "dbus-daemon"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	if err := errors.Join(os.MkdirAll("/run/dbus", 0o755), unix.Mount("tmpfs", "/var/log", "tmpfs", 0, "")); err != nil {
		return err
	}
	l, err := newLane()
	if err != nil {
		return err
	}
	defer l.close()
	for _, cmd := range []*exec.Cmd{
		exec.Command("dbus-daemon", "--system", "--nofork", "--nopidfile"),
		exec.Command("firewalld", "--nofork", "--nopid"),
	} {
		log, err := os.Create(b.file(cmd.Args[0] + ".log"))
		if err != nil {
			return err
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		if err := l.host.start(cmd); err != nil {
			return err
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		for begin := time.Now(); cmd.Args[0] == "dbus-daemon"; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat("/run/dbus/system_bus_socket"); err == nil {
				break
			}
			if time.Since(begin) > 5*time.Second {
				return fmt.Errorf("the bus does not start")
			}
		}
	}
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command("firewall-cmd", "--state").CombinedOutput()
		if err == nil {
			break
		}
		if time.Since(begin) > 20*time.Second {
			log, _ := os.ReadFile(b.file("firewalld.log"))
			return fmt.Errorf("firewalld does not start: %s %s", out, log[max(0, len(log)-300):])
		}
	}
	if out, err := exec.Command("firewall-cmd", "--add-port=9000/udp").CombinedOutput(); err != nil {
		return fmt.Errorf("firewall-cmd: %w: %s", err, out)
	}
	p, err := l.startProbes(false)
	if err != nil {
		return err
	}
	defer p.close()
	var s blockSamples
	for i := range n {
		until, took, err := p.refuse(uint32(i+1), func(a netip.Addr) *exec.Cmd {
			return exec.Command("firewall-cmd", "--quiet", "--add-rich-rule=rule family=ipv4 source address="+a.String()+" drop")
		})
		if err != nil {
			return err
		}
		s.until, s.took = append(s.until, until), append(s.took, took)
	}
	b.row(row{What: "until refused, firewalld with no lists at all", Peer: "`firewall-cmd --add-rich-rule` " + s.text() + fmt.Sprintf(" (%d samples); open flows stay open", n)})
	return nil
}
