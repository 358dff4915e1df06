package nstest

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The devices and addresses of the host in a Topology.
const (
	Dev1   = "eth0"    // to Client1
	Dev2   = "eth1"    // to Client2
	Bridge = "br-test" // to Container
)

// Topology is a host (the namespace of the process) with two neighbours and a container:
//
//	client1 --- eth0  host  eth1 --- client2
//	             br-test
//	                |
//	            container
//
// Every link has IPv4 and IPv6. The host forwards between all of them, and the others have their default route through it.
// Duplicate address detection is off, so that addresses work at once, and nothing filters a source by its route.
type Topology struct {
	Host, Client1, Client2, Container *NS
	// Host1 and Host2 are the host's addresses on the links to the clients, IPv4 first.
	Host1, Host2 [2]netip.Addr
	// Gateway are the host's addresses on the bridge.
	Gateway [2]netip.Addr
}

// NewTopology builds it around the calling process, which must have been isolated by Run or Main.
func NewTopology(t testing.TB) *Topology {
	t.Helper()
	Enter(t)
	tp := &Topology{
		Host: current(t, "host"), Client1: fresh(t, "client1"), Client2: fresh(t, "client2"), Container: fresh(t, "container"),
	}
	for _, p := range [][2]string{
		{"net/ipv4/ip_forward", "1"}, {"net/ipv6/conf/all/forwarding", "1"},
		{"net/ipv4/conf/all/rp_filter", "0"}, {"net/ipv4/conf/default/rp_filter", "0"},
		{"net/ipv4/icmp_ratelimit", "0"},
	} {
		tp.Host.Sysctl(t, p[0], p[1])
	}
	// Link-local addresses too must work at once: a router asks for its neighbours from them.
	for _, n := range []*NS{tp.Host, tp.Client1, tp.Client2, tp.Container} {
		for _, p := range []string{"all", "default"} {
			n.Sysctl(t, "net/ipv6/conf/"+p+"/accept_dad", "0")
			n.Sysctl(t, "net/ipv6/conf/"+p+"/accept_ra", "0")
		}
	}
	tp.Host.must(t, func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: Bridge}}
		if err := netlink.LinkAdd(br); err != nil {
			return fmt.Errorf("add %s: %w", Bridge, err)
		}
		return netlink.LinkSetUp(br)
	})
	for _, l := range []struct {
		ns       *NS
		dev      string // the host's end
		bridge   bool
		host4    string
		host6    string
		ns4, ns6 string
		store    *[2]netip.Addr
	}{
		{tp.Client1, Dev1, false, "198.51.100.1/24", "2001:db8:1::1/64", "198.51.100.2/24", "2001:db8:1::2/64", &tp.Host1},
		{tp.Client2, Dev2, false, "203.0.113.1/24", "2001:db8:2::1/64", "203.0.113.2/24", "2001:db8:2::2/64", &tp.Host2},
		{tp.Container, "vethc", true, "172.30.0.1/24", "fd00:30::1/64", "172.30.0.2/24", "fd00:30::2/64", &tp.Gateway},
	} {
		tp.connect(t, l.ns, l.dev)
		at := l.dev
		if l.bridge {
			at = Bridge
			tp.Host.must(t, func() error { return enslave(l.dev, Bridge) })
		}
		for i, p := range [][2]string{{l.host4, l.ns4}, {l.host6, l.ns6}} {
			host, ns := netip.MustParsePrefix(p[0]), netip.MustParsePrefix(p[1])
			l.store[i] = host.Addr()
			tp.Host.must(t, func() error { return addAddr(at, host) })
			l.ns.must(t, func() error {
				if err := addAddr("eth0", ns); err != nil {
					return err
				}
				return addRoute("eth0", netip.PrefixFrom(unspecified(host.Addr()), 0), host.Addr())
			})
		}
		l.ns.V4, l.ns.V6 = netip.MustParsePrefix(l.ns4).Addr(), netip.MustParsePrefix(l.ns6).Addr()
		l.ns.link, l.ns.gw = "eth0", at
	}
	return tp
}

// Addrs are the addresses of n, IPv4 first.
func (n *NS) Addrs() [2]netip.Addr { return [2]netip.Addr{n.V4, n.V6} }

// AddSource gives n one more address, to which the host has a route, so that n can send from it.
func (tp *Topology) AddSource(t testing.TB, n *NS, a netip.Addr) {
	t.Helper()
	p := netip.PrefixFrom(a, a.BitLen())
	n.must(t, func() error { return addAddr(n.link, p) })
	tp.Host.must(t, func() error { return addRoute(n.gw, p, netip.Addr{}) })
}

// connect makes a veth pair with the end dev in the host and eth0 in n.
func (tp *Topology) connect(t testing.TB, n *NS, dev string) {
	t.Helper()
	tp.Host.must(t, func() error {
		v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: dev}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(n.h))}
		if err := netlink.LinkAdd(v); err != nil {
			return fmt.Errorf("add veth %s: %w", dev, err)
		}
		return netlink.LinkSetUp(v)
	})
	n.must(t, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	})
}

func enslave(dev, bridge string) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	b, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(l, b)
}

func addAddr(dev string, p netip.Prefix) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return fmt.Errorf("add %v to %s: %w", p, dev, err)
	}
	return awaitLocal(p.Addr())
}

// awaitLocal waits until the kernel takes packets to a for its own. For IPv6 it makes that route in a worker of its own,
// some time after the address is there; until then it drops what arrives.
func awaitLocal(a netip.Addr) error {
	if a.Is4() {
		return nil
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Dst: ipNet(netip.PrefixFrom(a, 128))}
	for range 2000 {
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		if err != nil {
			return fmt.Errorf("list local routes: %w", err)
		}
		if len(routes) > 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("no local route to %v after two seconds", a)
}

// addRoute adds a route through dev, with a gateway where gw is valid.
func addRoute(dev string, to netip.Prefix, gw netip.Addr) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to)}
	if gw.IsValid() {
		r.Gw = gw.AsSlice()
	} else if to.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	if err := netlink.RouteAdd(r); err != nil {
		return fmt.Errorf("add a route to %v through %s: %w", to, dev, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
