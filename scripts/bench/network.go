package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace that lives as long as its descriptor.
type namespace struct{ h netns.NsHandle }

// newNamespace makes one, with loopback up.
func newNamespace() (*namespace, error) {
	n := &namespace{}
	err := onThread(func() error {
		h, err := netns.New()
		if err != nil {
			return err
		}
		n.h = h
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return n, nil
}

func (n *namespace) close() { _ = n.h.Close() }

// do calls f on a thread in the namespace. f must not start goroutines that touch the network.
func (n *namespace) do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.h); err != nil {
			return err
		}
		if err := isolated(); err != nil {
			return err
		}
		return f()
	})
}

// start starts a program in the namespace.
func (n *namespace) start(cmd *exec.Cmd) error {
	fd, err := unix.FcntlInt(parentFD, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("hand down the parent's network namespace: %w", err)
	}
	parent := os.NewFile(uintptr(fd), "parent")
	defer parent.Close()
	cmd.ExtraFiles = []*os.File{parent}
	return n.do(cmd.Start)
}

// onThread calls f on a thread that is thrown away afterwards.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// lane is a host and a client with a cable between them.
type lane struct {
	host, client *namespace
	hostMAC      net.HardwareAddr
}

// Addresses of a lane, and the network that its client also speaks for.
var (
	hostAddr    = netip.MustParseAddr("198.51.100.1")
	clientAddr  = netip.MustParseAddr("198.51.100.2")
	clientsNet  = netip.MustParsePrefix("198.18.0.0/15")
	hostLink    = "eth0"
	clientLink  = "eth0"
	clientHWAdr = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

func newLane() (*lane, error) {
	host, err := newNamespace()
	if err != nil {
		return nil, err
	}
	client, err := newNamespace()
	if err != nil {
		return nil, err
	}
	l := &lane{host: host, client: client, hostMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	err = host.do(func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: hostLink, HardwareAddr: l.hostMAC}, PeerName: clientLink,
			PeerNamespace: netlink.NsFd(int(client.h)), PeerHardwareAddr: clientHWAdr}
		if err := netlink.LinkAdd(v); err != nil {
			return fmt.Errorf("add cable: %w", err)
		}
		for _, p := range [][2]string{
			{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"}, {"ipv4/conf/eth0/rp_filter", "0"},
			{"ipv6/conf/all/disable_ipv6", "1"}, // no router solicitations between the packets that are counted
		} {
			if err := os.WriteFile("/proc/sys/net/"+p[0], []byte(p[1]), 0); err != nil {
				return err
			}
		}
		return address(hostLink, hostAddr)
	})
	if err == nil {
		err = client.do(func() error { return address(clientLink, clientAddr) })
	}
	if err == nil {
		err = host.do(l.neighbours)
	}
	return l, err
}

// neighbours makes the client the way to everybody else, without asking who has that address.
func (l *lane) neighbours() error {
	link, err := netlink.LinkByName(hostLink)
	if err != nil {
		return err
	}
	i := link.Attrs().Index
	everybody := &net.IPNet{IP: netip.IPv4Unspecified().AsSlice(), Mask: net.CIDRMask(0, 32)}
	return errors.Join(
		netlink.NeighSet(&netlink.Neigh{LinkIndex: i, State: netlink.NUD_PERMANENT, IP: clientAddr.AsSlice(), HardwareAddr: clientHWAdr}),
		netlink.RouteAdd(&netlink.Route{LinkIndex: i, Dst: everybody, Gw: clientAddr.AsSlice()}))
}

func address(dev string, a netip.Addr) error {
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(24, 32)}}); err != nil {
		return fmt.Errorf("add %v to %s: %w", a, dev, err)
	}
	return netlink.LinkSetUp(link)
}

func (l *lane) close() { l.host.close(); l.client.close() }
