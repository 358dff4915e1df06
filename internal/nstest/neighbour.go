package nstest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// FlushNeighbours makes n forget the link-layer address of everybody.
func (n *NS) FlushNeighbours(t testing.TB) {
	t.Helper()
	n.must(t, func() error {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			all, err := netlink.NeighList(0, family)
			if err != nil {
				return err
			}
			for _, e := range all {
				if e.State&(netlink.NUD_NOARP|netlink.NUD_PERMANENT) == 0 {
					_ = netlink.NeighDel(&e) // it may be gone already
				}
			}
		}
		return nil
	})
}

// Has reports whether n has the address on its link to the host.
func (n *NS) Has(t testing.TB, a netip.Addr) bool {
	t.Helper()
	found := false
	n.must(t, func() error {
		l, err := netlink.LinkByName(n.link)
		if err != nil {
			return err
		}
		all, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		for _, x := range all {
			if y, ok := netip.AddrFromSlice(x.IP); ok && y.Unmap() == a {
				found = true
			}
		}
		return err
	})
	return found
}

// SendACK sends a TCP segment with nothing but the ACK flag that belongs to no connection.
func (n *NS) SendACK(t testing.TB, from, to netip.AddrPort) {
	t.Helper()
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b[0:], from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], 1000)
	binary.BigEndian.PutUint32(b[8:], 2000)
	b[12], b[13] = 5<<4, 0x10
	binary.BigEndian.PutUint16(b[14:], 1024)
	pseudo := append(append(from.Addr().AsSlice(), to.Addr().AsSlice()...), 0, 6, 0, 20)
	binary.BigEndian.PutUint16(b[16:], checksum(append(pseudo, b...)))
	network := "ip4:tcp"
	if to.Addr().Is6() {
		network = "ip6:tcp"
	}
	n.must(t, func() error {
		c, err := net.DialIP(network, &net.IPAddr{IP: from.Addr().AsSlice()}, &net.IPAddr{IP: to.Addr().AsSlice()})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(b)
		return err
	})
}
