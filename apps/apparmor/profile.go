// Package apparmor confines apps by profiles of AppArmor: one for each, generated from its manifest, loaded before its
// container starts and removed after it is gone.
//
// The model in words. A profile is a list of what is allowed; everything else is refused by the kernel. An app may read and
// run what is in its image, write to the folders that its manifest declares, and use the network by TCP, UDP and unix
// sockets. Whatever the container's other walls are worth, it cannot mount, trace processes that are not its own, open raw
// sockets, change settings of the kernel below /proc and /sys, or load anything. What of that is tried is logged by the
// kernel (audit deny).
//
// Profile is pure. Loader runs apparmor_parser, which is the only compiler of profiles there is, with the text on its
// standard input.
package apparmor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/platformd/platformd/apps"
)

// Profile is the text of the profile of an app, for all versions that it has: they may run beside each other.
func Profile(a *apps.App) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+",\n", args...) }
	fmt.Fprintf(&b, "profile %s flags=(attach_disconnected,mediate_deleted) {\n", apps.ProfileName(a.Name))
	for _, family := range []string{"inet", "inet6"} {
		line("network %s stream", family)
		line("network %s dgram", family)
	}
	line("network unix")
	line("network netlink raw") // which addresses there are; sending needs CAP_NET_ADMIN
	line("audit deny network packet")
	line("audit deny network inet raw")
	line("audit deny network inet6 raw")
	for _, c := range capabilities(a) {
		line("capability %s", strings.ToLower(c))
	}
	for _, from := range []string{"unconfined", "runc", "crun"} {
		line("signal (receive) peer=%s", from)
	}
	line("signal (send, receive) peer=%s", apps.ProfileName(a.Name))
	line("ptrace (read, readby) peer=%s", apps.ProfileName(a.Name))
	line("audit deny ptrace (trace, tracedby)")
	line("audit deny mount")
	line("audit deny umount")
	line("audit deny pivot_root")
	line("unix")
	line("/ r")
	line("/** rmix")
	for _, dev := range []string{"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts/*"} {
		line("/dev/%s rw", dev)
	}
	line("/dev/shm/ rw")
	line("/dev/shm/** rwkl")
	line("/proc/*/fd/* rw")
	line("/proc/*/{comm,oom_score_adj,task/*/comm} w")
	folders := writable(a)
	if len(a.Debug) > 0 { // its root file system is writable meanwhile
		line("/** wkl")
	}
	for _, f := range slices.Sorted(maps.Keys(folders)) {
		inside := strings.TrimSuffix(quote(f), `"`) + `/**"`
		line("%s rw", quote(f+"/"))
		if folders[f] {
			line("%s rwklmix", inside)
			continue
		}
		line("%s rwkl", inside)
		line("audit deny %s mx", inside)
	}
	for _, p := range []string{
		"/proc/sys/**", "/proc/sysrq-trigger", "/proc/kcore", "/proc/kmem", "/proc/mem", "/proc/irq/**", "/proc/bus/**", "/proc/fs/**", "/proc/acpi/**",
	} {
		line("audit deny %s wklx", p)
	}
	for _, p := range []string{"/proc/kcore", "/proc/kallsyms", "/proc/kmsg", "/proc/sched_debug", "/proc/timer_list", "/sys/firmware/**", "/sys/kernel/security/**", "/sys/kernel/debug/**"} {
		line("audit deny %s rwklx", p)
	}
	line("audit deny /sys/** wklx")
	b.WriteString("}\n")
	return b.String()
}

// capabilities are those of all versions.
func capabilities(a *apps.App) []string {
	var out []string
	for _, v := range a.Versions() {
		out = append(out, v.Manifest.Capabilities...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// writable are the folders that some version declares, and whether programs in them may be run.
func writable(a *apps.App) map[string]bool {
	out := map[string]bool{"/tmp": false}
	for _, v := range a.Versions() {
		for _, d := range v.Manifest.Data {
			out[d.Path] = out[d.Path] || d.Exec
		}
		for _, t := range v.Manifest.Tmpfs {
			out[t.Path] = out[t.Path] || t.Exec
		}
	}
	return out
}

// quote writes a path so that none of its characters means anything else to AppArmor (apparmor.d(5)).
func quote(path string) string {
	var b strings.Builder
	for _, r := range path {
		if strings.ContainsRune(`*?[]{}^"\@`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return `"` + b.String() + `"`
}
