package nstest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Ping sends one echo request and reports whether the reply came in time.
func (n *NS) Ping(t testing.TB, to netip.Addr) bool {
	t.Helper()
	return n.From(netip.Addr{}).Pings(t, to, 1) == 1
}

// Pings sends count echo requests at once and returns how many were answered in time.
func (f From) Pings(t testing.TB, to netip.Addr, count int) int {
	t.Helper()
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	var c *net.IPConn
	f.must(t, func() error {
		var src *net.IPAddr
		if f.Src.IsValid() {
			src = &net.IPAddr{IP: f.Src.AsSlice()}
		}
		var err error
		c, err = net.DialIP(network, src, &net.IPAddr{IP: to.AsSlice()})
		return err
	})
	defer c.Close()
	id := uint16(time.Now().UnixNano())
	for seq := range count {
		if _, err := c.Write(echo(request, id, uint16(seq))); err != nil {
			t.Errorf("%s: ping %v: %v", f.Name, to, err)
		}
	}
	answered := 0
	buf := make([]byte, 256)
	_ = c.SetReadDeadline(time.Now().Add(Patience))
	for answered < count {
		k, _, err := c.ReadFromIP(buf) // without the IPv4 header
		if err != nil {
			break
		}
		if k >= 8 && buf[0] == reply && binary.BigEndian.Uint16(buf[4:]) == id {
			answered++
		}
	}
	return answered
}

// echo is an ICMP message with its checksum; the kernel replaces the one of ICMPv6.
func echo(typ byte, id, seq uint16) []byte {
	b := make([]byte, 16)
	b[0] = typ
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// checksum is the Internet checksum, RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
