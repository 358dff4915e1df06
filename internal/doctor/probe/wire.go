package probe

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// Wire is the addresses of a veth pair, IPv4 and IPv6. A family that the host does not have is the zero Ends.
type Wire struct {
	V4, V6 Ends
}

// Ends are the two addresses of a wire in one family.
type Ends struct {
	Host, Probe netip.Addr
	Bits        int
}

// of is the family of a.
func (w Wire) of(a netip.Addr) Ends {
	if a.Is4() {
		return w.V4
	}
	return w.V6
}

// Contains reports whether a belongs to the wire.
func (w Wire) Contains(a netip.Addr) bool {
	e := w.of(a)
	return e.Host.IsValid() && netip.PrefixFrom(e.Host, e.Bits).Masked().Contains(a)
}

// pools are where addresses are taken from, best first. 198.18.0.0/15 is for tests of network devices (RFC 2544): it is in
// use nowhere else, and no list from outside may have it. The private ranges are for a policy that keeps it out.
func pools() (v4, v6 []netip.Prefix) {
	for _, p := range []string{"198.18.0.0/15", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} {
		v4 = append(v4, netip.MustParsePrefix(p))
	}
	return v4, []netip.Prefix{netip.MustParsePrefix("fd00::/8")} // RFC 4193
}

// triesPerPool is how many random networks are looked at before the next pool is.
const triesPerPool = 64

// choose finds a network of that size out of the pools that overlaps nothing in taken, and in which the far address is
// one that no list keeps out. Where all are kept out, a free one has to do.
func choose(pools []netip.Prefix, bits int, taken []netip.Prefix, welcome func(netip.Addr) bool, random io.Reader) (Ends, error) {
	var free Ends
	for _, pool := range pools {
		for range triesPerPool {
			net, err := within(pool, bits, random)
			if err != nil {
				return Ends{}, fmt.Errorf("choose probe addresses: %w", err)
			}
			if slices.ContainsFunc(taken, net.Overlaps) {
				continue
			}
			e := Ends{Host: net.Addr().Next(), Probe: net.Addr().Next().Next(), Bits: bits}
			if welcome(e.Probe) {
				return e, nil
			}
			if !free.Host.IsValid() {
				free = e
			}
		}
	}
	if !free.Host.IsValid() {
		return Ends{}, fmt.Errorf("choose probe addresses: the host has routes to all of %v", pools)
	}
	return free, nil
}

// within is a random network of that size in pool.
func within(pool netip.Prefix, bits int, random io.Reader) (netip.Prefix, error) {
	b := pool.Addr().AsSlice()
	r := make([]byte, len(b))
	if _, err := io.ReadFull(random, r); err != nil {
		return netip.Prefix{}, err
	}
	for i := range b {
		inPool := max(0, min(8, pool.Bits()-8*i))
		b[i] |= r[i] & (0xff >> inPool)
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, bits).Masked(), nil
}

// line is a wire that is in place, with the calling thread in the namespace at its far end.
type line struct {
	wire         Wire
	ns           netns.NsHandle
	host, inside *netlink.Handle
}

// connect makes the namespace, moves the calling thread into it, and wires it to the host. After an error nothing is left
// but the thread in its namespace.
func connect(cfg Config, rs *firewall.Ruleset) (_ *line, err error) {
	l := &line{ns: netns.None()}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.host, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := removeLeftover(l.host); err != nil {
		return nil, err
	}
	if err := l.address(cfg, rs); err != nil {
		return nil, err
	}
	if cfg.Starting != nil {
		cfg.Starting(l.wire)
	}
	if l.ns, err = netns.New(); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if l.inside, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink in the probe's namespace: %w", err)
	}
	if err := l.plug(cfg.Random); err != nil {
		return nil, fmt.Errorf("connect the probe's namespace: %w", err)
	}
	return l, nil
}

// address chooses the addresses of the wire. A family in which the host has no global address is left out.
func (l *line) address(cfg Config, rs *firewall.Ruleset) error {
	welcome := func(a netip.Addr) bool {
		v, err := firewall.Explain(rs, firewall.Query{Source: a, Interface: Link}, cfg.Lookup)
		return err == nil && v.Admitted
	}
	v4, v6 := pools()
	for _, f := range []struct {
		ends   *Ends
		family int
		pools  []netip.Prefix
		bits   int
		is     func(netip.Addr) bool
		// Routes that are no longer than this are to everywhere, and do not mean that an address is in use.
		vague int
	}{{&l.wire.V4, netlink.FAMILY_V4, v4, 30, netip.Addr.Is4, 7}, {&l.wire.V6, netlink.FAMILY_V6, v6, 126, netip.Addr.Is6, 8}} {
		if !slices.ContainsFunc(cfg.Addresses, func(a netip.Addr) bool { return f.is(a) && a.IsGlobalUnicast() }) {
			continue
		}
		taken, err := routed(l.host, f.family, f.vague)
		if err != nil {
			return err
		}
		if *f.ends, err = choose(f.pools, f.bits, taken, welcome, cfg.Random); err != nil {
			return err
		}
	}
	if !l.wire.V4.Host.IsValid() && !l.wire.V6.Host.IsValid() {
		return ErrNoAddress
	}
	return nil
}

