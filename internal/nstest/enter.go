package nstest

import (
	"fmt"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Enter makes the isolated process at home in its namespaces, once: private mounts, a /proc of its own processes, an empty
// /run (so that lock files such as /run/xtables.lock are its own), loopback up. NewTopology calls it. It fails the test
// where the process is not isolated, or where the network was not empty.
func Enter(t testing.TB) {
	t.Helper()
	if err := enter(); err != nil {
		t.Fatalf("nstest: %v", err)
	}
}

func enter() error {
	if err := Check(); err != nil {
		return err
	}
	unix.CloseOnExec(3)
	var self unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &self); err != nil {
		return fmt.Errorf("stat the own network namespace: %w", err)
	}
	mark := fmt.Sprintf("/run/.nstest-%d", self.Ino)
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	// Some kernels put fallback tunnel devices into each new namespace; a device that is up means that somebody uses it.
	for _, l := range links {
		if l.Attrs().Flags&unix.IFF_UP != 0 {
			return fmt.Errorf("link %s is up: the network namespace is not a fresh one", l.Attrs().Name)
		}
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount an empty /run: %w", err)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}
