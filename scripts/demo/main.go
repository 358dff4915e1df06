// Command demo shows platformd at work on a small internet of its own, on any machine and without changing it.
//
// The model in words. Demo runs itself again in new network, mount and process namespaces. That process is the appliance:
// it makes a router and two clients beside itself, each in a network namespace, opens a few servers, starts platformd and
// types the tour's commands. It goes no further where the kernel says that its network is the one of whoever started it.
// Namespaces, rules and processes end with it, however it ends; the folder with the data is removed by the first process.
//
// TOUR=0 leaves the tour out; ONCE=1 ends after it, with status 1 where something was not as the tour says. An ordinary
// user can run it where the kernel lets users make namespaces.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	bin := flag.String("bin", "bin", "folder with platformd and platformctl")
	tools := flag.String("tools", ".cache", "folder with the certificate authority that make deps installs")
	folder := flag.String("appliance", "", "used by demo itself: be the appliance, with this folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var err error
	if *folder != "" {
		err = appliance(ctx, *bin, *tools, *folder)
	} else {
		err = outside(ctx, *bin, *tools)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// outside makes the folder, runs the appliance in namespaces of its own, and removes the folder when that has ended.
func outside(ctx context.Context, bin, tools string) (err error) {
	// The appliance is killed when the thread that started it ends: this one must not.
	runtime.LockOSThread()
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if tools, err = filepath.Abs(tools); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "platform-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	self, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/exe", "-bin", bin, "-tools", tools, "-appliance", folder)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// Whoever logged in over SSH is not logged in to the appliance.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SSH_") })
	cmd.ExtraFiles = []*os.File{self}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // so that Ctrl-C comes to this process alone, and things end in order
	}
	if os.Geteuid() != 0 {
		cmd.Env = append(cmd.Env, envUser+"=1")
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make namespaces: %w; run it as root: sudo make run", err)
	}
	if err := doors(folder, cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err = <-done:
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err = <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			err = <-done
		}
	}
	if err != nil {
		return fmt.Errorf("the appliance ended: %w", err)
	}
	return nil
}

// envUser tells the appliance that it has a user namespace of its own.
const envUser = "DEMO_USER_NAMESPACE"

// The descriptors under which the appliance keeps what its parent and visitors need.
const (
	fdParent = 3   // the network namespace that must be left alone
	fdClient = 100 // of the first client; the others follow
)

// doors makes links to the namespaces, for nsenter --net.
func doors(folder string, pid int) error {
	links := map[string]string{"appliance": fmt.Sprintf("/proc/%d/ns/net", pid), "user": fmt.Sprintf("/proc/%d/ns/user", pid)}
	for i, c := range clients() {
		links[c.name] = fmt.Sprintf("/proc/%d/fd/%d", pid, fdClient+i)
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}
