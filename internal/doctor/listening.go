package doctor

import (
	"bufio"
	"encoding/hex"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/platformd/platformd/firewall"
)

// Listener is a socket that waits for packets from anybody.
type Listener struct {
	Protocol firewall.Protocol
	Address  netip.Addr
	Port     uint16
}

// maxSockets bounds how many sockets of a table are read.
const maxSockets = 100_000

// ParseSockets reads the listeners in a table such as /proc/net/tcp6 (proc_net_tcp in the kernel's documentation). Of UDP
// these are the sockets that are bound and not connected.
func ParseSockets(proto firewall.Protocol, r io.Reader) []Listener {
	state := map[firewall.Protocol]string{firewall.TCP: "0A", firewall.UDP: "07"}[proto]
	var out []Listener
	in := bufio.NewScanner(r)
	for n := 0; in.Scan() && n < maxSockets; n++ {
		w := strings.Fields(in.Text())
		if len(w) < 4 || w[3] != state {
			continue
		}
		address, port, _ := strings.Cut(w[1], ":")
		a, ok := kernelAddress(address)
		p, err := strconv.ParseUint(port, 16, 16)
		if ok && err == nil && p != 0 {
			out = append(out, Listener{proto, a, uint16(p)})
		}
	}
	return out
}

// kernelAddress reads an address as these tables have it: words of 32 bits in hex, in the byte order of the machine, which
// is little endian on all that we build for.
func kernelAddress(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return netip.Addr{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, ok := netip.AddrFromSlice(b)
	return a.Unmap(), ok
}

// Ports are the ports of listeners that can be reached from another machine.
func Ports(in []Listener, proto firewall.Protocol) []uint16 {
	var out []uint16
	for _, l := range in {
		if l.Protocol == proto && !l.Address.IsLoopback() {
			out = append(out, l.Port)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Services says which listeners the policy opens, and which it keeps in.
func Services(rs *firewall.Ruleset, in []Listener) []Finding {
	var open, closed []string
	for _, proto := range []firewall.Protocol{firewall.TCP, firewall.UDP} {
		for _, p := range Ports(in, proto) {
			name := strconv.Itoa(int(p)) + "/" + string(proto)
			if Opened(rs, proto, p) {
				open = append(open, name)
			} else {
				closed = append(closed, name)
			}
		}
	}
	same := func(s string) string { return s }
	out := []Finding{finding("listening-open", OK, "", "nothing that listens is reached from outside")}
	if len(open) > 0 {
		out[0].Detail = "reached from outside: " + some(open, same)
	}
	if len(closed) > 0 {
		out = append(out, finding("listening-closed", OK, "where one is meant for others: platformctl ports open PORT", "listening, and kept from the outside by the policy: %s", some(closed, same)))
	}
	return out
}
