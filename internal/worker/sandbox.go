package worker

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a child may use. The address space is not its memory: the Go runtime reserves more than a gigabyte and uses little
// of it; data is what it can write to.
const (
	limitAS    = 4 << 30
	limitData  = 768 << 20
	limitFile  = 256 << 20
	limitFiles = 64
	limitCPU   = 60 // seconds; a full-size file of country data takes one
)

// confine gives up what the process will never need, for good. What it cannot give up is an error, except where the parent
// could not help it: then it is said in words. A process that runs for ever is not bounded in CPU time.
func confine(bounded bool) (weak []string, err error) {
	for _, l := range []struct {
		what int
		most uint64
	}{{unix.RLIMIT_AS, limitAS}, {unix.RLIMIT_DATA, limitData}, {unix.RLIMIT_FSIZE, limitFile}, {unix.RLIMIT_NOFILE, limitFiles},
		{unix.RLIMIT_CPU, limitCPU}, {unix.RLIMIT_CORE, 0}} {
		if l.what == unix.RLIMIT_CPU && !bounded {
			continue
		}
		if err := lower(l.what, l.most); err != nil {
			return nil, fmt.Errorf("set resource limit %d: %w", l.what, err)
		}
	}
	return surrender()
}

// surrender gives up what no worker ever needs: to be looked into, to gain rights, and whatever rights it still has.
func surrender() (weak []string, err error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("set not dumpable: %w", err)
	}
	if err := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return nil, fmt.Errorf("set no_new_privs (possible only in a program built with CGO_ENABLED=0): %w", err)
	}
	if os.Geteuid() == 0 {
		weak = append(weak, "runs as root")
	}
	if caps, err := effective(); err != nil {
		return nil, err
	} else if caps != 0 {
		weak = append(weak, fmt.Sprintf("has capabilities %#x", caps))
	}
	return weak, nil
}

// lower sets a limit, or keeps a lower one.
func lower(what int, most uint64) error {
	var have unix.Rlimit
	if err := unix.Getrlimit(what, &have); err != nil {
		return err
	}
	most = min(most, have.Max)
	return syscall.Setrlimit(what, &syscall.Rlimit{Cur: min(most, have.Cur), Max: most})
}

// everyThread makes a system call in every thread of the process; the attributes that matter here belong to threads.
func everyThread(trap, a, b uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(trap, a, b, 0); errno != 0 {
		return errno
	}
	return nil
}

func effective() (uint64, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return uint64(data[1].Effective)<<32 | uint64(data[0].Effective), nil
}

// readable is what name resolution and certificates need; what is not there is left out.
const readable = `/etc/resolv.conf /etc/hosts /etc/nsswitch.conf /etc/gai.conf /etc/services /etc/protocols /run/systemd/resolve /run/resolvconf
	/etc/ssl /etc/pki /etc/ca-certificates /usr/lib/ssl /usr/share/ca-certificates /usr/local/share/ca-certificates /usr/share/zoneinfo /etc/localtime`

// files are what Landlock leaves.
type files struct {
	connect bool     // outgoing TCP
	read    []string // files and folders; those that are not there are left out
	write   []string // folders in which files may be made, changed and removed
	run     []string // programs
	roots   []int    // descriptors of folders to read, opened by somebody who may
}

// confineFiles takes away the file system, but for what the network needs if that is wanted; without it, TCP goes too.
// Programs below run may be run.
func confineFiles(network bool, run ...string) (weak []string, err error) {
	if !network {
		return files{run: run}.confine()
	}
	return files{connect: true, read: strings.Fields(readable), run: run}.confine()
}

// confine takes everything else away by Landlock (landlock(7)). A kernel without Landlock is not an error.
func (f files) confine() (weak []string, err error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return []string{"no Landlock: the kernel has none (" + errno.Error() + ")"}, nil
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_REFER - 1} // all rights of version 1
	if abi >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
		if !f.connect {
			attr.Handled_access_net |= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
	}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return nil, fmt.Errorf("create Landlock ruleset: %w", errno)
	}
	defer unix.Close(int(fd))
	for _, path := range f.read {
		if err := allow(int(fd), path, unix.LANDLOCK_ACCESS_FS_READ_FILE, unix.LANDLOCK_ACCESS_FS_READ_DIR); err != nil {
			return nil, err
		}
	}
	for _, root := range f.roots {
		if err := allowDescriptor(int(fd), root, "a root", unix.LANDLOCK_ACCESS_FS_READ_FILE, unix.LANDLOCK_ACCESS_FS_READ_DIR); err != nil {
			return nil, err
		}
	}
	for _, path := range f.run {
		if err := allow(int(fd), path, unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_EXECUTE, unix.LANDLOCK_ACCESS_FS_READ_DIR); err != nil {
			return nil, err
		}
	}
	for _, path := range f.write {
		change := attr.Handled_access_fs & (unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
			unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REFER)
		content := attr.Handled_access_fs & (unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE)
		if err := allow(int(fd), path, content, change); err != nil {
			return nil, err
		}
	}
	if err := everyThread(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0); err != nil {
		return nil, fmt.Errorf("enforce Landlock ruleset: %w", err)
	}
	return nil, nil
}

// allow admits the rights of files at or below path, and those of folders.
func allow(ruleset int, path string, ofFiles, ofFolders uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s for Landlock: %w", path, err)
	}
	defer unix.Close(fd)
	return allowDescriptor(ruleset, fd, path, ofFiles, ofFolders)
}

func allowDescriptor(ruleset, fd int, path string, ofFiles, ofFolders uint64) error {
	rights := ofFiles
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			rights |= ofFolders
		case unix.S_IFCHR: // /dev/null
			rights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
		}
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("allow %s by Landlock: %w", path, errno)
	}
	return nil
}

// confineWeb is confine and confineFiles for the proxy, which needs descriptors and memory by the load it has, serves files
// below roots, and has one folder of its own.
func confineWeb(roots []int, work, calls string) (weak []string, err error) {
	if err := lower(unix.RLIMIT_CORE, 0); err != nil {
		return nil, fmt.Errorf("set resource limit: %w", err)
	}
	var descriptors unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &descriptors); err == nil {
		_ = syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: descriptors.Max, Max: descriptors.Max})
	}
	if weak, err = surrender(); err != nil {
		return nil, err
	}
	f := files{connect: true, read: strings.Fields(readable), roots: roots}
	if work != "" {
		f.write = []string{work}
	}
	more, err := f.confine()
	if err != nil {
		return nil, err
	}
	filter, err := confineCalls(calls)
	return slices.Concat(weak, more, filter), err
}
