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
// rules are somebody else's as far as the code under test is concerned, and live in tables of their own.
func (tp *Topology) Publish(t testing.TB, proto string, hostPort, containerPort uint16) {
	t.Helper()
	for _, f := range []struct {
		family, subnet string
		to             netip.Addr
	}{{"ip", "172.30.0.0/24", tp.Container.V4}, {"ip6", "fd00:30::/64", tp.Container.V6}} {
		tp.Nft(t, fmt.Sprintf(`
			table %[1]s dockerlike {
				chain prerouting {
					type nat hook prerouting priority -100;
					iifname != "%[2]s" fib daddr type local %[3]s dport %[4]d dnat to %[5]v
				}
				chain postrouting {
					type nat hook postrouting priority 100;
					%[1]s saddr %[6]s oifname != "%[2]s" masquerade
				}
			}`, f.family, Bridge, proto, hostPort, netip.AddrPortFrom(f.to, containerPort), f.subnet))
	}
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
