package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parentEnv says which descriptor is the network namespace of the parent. It points to the evidence, it is none.
const parentEnv = "BENCH_PARENT"

// parentFD is that descriptor in every process that the bench starts of itself.
const parentFD = 3

// isolate is this program again, for new network, mount and process namespaces.
func isolate(limit time.Duration, args ...string) (*exec.Cmd, error) {
	self, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Cancel = func() error { defer cancel(); return cmd.Process.Kill() }
	cmd.ExtraFiles = []*os.File{self} // parentFD
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", parentEnv, parentFD))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd, nil
}

// startIsolated starts on a thread that stays, because the death signal follows the thread.
func startIsolated(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- cmd.Start()
		select {}
	}()
	return <-done
}

// isolated says why this process may not touch the kernel's tables.
func isolated() error {
	n, err := strconv.Atoi(os.Getenv(parentEnv))
	if err != nil || n != parentFD {
		return fmt.Errorf("%s is not set: this is a part of the bench that only the bench itself starts", parentEnv)
	}
	var parent, self unix.Stat_t
	if err := unix.Fstat(n, &parent); err != nil {
		return fmt.Errorf("stat the network namespace of the parent: %w", err)
	}
	typ, err := unix.IoctlRetInt(n, unix.NS_GET_NSTYPE)
	if err != nil || typ != unix.CLONE_NEWNET {
		return fmt.Errorf("descriptor %d is not a network namespace", n)
	}
	if err := unix.Stat("/proc/thread-self/ns/net", &self); err != nil {
		return fmt.Errorf("stat the own network namespace: %w", err)
	}
	if parent.Ino == self.Ino && parent.Dev == self.Dev {
		return fmt.Errorf("this is the network namespace in which the bench was started")
	}
	return nil
}

// ownMounts gives the section a /proc that shows its own processes, and folders that a service may fill.
func ownMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range [][3]string{{"proc", "/proc", "proc"}, {"tmpfs", "/run", "tmpfs"}} {
		if err := unix.Mount(m[0], m[1], m[2], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	return nil
}
