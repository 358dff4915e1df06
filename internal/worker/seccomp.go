package worker

import (
	"fmt"
	"strings"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// The system calls of a proxy worker: what the Go runtime, sockets and plain files need. Those of every request come first,
// because the kernel looks at the list in order. What is not here runs programs, looks into other processes, changes
// namespaces, mounts, loads code into the kernel, or is simply not needed.
const (
	callsOften = `read write futex epoll_pwait epoll_ctl nanosleep accept4 close recvmsg sendmsg recvmmsg sendmmsg setsockopt getsockopt clock_gettime
		sched_yield epoll_wait epoll_pwait2 recvfrom sendto connect shutdown getsockname getpeername getrandom madvise mmap munmap`
	callsRuntime = `rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall tgkill gettid getpid getppid getuid geteuid getgid getegid
		clone clone3 set_robust_list rseq exit exit_group sched_getaffinity mprotect mremap brk arch_prctl set_tid_address membarrier prctl
		prlimit64 getrlimit uname sysinfo clock_nanosleep clock_getres gettimeofday time eventfd2 epoll_create1 epoll_create pipe2 dup dup3 fcntl listen
		timer_create timer_settime timer_delete setitimer futex_waitv`
	callsFiles = `openat openat2 fstat newfstatat statx lstat stat lseek pread64 pwrite64 preadv pwritev readv writev sendfile splice copy_file_range
		fsync fdatasync ftruncate fallocate fadvise64 flock getdents64 getcwd readlinkat readlink faccessat faccessat2 access mkdirat mkdir unlinkat unlink
		rmdir renameat2 renameat rename fchmod fchmodat utimensat statfs fstatfs umask`
)

// confineCalls leaves a process no other system calls. The mode is "log" (others are logged and made), "filter" (they fail;
// the default), "strict" (the process is killed) or "off".
func confineCalls(mode string) (weak []string, err error) {
	action := map[string]seccomp.Action{"log": seccomp.ActionLog, "": seccomp.ActionErrno, "filter": seccomp.ActionErrno, "strict": seccomp.ActionKillProcess}
	if mode == "off" {
		return []string{"may make every system call: seccomp is off"}, nil
	}
	other, ok := action[mode]
	if !ok {
		return nil, fmt.Errorf("seccomp mode %q: must be filter, log, strict or off", mode)
	}
	if !seccomp.Supported() {
		return []string{"may make every system call: the kernel has no seccomp filters"}, nil
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return []string{"may make every system call: " + err.Error()}, nil
	}
	var names []string
	for _, name := range strings.Fields(callsOften + " " + callsRuntime + " " + callsFiles) {
		if _, there := info.SyscallNames[name]; there { // some architectures have never had the older ones
			names = append(names, name)
		}
	}
	var sockets []seccomp.NameWithConditions // entries of one name are alternatives
	for _, family := range []uint64{unix.AF_INET, unix.AF_INET6, unix.AF_UNIX} {
		sockets = append(sockets, seccomp.NameWithConditions{Name: "socket", Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.Equal, Value: family}}})
	}
	f := seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: seccomp.Policy{DefaultAction: other, Syscalls: []seccomp.SyscallGroup{
		{Action: seccomp.ActionAllow, Names: names, NamesWithCondtions: sockets}}}} // a second group would never be reached
	if err := seccomp.LoadFilter(f); err != nil {
		return nil, fmt.Errorf("load the filter of system calls: %w", err)
	}
	if mode == "log" {
		weak = append(weak, "may make every system call: those that are not expected are only logged")
	}
	return weak, nil
}
