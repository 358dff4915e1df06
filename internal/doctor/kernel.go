package doctor

import (
	"strconv"
	"strings"

	"github.com/platformd/platformd/firewall"
)

// Sysctl reads one value below /proc/sys, with slashes; ok is false where the kernel does not have it.
type Sysctl func(path string) (value string, ok bool)

// Kernel judges the settings of the kernel that the firewall rests on. bridges are the bridges there are.
func Kernel(get Sysctl, rs *firewall.Ruleset, bridges []string) []Finding {
	return []Finding{synCookies(get), reversePath(get), bridged(get, bridges), forwarding(get, rs), connections(get)}
}

func set(path, value string) string {
	key := strings.ReplaceAll(path, "/", ".")
	return "sysctl -w " + key + "=" + value + ", and the same line in /etc/sysctl.d/60-platform.conf"
}

func synCookies(get Sysctl) Finding {
	const check, path = "syn-cookies", "net/ipv4/tcp_syncookies"
	switch v, ok := get(path); {
	case !ok:
		return finding(check, Skipped, "", "the kernel does not have them")
	case v == "0":
		return finding(check, Warning, set(path, "1"), "are off: a flood of half-open connections closes every service")
	default:
		return finding(check, OK, "", "are on")
	}
}

// reversePath: the larger of the values for all and for one interface is in force (ip-sysctl in the kernel's documentation);
// new interfaces take the default one.
func reversePath(get Sysctl) Finding {
	const check = "reverse-path"
	all, ok := get("net/ipv4/conf/all/rp_filter")
	fresh, _ := get("net/ipv4/conf/default/rp_filter")
	switch {
	case !ok:
		return finding(check, Skipped, "", "the kernel does not have the filter")
	case all == "0" && fresh != "1" && fresh != "2":
		return finding(check, Warning, set("net/ipv4/conf/all/rp_filter", "2"), "the filter is off: packets with forged sources are taken for what they claim")
	}
	return finding(check, OK, "", "packets from sources without a way back are dropped")
}

func bridged(get Sysctl, bridges []string) Finding {
	const check = "bridged-frames"
	if len(bridges) == 0 {
		return finding(check, Skipped, "", "there is no bridge")
	}
	names := some(bridges, func(s string) string { return s })
	v4, ok := get("net/bridge/bridge-nf-call-iptables")
	v6, _ := get("net/bridge/bridge-nf-call-ip6tables")
	if ok && v4 == "1" && v6 == "1" {
		return finding(check, OK, "", "frames within %s meet the firewall", names)
	}
	return finding(check, Warning, "where containers of one network must be kept apart: modprobe br_netfilter; "+set("net/bridge/bridge-nf-call-iptables", "1")+", and the same for ip6tables",
		"frames between two containers of one bridge (%s) do not meet the firewall", names)
}

func forwarding(get Sysctl, rs *firewall.Ruleset) Finding {
	const check = "forwarding"
	v4, _ := get("net/ipv4/ip_forward")
	v6, _ := get("net/ipv6/conf/all/forwarding")
	switch {
	case v4 != "1" && v6 != "1":
		return finding(check, OK, "", "the host forwards nothing")
	case rs.Off:
		return finding(check, Warning, "platformctl firewall on", "the host forwards packets, and the firewall is off")
	case rs.Forward.Open:
		return finding(check, Warning, "where the host is not meant to be a router, take firewall.forward.open out of the document",
			"the host is a router: the policy lets new flows pass between any interfaces")
	}
	return finding(check, OK, "", "the host forwards; the policy lets only containers out, and published ports in")
}

// connections judges how full the table of connections is: what does not fit is dropped, whoever sends it.
func connections(get Sysctl) Finding {
	const check = "connections"
	used, ok1 := number(get, "net/netfilter/nf_conntrack_count")
	most, ok2 := number(get, "net/netfilter/nf_conntrack_max")
	if !ok1 || !ok2 || most <= 0 {
		return finding(check, Skipped, "", "connections are not tracked")
	}
	state, remedy := OK, ""
	switch percent := 100 * used / most; {
	case percent >= 95:
		state = Failed
	case percent >= 75:
		state = Warning
	}
	if state != OK {
		remedy = set("net/netfilter/nf_conntrack_max", strconv.FormatInt(4*most, 10)) + "; platformctl top shows who opens so many"
	}
	return finding(check, state, remedy, "%d of %d tracked", used, most)
}

func number(get Sysctl, path string) (int64, bool) {
	v, ok := get(path)
	n, err := strconv.ParseInt(v, 10, 64)
	return n, ok && err == nil
}
