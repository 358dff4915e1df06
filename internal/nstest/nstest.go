// Package nstest runs tests that touch the kernel's network in namespaces of their own. Only tests import it.
//
// The model in words. Run re-executes the test binary for one (sub)test in a fresh network, mount and process namespace;
// what runs there is the machine under test ("host"), with all its threads, so that code under test needs to know nothing
// of namespaces. NewTopology gives that host two neighbours on the "internet" and a container behind a bridge. Everything
// vanishes with the process: namespaces, rules, sets, mounts and child processes.
//
// A process counts as isolated only if the kernel says so: the parent hands its own network namespace down as an open
// file, and Check compares. The environment merely says which descriptor that is. As real root no user namespace is made,
// because tests need other user ids and Docker; otherwise there is one. Nothing here ever writes to the namespace in which
// `go test` was started, and a test that cannot be isolated fails.
package nstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// env holds "FD NAME": the descriptor of the parent's network namespace and what the child is for. It is a pointer to
// the evidence, never the evidence.
const env = "NSTEST_CHILD"

// whole is the NAME of a child that runs a whole test binary for Main.
const whole = "*"

// Main runs all tests of a package inside one set of fresh namespaces; it is for a TestMain. It never returns.
func Main(m *testing.M) {
	name, err := isolated()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "nstest:", err)
		os.Exit(1)
	case name != "": // also a child that Run made for one test
		os.Exit(m.Run())
	}
	cmd := command(whole, os.Args[1:])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := start(cmd); err != nil {
		fmt.Fprintln(os.Stderr, "nstest:", err)
		os.Exit(1)
	}
	if err := cmd.Wait(); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// Run calls f in a fresh set of namespaces, with f's process as the host under test. It does so by running the test
// binary again for t alone; the code of the test before Run is therefore executed in both processes and must be harmless.
func Run(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	name, err := isolated()
	if err != nil {
		t.Fatalf("nstest: %v", err)
	}
	if name == t.Name() {
		f(t)
		return
	}
	cmd := command(t.Name(), childArgs(os.Args[1:], t.Name()))
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := start(cmd); err != nil {
		t.Fatalf("nstest: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	ran := strings.Contains(out.String(), "--- PASS: "+t.Name()+" (")
	if err != nil || !ran {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Log(out)
	}
}

// Check says why this process is not isolated; nil means that it is. Whoever is about to change a kernel table in a test
// asks first. It looks at the namespace of the calling thread.
func Check() error {
	name, err := isolated()
	if err == nil && name == "" {
		err = errors.New("this process is in the namespace in which the test was started; use nstest.Run or nstest.Main")
	}
	return err
}

// isolated returns what this process is the child for, "" where it is not a child, and an error where it claims to be
// one and the kernel disagrees.
func isolated() (string, error) {
	v := os.Getenv(env)
	if v == "" {
		return "", nil
	}
	fd, name, _ := strings.Cut(v, " ")
	n, err := strconv.Atoi(fd)
	if err != nil {
		return "", fmt.Errorf("%s=%q: no descriptor", env, v)
	}
	typ, err := unix.IoctlRetInt(n, unix.NS_GET_NSTYPE)
	if err != nil || typ != unix.CLONE_NEWNET {
		return "", fmt.Errorf("%s=%q: descriptor %d is not a network namespace", env, v, n)
	}
	var parent, self unix.Stat_t
	if err := unix.Fstat(n, &parent); err != nil {
		return "", fmt.Errorf("stat the parent's network namespace: %w", err)
	}
	if err := unix.Stat("/proc/thread-self/ns/net", &self); err != nil {
		return "", fmt.Errorf("stat the own network namespace: %w", err)
	}
	if parent.Dev == self.Dev && parent.Ino == self.Ino {
		return "", fmt.Errorf("%s is set, but this is the parent's network namespace", env)
	}
	return name, nil
}

// command is the test binary for the child; start completes it.
func command(name string, args []string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), env+"=3 "+name)
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	return cmd
}

// start starts cmd on a thread that stays for as long as the process, because the death signal follows the thread.
func start(cmd *exec.Cmd) error {
	self, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer self.Close()
	cmd.ExtraFiles = []*os.File{self} // descriptor 3
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- cmd.Start()
		if cmd.Process != nil {
			select {} // keep the thread
		}
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("start %s in new namespaces: %w (needs root, or user namespaces enabled)", os.Args[0], err)
	}
	return nil
}

// childArgs are the flags of this run with the choice of tests replaced, and without what would make two processes
// write one file.
func childArgs(args []string, name string) []string {
	drop := regexp.MustCompile(`^-test\.(run|skip|v|count|coverprofile|gocoverdir|outputdir|testlogfile|cpuprofile|memprofile|trace|list|fuzz|bench|json|shuffle|parallel|failfast|blockprofile|mutexprofile)(=|$)`)
	out := make([]string, 0, len(args)+2)
	for i := 0; i < len(args); i++ {
		if drop.MatchString(args[i]) {
			if !strings.Contains(args[i], "=") && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
			}
			continue
		}
		out = append(out, args[i])
	}
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return append(out, "-test.run="+strings.Join(parts, "/"), "-test.v")
}
