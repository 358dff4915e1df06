package iptables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Commands, attributes and flags of ipset's netlink protocol: linux/netfilter/ipset/ip_set.h. Reading goes this way,
// because the ipset program cannot list headers of all sets and members of some in one run, and so do changes of a few
// members, because starting the program takes longer than they do. Bulk goes through the program, whose restore mode
// batches well.
const (
	ipsetProtocol = 6 // the lowest that every kernel accepts

	cmdList = 7
	cmdAdd  = 9
	cmdDel  = 10
	cmdTest = 11

	attrProtocol = 1
	attrSetName  = 2
	attrTypeName = 3
	attrFamily   = 5
	attrFlags    = 6
	attrData     = 7
	attrADT      = 8

	dataIP       = 1
	dataCIDR     = 3
	dataPort     = 4
	dataTimeout  = 6
	dataProto    = 7
	dataMaxElem  = 19
	dataNetmask  = 20
	dataElements = 24

	// Of elements; the numbers mean something else of sets.
	dataIP2   = 20
	dataCIDR2 = 21
	dataIface = 23

	flagListSetName = 1 << 1
	flagListHeader  = 1 << 2

	errNotThere = 4103 // IPSET_ERR_EXIST: for a test, that the element is not there
)

// kernelSet is an ipset as the kernel describes it.
type kernelSet struct {
	name, typ    string
	v6           bool
	max, timeout uint32
	timed        bool
	netmask      uint8
	elements     uint32
	members      map[netip.Prefix]uint32 // seconds left, 0 is forever; empty where they were not read
	tuples       map[string]uint32       // the same of a set of several dimensions
}

func dialIPSet() (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open ipset netlink: %w", err)
	}
	return c, nil
}

// request is a message with its attributes.
func request(cmd uint16, flags netlink.HeaderFlags, add func(*netlink.AttributeEncoder)) (netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.Uint8(attrProtocol, ipsetProtocol)
	add(ae)
	attrs, err := ae.Encode()
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_IPSET<<8 | cmd), Flags: netlink.Request | flags},
		Data:   append([]byte{unix.AF_INET, 0, 0, 0}, attrs...), // struct nfgenmsg
	}, err
}

// listRequest is the request of list.
func listRequest(name string, flags uint32) (netlink.Message, error) {
	return request(cmdList, netlink.Dump, func(ae *netlink.AttributeEncoder) {
		if name != "" {
			ae.String(attrSetName, name)
		}
		if flags != 0 {
			ae.Uint32(netlink.NetByteOrder|attrFlags, flags)
		}
	})
}

// list reads what the kernel says about sets of ours: all of them, or the one that is named. With flagListSetName it is the
// names alone, with flagListHeader the headers too, without a flag also the elements. For a header the kernel counts the
// elements of a hash one by one, about 20 ns each.
func list(c *netlink.Conn, name string, flags uint32) (map[string]*kernelSet, error) {
	req, err := listRequest(name, flags)
	if err != nil {
		return nil, err
	}
	msgs, err := c.Execute(req)
	if name != "" && errors.Is(err, unix.ENOENT) {
		return nil, nil // gone since its name was read
	}
	if err != nil {
		return nil, fmt.Errorf("list ipsets: %w (does the kernel have ip_set?)", err)
	}
	out := map[string]*kernelSet{}
	for _, msg := range msgs { // a long list of elements is several messages, each with the name
		s := &kernelSet{members: map[netip.Prefix]uint32{}, tuples: map[string]uint32{}}
		if err := s.decode(msg.Data); err != nil {
			return nil, fmt.Errorf("list ipsets: %w", err)
		}
		if !strings.HasPrefix(s.name, setPrefix) {
			continue
		}
		if first := out[s.name]; first != nil {
			maps.Copy(first.members, s.members)
			maps.Copy(first.tuples, s.tuples)
			continue
		}
		out[s.name] = s
	}
	return out, nil
}

// readSets reads all sets of ours: the members of the small ones, and the headers of the others. Without counting, big sets
// are taken to be what their names say.
func readSets(c *netlink.Conn, counting bool) (map[string]*kernelSet, error) {
	names, err := list(c, "", flagListSetName)
	if err != nil {
		return nil, err
	}
	out := map[string]*kernelSet{}
	for name := range names {
		logical, _, elements, big := splitName(name)
		if big && !counting {
			out[name] = &kernelSet{name: name, typ: (&set{kind: kindBig}).typ(), v6: strings.HasSuffix(logical, digitOf(true)), elements: uint32(elements)}
			continue
		}
		var flags uint32
		if !isSmall(name) {
			flags = flagListHeader
		}
		one, err := list(c, name, flags)
		if err != nil {
			return nil, err
		}
		if s := one[name]; s != nil {
			out[name] = s
		}
	}
	return out, nil
}

