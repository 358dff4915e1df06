package nstest

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// AddNetwork gives the host one more bridge, as a container engine does: the first address of each prefix is the host's.
func (tp *Topology) AddNetwork(t testing.TB, bridge string, prefixes ...netip.Prefix) {
	t.Helper()
	tp.Host.must(t, func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}
		if err := netlink.LinkAdd(br); err != nil {
			return fmt.Errorf("add %s: %w", bridge, err)
		}
		if err := netlink.LinkSetUp(br); err != nil {
			return err
		}
		for _, p := range prefixes {
			if err := addAddr(bridge, netip.PrefixFrom(p.Masked().Addr().Next(), p.Bits())); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddContainer puts one more namespace behind a bridge, with the nth address of each prefix, IPv4 first.
func (tp *Topology) AddContainer(t testing.TB, name, bridge string, nth int, v4, v6 netip.Prefix) *NS {
	t.Helper()
	n := fresh(t, name)
	for _, p := range []string{"all", "default"} {
		n.Sysctl(t, "net/ipv6/conf/"+p+"/accept_dad", "0")
		n.Sysctl(t, "net/ipv6/conf/"+p+"/accept_ra", "0")
	}
	n.link, n.gw = "eth0", bridge
	dev := "v-" + name
	tp.connect(t, n, dev)
	tp.Host.must(t, func() error { return enslave(dev, bridge) })
	for i, p := range []netip.Prefix{v4, v6} {
		gateway := p.Masked().Addr().Next()
		a := p.Masked().Addr()
		for range nth {
			a = a.Next()
		}
		n.must(t, func() error {
			if err := addAddr("eth0", netip.PrefixFrom(a, p.Bits())); err != nil {
				return err
			}
			return addRoute("eth0", netip.PrefixFrom(unspecified(a), 0), gateway)
		})
		*[]*netip.Addr{&n.V4, &n.V6}[i] = a
	}
	return n
}

// Spoof gives n an address of somebody else, to which the host has a way back through n's bridge; again, where it has it.
func (tp *Topology) Spoof(t testing.TB, n *NS, a netip.Addr) {
	t.Helper()
	p := netip.PrefixFrom(a, a.BitLen())
	if !n.Has(t, a) {
		n.must(t, func() error { return addAddr(n.link, p) })
	}
	tp.Host.must(t, func() error {
		l, err := netlink.LinkByName(n.gw)
		if err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(p)})
	})
}

// Unspoof takes it away.
func (tp *Topology) Unspoof(t testing.TB, n *NS, a netip.Addr) {
	t.Helper()
	n.must(t, func() error {
		l, err := netlink.LinkByName(n.link)
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, a.BitLen()))})
	})
}

// LinkLocal is the address of an interface in fe80::/10.
func (n *NS) LinkLocal(t testing.TB, dev string) (out netip.Addr) {
	t.Helper()
	n.must(t, func() error {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		all, err := netlink.AddrList(l, netlink.FAMILY_V6)
		for _, x := range all {
			if a, ok := netip.AddrFromSlice(x.IP); ok && a.IsLinkLocalUnicast() {
				out = a
			}
		}
		return err
	})
	return out
}

// Send sends one datagram, to whoever is there.
func (n *NS) Send(t testing.TB, to netip.AddrPort) {
	t.Helper()
	c, err := n.From(netip.Addr{}).dial("udp", to, Patience)
	if err != nil {
		t.Fatalf("%s: send to %v: %v", n.Name, to, err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("?")); err != nil {
		t.Errorf("%s: send to %v: %v", n.Name, to, err)
	}
}

// Join makes n a member of a multicast group on one of its interfaces, so that its kernel takes what is sent there.
func (n *NS) Join(t testing.TB, dev string, group netip.AddrPort) {
	t.Helper()
	n.must(t, func() error {
		i, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		c, err := net.ListenMulticastUDP("udp", i, net.UDPAddrFromAddrPort(group))
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		return nil
	})
}
