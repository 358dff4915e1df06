// Package nflog reads the refused packets that the firewall's log rules hand to user space.
//
// The kernel copies the first bytes of a packet with a prefix that names the reason. What arrives here was sent by
// anybody, and it is read by a root process, so the parser looks at fixed places of the IP, TCP, UDP and ICMP headers and
// at nothing else; it never follows a length or an option further than an IPv6 extension header chain of a few links, and
// it is fuzzed. The package only reads; it neither decides nor stores.
package nflog

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"

	"github.com/platformd/platformd/firewall"
)

// Packet is one refused packet.
type Packet struct {
	Time             time.Time
	Reason           firewall.Reason
	Protocol         string // "tcp", "udp", "icmp", "icmpv6", or the number
	Source           netip.Addr
	Destination      netip.Addr
	SourcePort, Port uint16 // zero where the protocol has none, or the packet is a later fragment
	Interface        string
}

// Numbers of IP protocols and IPv6 extension headers (IANA protocol numbers).
const (
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoICMPv6   = 58
	extHopByHop   = 0
	extRouting    = 43
	extFragment   = 44
	extDest       = 60
	maxExtensions = 6
)

// parse fills in what the headers say; ok is false for what is no IP packet.
func (p *Packet) parse(b []byte) (ok bool) {
	if len(b) == 0 {
		return false
	}
	switch b[0] >> 4 {
	case 4:
		return p.parse4(b)
	case 6:
		return p.parse6(b)
	}
	return false
}

// parse4 reads the header of RFC 791, section 3.1.
func (p *Packet) parse4(b []byte) bool {
	header := int(b[0]&0x0f) * 4
	if len(b) < 20 || header < 20 {
		return false
	}
	p.Source, p.Destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	later := binary.BigEndian.Uint16(b[6:8])&0x1fff != 0
	p.transport(b[9], b[min(header, len(b)):], later)
	return true
}

// parse6 reads the header of RFC 8200, section 3, and skips extension headers of the common form.
func (p *Packet) parse6(b []byte) bool {
	if len(b) < 40 {
		return false
	}
	p.Source, p.Destination = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	next, rest, later := b[6], b[40:], false
	for range maxExtensions {
		length := 8
		switch next {
		case extHopByHop, extRouting, extDest:
			if len(rest) < 2 {
				return true
			}
			length = 8 * (int(rest[1]) + 1)
		case extFragment:
			if len(rest) >= 4 {
				later = binary.BigEndian.Uint16(rest[2:4])&0xfff8 != 0
			}
		default:
			p.transport(next, rest, later)
			return true
		}
		if len(rest) < length {
			return true
		}
		next, rest = rest[0], rest[length:]
	}
	return true
}

func (p *Packet) transport(proto byte, b []byte, later bool) {
	switch proto {
	case protoTCP:
		p.Protocol = "tcp"
	case protoUDP:
		p.Protocol = "udp"
	case protoICMP:
		p.Protocol = "icmp"
		return
	case protoICMPv6:
		p.Protocol = "icmpv6"
		return
	default:
		p.Protocol = strconv.Itoa(int(proto))
		return
	}
	if !later && len(b) >= 4 {
		p.SourcePort, p.Port = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	}
}
