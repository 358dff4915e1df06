package nstest

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// NS is one network namespace: a machine in the topology. The zero value is not usable.
type NS struct {
	Name string
	h    netns.NsHandle
	// V4 and V6 are its first addresses on the link to the host (for the host: unused, see Topology).
	V4, V6 netip.Addr
	// link is the name of its device towards the host, gw the host's end.
	link, gw string
}

// current is the namespace of the process.
func current(t testing.TB, name string) *NS {
	t.Helper()
	h, err := netns.Get()
	if err != nil {
		t.Fatalf("nstest: open the own network namespace: %v", err)
	}
	t.Cleanup(func() { h.Close() })
	return &NS{Name: name, h: h}
}

// fresh makes a new namespace with its loopback up.
func fresh(t testing.TB, name string) *NS {
	t.Helper()
	n := &NS{Name: name}
	type result struct {
		h   netns.NsHandle
		err error
	}
	c := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		h, err := netns.New()
		c <- result{h, err}
	}()
	r := <-c
	if r.err != nil {
		t.Fatalf("nstest: new network namespace %s: %v", name, r.err)
	}
	n.h = r.h
	t.Cleanup(func() { n.h.Close() })
	n.must(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return n
}

// Of is the network namespace of a process, such as one in a container. Its device is eth0, and its addresses are as they are
// said; bridge is the host's device that leads to it.
func Of(t testing.TB, name string, pid int, bridge string, v4, v6 netip.Addr) *NS {
	t.Helper()
	h, err := netns.GetFromPid(pid)
	if err != nil {
		t.Fatalf("nstest: network namespace of process %d: %v", pid, err)
	}
	t.Cleanup(func() { h.Close() })
	return &NS{Name: name, h: h, V4: v4, V6: v6, link: "eth0", gw: bridge}
}

// ID is the kernel's number of the namespace.
func (n *NS) ID(t testing.TB) (out string) {
	t.Helper()
	n.must(t, func() (err error) {
		out, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	return out
}

// Do calls f on a thread in n and returns its error. Sockets that f makes stay in n and may be used from anywhere;
// goroutines that f starts are not in n.
func (n *NS) Do(f func() error) error {
	c := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(n.h); err != nil {
			c <- fmt.Errorf("enter namespace %s: %w", n.Name, err)
			return
		}
		c <- f()
	}()
	return <-c
}

func (n *NS) must(t testing.TB, f func() error) {
	t.Helper()
	if err := n.Do(f); err != nil {
		t.Fatalf("nstest: %s: %v", n.Name, err)
	}
}

// Sysctl writes a value below /proc/sys, in n.
func (n *NS) Sysctl(t testing.TB, path, value string) {
	t.Helper()
	n.must(t, func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0o644) })
}
