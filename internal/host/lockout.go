package host

import (
	"fmt"
	"net/netip"

	"github.com/platformd/platformd/firewall"
)

// Way is how somebody reaches the host to administer it.
type Way struct {
	// From is where they are; invalid is the machine itself, so that only the way in for strangers counts.
	From netip.Addr
	// Ports are the TCP ports that would do, such as those that sshd listens on.
	Ports []uint16
}

// LockedOut says, as one sentence, how a change from before to after would close the way in; empty is that it does not.
// A way that was closed before is not lost.
func LockedOut(before, after *firewall.Ruleset, w Way, lookup firewall.Lookup) (string, error) {
	if after.Off || len(w.Ports) == 0 {
		return "", nil
	}
	if w.From.IsValid() && !w.From.IsLoopback() {
		was, err := admitted(before, w.From, w.Ports, lookup)
		if err != nil {
			return "", err
		}
		is, err := admitted(after, w.From, w.Ports, lookup)
		if err != nil {
			return "", err
		}
		if was && !is {
			return fmt.Sprintf("it would cut off %v, where you are, from %s", w.From, portList(w.Ports)), nil
		}
		return "", nil
	}
	if someoneEnters(before, w.Ports) && !someoneEnters(after, w.Ports) {
		return fmt.Sprintf("it would close the last way in over SSH (%s)", portList(w.Ports)), nil
	}
	return "", nil
}

func portList(ports []uint16) string {
	s := "TCP port"
	if len(ports) > 1 {
		s += "s"
	}
	for i, p := range ports {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprintf(" %d", p)
	}
	return s
}

func admitted(rs *firewall.Ruleset, from netip.Addr, ports []uint16, lookup firewall.Lookup) (bool, error) {
	for _, p := range ports {
		v, err := firewall.Explain(rs, firewall.Query{Source: from, Protocol: firewall.TCP, Port: p}, lookup)
		if err != nil {
			return false, err
		}
		if v.Admitted {
			return true, nil
		}
	}
	return false, nil
}

// someoneEnters reports whether one of the ports is open to anybody at all.
func someoneEnters(rs *firewall.Ruleset, ports []uint16) bool {
	if rs.Off {
		return true
	}
	for _, s := range rs.Services {
		for _, p := range ports {
			for _, r := range s.Ports {
				if s.Protocol == firewall.TCP && r.First <= p && p <= r.Last {
					return true
				}
			}
		}
	}
	return false
}
