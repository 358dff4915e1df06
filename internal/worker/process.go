package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors of a child beside the standard ones.
const (
	fdOut = 3 // what it read
	fdIn  = 4 // the source, if that is a file
	fdExe = 5 // the program itself, as its path may lead through folders that the user cannot enter
)

// errTooMuch ends a child that talks too much.
var errTooMuch = errors.New("wrote too much")

// process runs one child to its end and gives what it wrote to its standard output.
func (p *Pool) process(ctx context.Context, input []byte, in, out *os.File) (output []byte, weak []string, err error) {
	exe, err := os.Open(p.cfg.Exe)
	if err != nil {
		return nil, nil, fmt.Errorf("open program: %w", err)
	}
	defer exe.Close()
	attr, weak := p.attributes(in != nil)
	stdout, stderr := &capped{most: maxReply, strict: true}, &capped{most: 8 << 10}
	weak, err = p.spawn(ctx, attr, weak, func() *exec.Cmd {
		cmd := exec.CommandContext(ctx, "/proc/self/fd/"+strconv.Itoa(fdExe))
		cmd.Args = p.cfg.Args
		cmd.Env = []string{"GOMEMLIMIT=512MiB", "GOTRACEBACK=single"}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), stdout, stderr
		cmd.ExtraFiles = []*os.File{out, in, exe}
		return cmd
	})
	switch {
	case stdout.over:
		return nil, weak, fmt.Errorf("%w: more than %d bytes", errTooMuch, maxReply)
	case ctx.Err() != nil:
		return nil, weak, ctx.Err()
	case killed(err):
		return nil, weak, errors.New("killed by the kernel: out of CPU time or memory")
	case err != nil:
		if text := clean(lastLine(stderr.buf.String())); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, weak, err
	}
	return stdout.buf.Bytes(), weak, nil
}

// spawn starts what command makes, waits for its end, and says in what it was confined less than wanted.
func (p *Pool) spawn(ctx context.Context, attr *syscall.SysProcAttr, weak []string, command func() *exec.Cmd) (_ []string, err error) {
	start := func() *exec.Cmd {
		cmd := command()
		cmd.Dir = "/"
		cmd.SysProcAttr = attr
		cmd.WaitDelay = 2 * time.Second
		// The whole group: a child that was taken over may have children.
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		err = cmd.Start()
		return cmd
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Pdeathsig is sent when the thread that started the child ends: this one lives as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd := start()
		if errors.Is(err, syscall.EPERM) && attr.Cloneflags != 0 {
			attr.Cloneflags = 0
			weak = append(weak, "no namespaces of its own: not permitted here")
			cmd = start()
		}
		if err == nil {
			err = cmd.Wait()
		}
	}()
	<-done
	return weak, err
}

// killed reports whether a child that nobody here has killed was.
func killed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGXCPU)
}

// attributes is how the kernel starts the child, and in what this is less than wanted.
func (p *Pool) attributes(file bool) (*syscall.SysProcAttr, []string) {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var weak []string
	root := os.Geteuid() == 0
	if root {
		attr.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWIPC
		if file {
			attr.Cloneflags |= unix.CLONE_NEWNET
		}
	}
	uid, gid := uint32(p.cfg.UID), uint32(p.cfg.GID)
	switch {
	case uid == 0:
		weak = append(weak, "runs as the daemon's user: no unprivileged user is configured")
	case !root:
		weak = append(weak, fmt.Sprintf("runs as user %d: only root can switch to user %d", os.Geteuid(), uid))
	case !mapped("/proc/self/uid_map", uid) || !mapped("/proc/self/gid_map", gid):
		weak = append(weak, fmt.Sprintf("runs as root of a user namespace: user %d is not in it", uid))
	default:
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
		if b, err := os.ReadFile("/proc/self/setgroups"); err == nil && strings.TrimSpace(string(b)) == "deny" {
			attr.Credential.NoSetGroups = true
			weak = append(weak, "keeps the daemon's groups: this user namespace does not let them be dropped")
		}
	}
	return attr, weak
}

// mapped reports whether an id exists in this user namespace.
func mapped(path string, id uint32) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(strings.Split(string(b), "\n"), func(line string) bool {
		f := strings.Fields(line)
		if len(f) != 3 {
			return false
		}
		first, err1 := strconv.ParseUint(f[0], 10, 32)
		n, err2 := strconv.ParseUint(f[2], 10, 32)
		return err1 == nil && err2 == nil && uint64(id) >= first && uint64(id)-first < n
	})
}

// lastLine is the last line of a message of a process that ended badly, or its "panic:" or "fatal error:" line.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:") {
			return l
		}
	}
	return lines[len(lines)-1]
}

// capped keeps the beginning of what a child writes. If it is strict, writing more ends the child.
type capped struct {
	buf    bytes.Buffer
	most   int
	strict bool
	over   bool
}

func (c *capped) Write(b []byte) (int, error) {
	room := c.most - c.buf.Len()
	c.buf.Write(b[:min(len(b), room)])
	if c.over = c.over || len(b) > room; c.over && c.strict {
		return 0, errTooMuch
	}
	return len(b), nil
}
