package nstest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
)

// TooBig tells to.src, as a router on the way would, that a UDP packet of the flow from src to dst was larger than mtu:
// ICMP "fragmentation needed" (RFC 1191) or ICMPv6 "packet too big" (RFC 4443, section 3.2).
func (n *NS) TooBig(t testing.TB, src, dst netip.AddrPort, mtu uint32) {
	t.Helper()
	udp := make([]byte, 8)
	binary.BigEndian.PutUint16(udp[0:], src.Port())
	binary.BigEndian.PutUint16(udp[2:], dst.Port())
	binary.BigEndian.PutUint16(udp[4:], 1400)
	var quoted, msg []byte
	network := "ip4:icmp"
	if src.Addr().Is4() {
		quoted = make([]byte, 20)
		quoted[0], quoted[8], quoted[9] = 0x45, 64, 17
		binary.BigEndian.PutUint16(quoted[2:], 1420)
		binary.BigEndian.PutUint16(quoted[6:], 0x4000) // don't fragment
		copy(quoted[12:], src.Addr().AsSlice())
		copy(quoted[16:], dst.Addr().AsSlice())
		binary.BigEndian.PutUint16(quoted[10:], checksum(quoted))
		msg = []byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}
	} else {
		network = "ip6:ipv6-icmp"
		quoted = make([]byte, 40)
		quoted[0], quoted[6], quoted[7] = 0x60, 17, 64
		binary.BigEndian.PutUint16(quoted[4:], 1400)
		copy(quoted[8:], src.Addr().AsSlice())
		copy(quoted[24:], dst.Addr().AsSlice())
		msg = []byte{2, 0, 0, 0}
		msg = binary.BigEndian.AppendUint32(msg, mtu)
	}
	msg = append(append(msg, quoted...), udp...)
	if src.Addr().Is4() {
		binary.BigEndian.PutUint16(msg[2:], checksum(msg))
	}
	n.must(t, func() error {
		c, err := net.DialIP(network, nil, &net.IPAddr{IP: src.Addr().AsSlice()})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(msg)
		return err
	})
}
