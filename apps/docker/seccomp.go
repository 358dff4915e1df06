package docker

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/moby/profiles/seccomp"
)

// withheld are system calls that the engine's default profile lets through, and that no app of a server needs: they
// reach into other processes, into the kernel's keyrings and performance counters, or make new kinds of sandboxes.
func withheld() []string {
	return []string{
		"add_key", "keyctl", "request_key", // the kernel's keyring is not divided by container
		"bpf", "perf_event_open", "userfaultfd",
		"io_uring_setup", "io_uring_enter", "io_uring_register",
		"kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
		"mount", "mount_setattr", "move_mount", "open_tree", "fsconfig", "fsmount", "fsopen", "fspick", "pivot_root", "umount", "umount2",
		"setns", "unshare", "personality", "quotactl", "quotactl_fd", "lookup_dcookie", "name_to_handle_at", "open_by_handle_at",
		"vmsplice", "syslog", "acct", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname",
	}
}

// seccompProfile is the engine's default profile without what is withheld, as JSON.
func seccompProfile() (string, error) {
	p := seccomp.DefaultProfile()
	var kept []*seccomp.Syscall
	for _, rule := range p.Syscalls {
		rule.Names = slices.DeleteFunc(slices.Clone(rule.Names), func(name string) bool {
			// Where a call is refused anyway, and with which error, is not changed.
			return rule.Action == "SCMP_ACT_ALLOW" && slices.Contains(withheld(), name)
		})
		if len(rule.Names) > 0 {
			kept = append(kept, rule)
		}
	}
	p.Syscalls = kept
	b, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("make the filter of system calls: %w", err)
	}
	return string(b), nil
}
