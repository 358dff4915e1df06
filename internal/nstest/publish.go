package nstest

import (
	"bytes"
	"fmt"
	"net/netip"
	"os/exec"
	"testing"
)

// Publish makes a port of the host reach a port of the container, for IPv4 and IPv6, in the way Docker does: destination
// NAT for what is addressed to the host and does not come from the bridge, masquerading for what leaves the container. The
// rules are somebody else's as far as the code under test is concerned, and live in tables of their own. It is called once
// for each topology; PublishAnother adds to it.
func (tp *Topology) Publish(t testing.TB, proto string, hostPort, containerPort uint16) {
	t.Helper()
	for family, subnet := range map[string]string{"ip": "172.30.0.0/24", "ip6": "fd00:30::/64"} {
		tp.Nft(t, fmt.Sprintf(`
			table %[1]s dockerlike {
				chain prerouting {
					type nat hook prerouting priority -100;
				}
				chain postrouting {
					type nat hook postrouting priority 100;
					%[1]s saddr %[2]s oifname != "%[3]s" masquerade
				}
			}`, family, subnet, Bridge))
	}
	tp.PublishAnother(t, proto, hostPort, containerPort)
}

// PublishAnother publishes one more port.
func (tp *Topology) PublishAnother(t testing.TB, proto string, hostPort, containerPort uint16) {
	t.Helper()
	for i, family := range []string{"ip", "ip6"} {
		tp.PublishTo(t, family, proto, hostPort, netip.AddrPortFrom(tp.Container.Addrs()[i], containerPort))
	}
}

// PublishTo publishes a port that leads anywhere, for the family "ip" or "ip6".
func (tp *Topology) PublishTo(t testing.TB, family, proto string, hostPort uint16, to netip.AddrPort) {
	t.Helper()
	tp.Nft(t, fmt.Sprintf("add rule %s dockerlike prerouting iifname != %q fib daddr type local %s dport %d dnat to %v\n", family, Bridge, proto, hostPort, to))
}

// Nft feeds a script to nft(8) in the host, and so refuses to run outside of a test namespace.
func (tp *Topology) Nft(t testing.TB, script string) {
	t.Helper()
	tp.Exec(t, script, "nft", "-f", "-")
}

// Exec runs a program in the host with stdin and returns its output; an error fails the test.
func (tp *Topology) Exec(t testing.TB, stdin string, name string, args ...string) string {
	t.Helper()
	if err := Check(); err != nil {
		t.Fatalf("nstest: %v", err)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("nstest: %v; install %s", err, debianPackage(name))
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = bytes.NewBufferString(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

func debianPackage(program string) string {
	switch program {
	case "nft":
		return "nftables"
	case "ip", "bridge", "ss":
		return "iproute2"
	case "dockerd", "docker":
		return "docker.io"
	case "busybox":
		return "busybox-static"
	case "ipset", "conntrack":
		return program
	}
	return "iptables"
}
