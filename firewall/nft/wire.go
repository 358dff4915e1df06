package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// This file speaks nfnetlink where google/nftables does not: it has no request for one element, no generation number and
// no element count, and its encoder overflows a 16-bit attribute length beyond 1,638 ranges without saying so. Formats are
// those of include/uapi/linux/netfilter/nf_tables.h.

// Attributes that golang.org/x/sys/unix does not have.
const (
	nftaSetCount = 20 // since Linux 6.16
)

// bufferBytes holds one bulk transaction, its acknowledgements, or a dump.
const bufferBytes = 16 << 20

func dial() (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open nfnetlink: %w", err)
	}
	if err := setBuffers(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// setBuffers asks for large buffers; mdlayher/netlink uses the FORCE options, which need CAP_NET_ADMIN in the first user
// namespace, and falls back to what the system's limit allows.
func setBuffers(c *netlink.Conn) error {
	return errors.Join(c.SetReadBuffer(bufferBytes), c.SetWriteBuffer(bufferBytes))
}

func header(message int, flags netlink.HeaderFlags, attrs []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | message), Flags: netlink.Request | flags},
		Data:   append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
}

func attributes(attrs ...netlink.Attribute) ([]byte, error) { return netlink.MarshalAttributes(attrs) }

func str(typ uint16, s string) netlink.Attribute {
	return netlink.Attribute{Type: typ, Data: append([]byte(s), 0)}
}

// generation is the number of the ruleset of this network namespace; every committed transaction adds one.
func generation(c *netlink.Conn) (uint32, error) {
	replies, err := c.Execute(header(unix.NFT_MSG_GETGEN, 0, nil))
	if err != nil {
		return 0, fmt.Errorf("read ruleset generation: %w", err)
	}
	for _, r := range replies {
		ad, err := netlink.NewAttributeDecoder(tail(r.Data))
		if err != nil {
			return 0, fmt.Errorf("read ruleset generation: %w", err)
		}
		ad.ByteOrder = binary.BigEndian
		for ad.Next() {
			if ad.Type() == unix.NFTA_GEN_ID {
				return ad.Uint32(), nil
			}
		}
	}
	return 0, errors.New("read ruleset generation: no answer")
}

func tail(data []byte) []byte {
	if len(data) < 4 {
		return nil
	}
	return data[4:]
}

// contains asks for one element; an address inside of an interval finds the interval.
func contains(c *netlink.Conn, set string, a netip.Addr) (bool, error) {
	value, err := attributes(netlink.Attribute{Type: unix.NFTA_DATA_VALUE, Data: a.AsSlice()})
	if err != nil {
		return false, err
	}
	key, err := attributes(netlink.Attribute{Type: unix.NFTA_SET_ELEM_KEY | unix.NLA_F_NESTED, Data: value})
	if err != nil {
		return false, err
	}
	list, err := attributes(netlink.Attribute{Type: unix.NFTA_LIST_ELEM | unix.NLA_F_NESTED, Data: key})
	if err != nil {
		return false, err
	}
	attrs, err := attributes(str(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), str(unix.NFTA_SET_ELEM_LIST_SET, set),
		netlink.Attribute{Type: unix.NFTA_SET_ELEM_LIST_ELEMENTS | unix.NLA_F_NESTED, Data: list})
	if err != nil {
		return false, err
	}
	replies, err := c.Execute(header(unix.NFT_MSG_GETSETELEM, 0, attrs))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look %v up in set %s: %w", a, set, err)
	}
	return len(replies) > 0, nil
}

// kernelSet is what the kernel says about a set without its elements.
type kernelSet struct {
	name     string
	flags    uint32
	keyType  uint32
	size     uint32
	timeout  time.Duration
	count    int // -1 where the kernel does not say
	userdata []byte
}

// listSets reads the sets of our table.
func listSets(c *netlink.Conn) ([]kernelSet, error) {
	attrs, err := attributes(str(unix.NFTA_SET_TABLE, tableName))
	if err != nil {
		return nil, err
	}
	replies, err := c.Execute(header(unix.NFT_MSG_GETSET, netlink.Dump, attrs))
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	var out []kernelSet
	for _, r := range replies {
		s, err := decodeSet(tail(r.Data))
		if err != nil {
			return nil, fmt.Errorf("list sets: %w", err)
		}
		out = append(out, s)
	}
	return out, nil
}

func decodeSet(data []byte) (kernelSet, error) {
	s := kernelSet{count: -1}
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return s, err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_SET_NAME:
			s.name = ad.String()
		case unix.NFTA_SET_FLAGS:
			s.flags = ad.Uint32()
		case unix.NFTA_SET_KEY_TYPE:
			s.keyType = ad.Uint32()
		case unix.NFTA_SET_TIMEOUT:
			s.timeout = time.Duration(ad.Uint64()) * time.Millisecond
		case unix.NFTA_SET_USERDATA:
			s.userdata = ad.Bytes()
		case nftaSetCount:
			s.count = int(ad.Uint32())
		case unix.NFTA_SET_DESC:
			ad.Nested(func(d *netlink.AttributeDecoder) error {
				for d.Next() {
					if d.Type() == unix.NFTA_SET_DESC_SIZE {
						s.size = d.Uint32()
					}
				}
				return nil
			})
		}
	}
	return s, ad.Err()
}

// successor is key+1; ok is false at the end of the address space, where the kernel needs no end element.
func successor(key []byte) (next [16]byte, ok bool) {
	n := copy(next[:], key)
	for i := n - 1; i >= 0; i-- {
		next[i]++
		if next[i] != 0 {
			return next, true
		}
	}
	return next, false
}

// remaining is the timeout for an end; ok is false where it has passed. Zero is no timeout.
func remaining(t firewall.Timed, now time.Time) (d time.Duration, ok bool) {
	if t.Until.IsZero() {
		return 0, true
	}
	d = t.Until.Sub(now).Round(time.Millisecond)
	return d, d >= time.Millisecond
}