// decode takes one message of a list into s.
func (s *kernelSet) decode(msg []byte) error {
	if len(msg) < 4 {
		return fmt.Errorf("message of %d bytes is too short", len(msg))
	}
	ad, err := netlink.NewAttributeDecoder(msg[4:])
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case attrSetName:
			s.name = ad.String()
		case attrTypeName:
			s.typ = ad.String()
		case attrFamily:
			s.v6 = ad.Uint8() == unix.AF_INET6
		case attrData:
			ad.Nested(s.decodeHeader)
		case attrADT:
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					if list.Type() == attrData {
						list.Nested(s.decodeMember)
					}
				}
				return nil
			})
		}
	}
	return ad.Err()
}

func (s *kernelSet) decodeHeader(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case dataMaxElem:
			s.max = ad.Uint32()
		case dataTimeout:
			s.timeout, s.timed = ad.Uint32(), true
		case dataNetmask:
			s.netmask = ad.Uint8()
		case dataElements:
			s.elements = ad.Uint32()
		}
	}
	return nil
}

func (s *kernelSet) decodeMember(ad *netlink.AttributeDecoder) error {
	var a, b netip.Addr
	bits, bits2, left := -1, -1, uint32(0)
	var rest []string // dimensions behind the first
	var port, proto string
	for ad.Next() {
		switch ad.Type() {
		case dataIP:
			ad.Nested(decodeAddress(&a))
		case dataCIDR:
			bits = int(ad.Uint8())
		case dataTimeout:
			left = ad.Uint32()
		case dataPort:
			port = strconv.Itoa(int(ad.Uint16()))
		case dataProto:
			proto = map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[ad.Uint8()]
		case dataIP2:
			ad.Nested(decodeAddress(&b))
		case dataCIDR2:
			bits2 = int(ad.Uint8())
		case dataIface:
			rest = append(rest, ad.String())
		}
	}
	if port != "" {
		rest = append(rest, proto+":"+port)
	}
	if b.IsValid() {
		if bits2 < 0 {
			bits2 = b.BitLen()
		}
		rest = append(rest, netip.PrefixFrom(b, bits2).String())
	}
	if len(rest) > 0 {
		first := a.String()
		if bits >= 0 {
			first = netip.PrefixFrom(a, bits).String()
		}
		s.tuples[strings.Join(append([]string{first}, rest...), ",")] = left
		return nil
	}
	if bits < 0 {
		bits = a.BitLen()
	}
	p := netip.PrefixFrom(a, bits)
	if !p.IsValid() {
		return fmt.Errorf("element %v/%d is not a prefix", a, bits)
	}
	s.members[p] = left
	return nil
}

func decodeAddress(into *netip.Addr) func(*netlink.AttributeDecoder) error {
	return func(ip *netlink.AttributeDecoder) error {
		for ip.Next() {
			*into, _ = netip.AddrFromSlice(ip.Bytes())
		}
		return nil
	}
}

// element sends a command about one element and waits for the answer. Without a flag that says otherwise, adding what is
// there and removing what is not there are no errors.
func element(c *netlink.Conn, cmd uint16, kernel string, a netip.Addr, more func(data *netlink.AttributeEncoder)) error {
	req, err := request(cmd, netlink.Acknowledge, func(ae *netlink.AttributeEncoder) {
		ae.String(attrSetName, kernel)
		ae.Nested(attrData, func(data *netlink.AttributeEncoder) error {
			data.ByteOrder = binary.BigEndian
			data.Nested(dataIP, func(ip *netlink.AttributeEncoder) error {
				typ := uint16(1) // IPSET_ATTR_IPADDR_IPV4
				if a.Is6() {
					typ = 2
				}
				ip.Bytes(netlink.NetByteOrder|typ, a.AsSlice())
				return nil
			})
			more(data)
			return nil
		})
	})
	if err == nil {
		_, err = c.Execute(req)
	}
	return err
}

// test asks whether an address is in a set of the kernel.
func test(c *netlink.Conn, kernel string, a netip.Addr) (bool, error) {
	err := element(c, cmdTest, kernel, a, func(*netlink.AttributeEncoder) {})
	var errno unix.Errno
	if errors.As(err, &errno) && errno == errNotThere {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("test %v in ipset %s: %w", a, kernel, err)
	}
	return true, nil
}

// Probe implements firewall.Driver.
func (d *Driver) Probe(ctx context.Context, name string, a netip.Addr) (bool, error) {
	if a = a.Unmap().WithZone(""); !a.IsValid() {
		return false, fmt.Errorf("iptables: probe %s: no address", name)
	}
	if strings.HasPrefix(name, "geo") {
		name += "_"
	}
	c, err := dialIPSet()
	if err != nil {
		return false, fmt.Errorf("iptables: probe %s: %w", name, err)
	}
	defer c.Close()
	all, err := list(c, "", flagListSetName)
	if err != nil {
		return false, fmt.Errorf("iptables: probe %s: %w", name, err)
	}
	for kernel := range all {
		if n, _, _, _ := splitName(kernel); n == name+digitOf(a.Is6()) {
			if in, err := test(c, kernel, a); in || err != nil {
				return in, err
			}
		}
	}
	return false, nil
}