// routed lists the networks that the host has routes to, in any table.
func routed(h *netlink.Handle, family, vague int) ([]netip.Prefix, error) {
	routes, err := h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var out []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if ok && bits > vague {
			out = append(out, netip.PrefixFrom(a.Unmap(), bits).Masked())
		}
	}
	return out, nil
}

// plug makes the pair, and everything on it that neither end should have to find out by asking: a filter that drops
// neighbour discovery must not make all ports look closed.
func (l *line) plug(random io.Reader) error {
	// An address that was set stays; one that the kernel chose would be replaced by udev, a moment too late for us.
	mac := make([]byte, 6)
	if _, err := io.ReadFull(random, mac); err != nil {
		return fmt.Errorf("choose a hardware address: %w", err)
	}
	mac[0] = mac[0]&^0x01 | 0x02 // one station, administered locally (IEEE 802)
	far := slices.Clone(mac)
	far[5] ^= 0x01
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = Link, mac
	if err := l.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: Link, PeerHardwareAddr: far, PeerNamespace: netlink.NsFd(int(l.ns))}); err != nil {
		return fmt.Errorf("add %s: %w", Link, err)
	}
	sides := [2]*netlink.Handle{l.host, l.inside}
	var links [2]netlink.Link
	for i, h := range sides {
		var err error
		if links[i], err = h.LinkByName(Link); err != nil {
			return err
		}
		// No link-local address: nothing is to be announced or asked for here. Without IPv6 there is no such mode.
		_ = h.LinkSetIP6AddrGenMode(links[i], 1)
		if err := h.LinkSetUp(links[i]); err != nil {
			return fmt.Errorf("set %s up: %w", Link, err)
		}
	}
	for i, h := range sides {
		if err := awaitUp(h, links[i].Attrs().Index); err != nil {
			return err
		}
	}
	for _, e := range []*Ends{&l.wire.V4, &l.wire.V6} {
		if !e.Host.IsValid() {
			continue
		}
		err := l.plugFamily(*e, sides, links)
		if err != nil && e == &l.wire.V6 && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP)) && l.wire.V4.Host.IsValid() {
			*e = Ends{} // IPv6 is off for new interfaces
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *line) plugFamily(e Ends, sides [2]*netlink.Handle, links [2]netlink.Link) error {
	ends := [2]netip.Addr{e.Host, e.Probe}
	for i, h := range sides {
		a := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(ends[i], e.Bits))}
		if e.Host.Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(links[i], a); err != nil {
			return fmt.Errorf("add %v to %s: %w", ends[i], Link, err)
		}
		peer := &netlink.Neigh{LinkIndex: links[i].Attrs().Index, State: netlink.NUD_PERMANENT, IP: ends[1-i].AsSlice(), HardwareAddr: links[1-i].Attrs().HardwareAddr}
		if err := h.NeighSet(peer); err != nil {
			return fmt.Errorf("set neighbour %v of %s: %w", ends[1-i], Link, err)
		}
	}
	all := ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	if e.Host.Is6() {
		all = ipNet(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	if err := l.inside.RouteAdd(&netlink.Route{LinkIndex: links[1].Attrs().Index, Dst: all, Gw: e.Host.AsSlice()}); err != nil {
		return fmt.Errorf("add a route through %s: %w", Link, err)
	}
	return awaitLocal(l.inside, e.Probe)
}

// awaitUp waits until the kernel sends what is given to the link. It notices that there is a carrier in a worker of its
// own, up to a second later, and drops everything until then.
func awaitUp(h *netlink.Handle, index int) error {
	for range 3000 {
		l, err := h.LinkByIndex(index)
		if err != nil {
			return fmt.Errorf("look at %s: %w", Link, err)
		}
		if l.Attrs().OperState == netlink.OperUp {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%s: not up after three seconds", Link)
}

// awaitLocal waits until the kernel takes packets to a for its own; for IPv6 it does that some time after the address is
// there, and answers to the first knocks would be lost.
func awaitLocal(h *netlink.Handle, a netip.Addr) error {
	if a.Is4() {
		return nil
	}
	want := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Dst: ipNet(netip.PrefixFrom(a, 128))}
	for range 1000 {
		routes, err := h.RouteListFiltered(netlink.FAMILY_V6, want, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		if err != nil {
			return fmt.Errorf("list local routes: %w", err)
		}
		if len(routes) > 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("address %v of %s: not in use after a second", a, Link)
}

// close removes the pair. The namespace goes with the thread.
func (l *line) close() error {
	var errs []error
	if l.host != nil {
		if l.ns.IsOpen() {
			errs = append(errs, removeLeftover(l.host))
		}
		l.host.Close()
	}
	if l.inside != nil {
		l.inside.Close()
	}
	if l.ns.IsOpen() {
		errs = append(errs, l.ns.Close())
	}
	return errors.Join(errs...)
}

// RemoveLeftover removes what a probe left behind whose process was killed. Nothing there is no error.
func RemoveLeftover() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	return removeLeftover(h)
}

func removeLeftover(h *netlink.Handle) error {
	l, err := h.LinkByName(Link)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %s: %w", Link, err)
	}
	if l.Type() != "veth" {
		return fmt.Errorf("interface %s: is a %s and not ours, but has the name that the probe needs; rename it", Link, l.Type())
	}
	if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove %s: %w", Link, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// sockaddr is to in the form of system calls, with the family's constant.
func sockaddr(to netip.AddrPort) (unix.Sockaddr, int) {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}, unix.AF_INET6
}
