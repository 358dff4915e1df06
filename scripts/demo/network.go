package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The appliance's addresses, and its router's. All documentation addresses (RFC 5737, RFC 3849), but for the ones of the
// client that pretends to be in the Netherlands.
const (
	applianceV4, routerV4 = "198.51.100.10/24", "198.51.100.1/24"
	applianceV6, routerV6 = "2001:db8:10::10/64", "2001:db8:10::1/64"
)

// client is a machine on the simulated internet.
type client struct {
	name string
	// addrs are its addresses with their prefixes, gateways the router's on the same link; IPv4 first. The second pair of
	// addresses, if there is one, is routed to it beside.
	addrs    []netip.Prefix
	gateways [2]netip.Prefix
	ns       netns.NsHandle
}

func clients() []*client {
	p := netip.MustParsePrefix
	return []*client{
		{name: "alice", addrs: []netip.Prefix{p("203.0.113.7/24"), p("2001:db8:a::7/64")},
			gateways: [2]netip.Prefix{p("203.0.113.1/24"), p("2001:db8:a::1/64")}},
		{name: "mallory", addrs: []netip.Prefix{p("192.0.2.66/24"), p("2001:db8:b::66/64"), p("193.0.6.139/32"), p("2001:67c:2e8::139/128")},
			gateways: [2]netip.Prefix{p("192.0.2.1/24"), p("2001:db8:b::1/64")}},
	}
}

// addr is its address of the same family as to; abroad takes the second pair.
func (c *client) addr(v6, abroad bool) netip.Addr {
	i := 0
	if v6 {
		i = 1
	}
	if abroad {
		i += 2
	}
	return c.addrs[i].Addr()
}

// isolate makes this process at home in its namespaces. It refuses where the network is the parent's.
func isolate() error {
	var parent, own unix.Stat_t
	if err := unix.Fstat(fdParent, &parent); err != nil {
		return fmt.Errorf("look at the parent's network namespace: %w", err)
	}
	if err := unix.Stat("/proc/self/ns/net", &own); err != nil {
		return fmt.Errorf("look at the own network namespace: %w", err)
	}
	if parent.Dev == own.Dev && parent.Ino == own.Ino {
		return errors.New("this is the network that the demo was started in; nothing was changed")
	}
	unix.CloseOnExec(fdParent)
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// An empty one, so that locks and sockets of the machine's own services are out of sight.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return nil
}

// buildNetwork connects the appliance (this process) with the clients through a router:
//
//	alice   --- |        |
//	            | router | --- eth0 appliance
//	mallory --- |        |
func buildNetwork() ([]*client, error) {
	all := clients()
	router, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("make router: %w", err)
	}
	if err := quick(); err != nil {
		return nil, err
	}
	own, err := netns.Get()
	if err != nil {
		return nil, err
	}
	p := netip.MustParsePrefix
	if err := connect(router, "appliance", []netip.Prefix{p(routerV4), p(routerV6)}, own,
		[]netip.Prefix{p(applianceV4), p(applianceV6)}); err != nil {
		return nil, fmt.Errorf("connect the appliance: %w", err)
	}
	for i, c := range all {
		if c.ns, err = newNamespace(); err != nil {
			return nil, fmt.Errorf("make %s: %w", c.name, err)
		}
		if err := unix.Dup3(int(c.ns), fdClient+i, unix.O_CLOEXEC); err != nil {
			return nil, err
		}
		if err := connect(router, c.name, c.gateways[:], c.ns, c.addrs); err != nil {
			return nil, fmt.Errorf("connect %s: %w", c.name, err)
		}
	}
	return all, within(router, func() error {
		return errors.Join(sysctl("net/ipv4/ip_forward", "1"), sysctl("net/ipv6/conf/all/forwarding", "1"))
	})
}

// connect puts a cable between the router, where its end has that name, and eth0 of ns.
func connect(router netns.NsHandle, name string, near []netip.Prefix, ns netns.NsHandle, far []netip.Prefix) error {
	err := within(router, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		if err := up(name, near); err != nil {
			return err
		}
		for _, extra := range far[2:] {
			if err := route(name, extra, via(far, extra)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return within(ns, func() error {
		if err := up("eth0", far); err != nil {
			return err
		}
		for _, gw := range near {
			if err := route("eth0", netip.PrefixFrom(zero(gw.Addr()), 0), gw.Addr()); err != nil {
				return err
			}
		}
		return nil
	})
}

// via is the first address of the same family.
func via(addrs []netip.Prefix, like netip.Prefix) netip.Addr {
	if like.Addr().Is4() {
		return addrs[0].Addr()
	}
	return addrs[1].Addr()
}

func zero(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func up(dev string, addrs []netip.Prefix) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return err
	}
	for _, a := range addrs {
		if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}); err != nil && a.Addr().Is6() {
			return fmt.Errorf("add %v to %s: %w (is IPv6 switched off on this machine?)", a, dev, err)
		} else if err != nil {
			return fmt.Errorf("add %v to %s: %w", a, dev, err)
		}
	}
	return nil
}

func route(dev string, to netip.Prefix, gw netip.Addr) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	if err := netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to), Gw: gw.AsSlice()}); err != nil {
		return fmt.Errorf("add a route to %v: %w", to, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// newNamespace makes a network namespace with its loopback up.
func newNamespace() (h netns.NsHandle, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if h, err = netns.New(); err == nil {
			err = quick()
		}
	}()
	<-done
	return h, err
}

// quick makes a namespace usable at once: loopback up, and no waiting for IPv6 addresses to be checked for duplicates.
func quick() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetUp(lo), sysctl("net/ipv6/conf/all/accept_dad", "0"), sysctl("net/ipv6/conf/default/accept_dad", "0"))
}

// sysctl writes below /proc/sys, for the namespace of the calling thread.
func sysctl(path, value string) error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0o644) }

// within calls f on a thread in ns. Sockets that f makes stay there; goroutines that it starts are not there.
func within(ns netns.NsHandle, f func() error) error {
	c := make(chan error)
	go func() {
		runtime.LockOSThread() // as above
		if err := netns.Set(ns); err != nil {
			c <- err
			return
		}
		c <- f()
	}()
	return <-c
}
