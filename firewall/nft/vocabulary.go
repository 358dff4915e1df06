package nft

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/ratelimit"
)

// A stmt is one statement of a rule: its nft(8) text and the kernel expressions that mean it. Sets are named without
// their generation; see spec.
type stmt struct {
	text  string
	exprs []expr.Any
}

// Registers: statements use the 16-byte register 1. The second field of a concatenation is 4 bytes into it; the first is
// named by the whole register, because that is how the kernel says it when it is read back.
const (
	reg       = unix.NFT_REG_1
	regSecond = unix.NFT_REG32_01
)

// family is what differs between IPv4 and IPv6 when an address is looked at.
type family struct {
	word     string // nft(8): "ip", "ip6"
	digit    string // suffix of set names
	proto    byte   // NFPROTO_*
	src, dst uint32 // offset of the address in the network header
	len      uint32
	typ      nftables.SetDatatype
	mask     []byte // of a source for meters and bans
}

var (
	ip4 = family{"ip", "4", unix.NFPROTO_IPV4, 12, 16, 4, nftables.TypeIPAddr, nil}
	ip6 = family{"ip6", "6", unix.NFPROTO_IPV6, 8, 24, 16, nftables.TypeIP6Addr,
		[]byte{255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0}}
)

func families() []family { return []family{ip4, ip6} }

func (f family) only() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, equal([]byte{f.proto})}
}

// addr loads the source or destination address, of its family only.
func (f family) addr(offset uint32) []expr.Any {
	return append(f.only(), &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.len})
}

// source loads what a meter or a ban counts as one source: an IPv4 address, or the /64 of an IPv6 address.
func (f family) source() (text string, exprs []expr.Any) {
	text, exprs = f.word+" saddr", f.addr(f.src)
	if f.mask != nil {
		text += " & ffff:ffff:ffff:ffff::"
		exprs = append(exprs, &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: f.len, Mask: f.mask, Xor: make([]byte, f.len)})
	}
	return text, exprs
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }

func lookup(set string) expr.Any { return &expr.Lookup{SourceRegister: reg, SetName: set} }

// saddr and daddr match an address in the set name+digit of the family.
func saddr(f family, set string) stmt {
	return stmt{f.word + " saddr @" + set + f.digit, append(f.addr(f.src), lookup(set+f.digit))}
}

func daddr(f family, set string) stmt {
	return stmt{f.word + " daddr @" + set + f.digit, append(f.addr(f.dst), lookup(set+f.digit))}
}

// source64 matches the masked source in a set of single keys.
func source64(f family, set string) stmt {
	text, exprs := f.source()
	return stmt{text + " @" + set + f.digit, append(exprs, lookup(set+f.digit))}
}

func ctState(names ...string) stmt {
	bits := map[string]uint32{"invalid": expr.CtStateBitINVALID, "established": expr.CtStateBitESTABLISHED,
		"related": expr.CtStateBitRELATED, "new": expr.CtStateBitNEW, "untracked": expr.CtStateBitUNTRACKED}
	var mask uint32
	for _, n := range names {
		mask |= bits[n]
	}
	return stmt{"ct state " + strings.Join(names, ","), ctBits(expr.CtKeySTATE, mask)}
}

// ctDNAT matches flows whose destination was rewritten: published ports (IPS_DST_NAT, nf_conntrack_common.h).
func ctDNAT() stmt { return stmt{"ct status dnat", ctBits(expr.CtKeySTATUS, 1<<5)} }

func ctBits(key expr.CtKey, mask uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}
}

// iifname and oifname match an interface by name; * at the end matches any suffix.
func iifname(name string) stmt { return ifname("iifname", expr.MetaKeyIIFNAME, name) }
func oifname(name string) stmt { return ifname("oifname", expr.MetaKeyOIFNAME, name) }

func ifname(word string, key expr.MetaKey, name string) stmt {
	data := []byte(strings.TrimSuffix(name, "*"))
	if !strings.HasSuffix(name, "*") {
		data = append(data, make([]byte, unix.IFNAMSIZ-len(data))...)
	}
	return stmt{fmt.Sprintf("%s %q", word, name), []expr.Any{&expr.Meta{Key: key, Register: reg}, equal(data)}}
}

func l4proto(name string, number byte) stmt {
	return stmt{"meta l4proto " + name, []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, equal([]byte{number})}}
}

func proto(p firewall.Protocol) byte {
	if p == firewall.UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

// port matches th sport (offset 0) or th dport (offset 2) in a range; the rule must have fixed the protocol before.
func port(word string, offset uint32, r firewall.PortRange) stmt {
	exprs := []expr.Any{&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}}
	return stmt{"th " + word + " " + r.String(), append(exprs, between(be16(r.First), be16(r.Last))...)}
}

func sport(r firewall.PortRange) stmt { return port("sport", 0, r) }
func dport(r firewall.PortRange) stmt { return port("dport", 2, r) }

func between(lo, hi []byte) []expr.Any {
	if string(lo) == string(hi) {
		return []expr.Any{equal(lo)}
	}
	return []expr.Any{&expr.Cmp{Op: expr.CmpOpGte, Register: reg, Data: lo}, &expr.Cmp{Op: expr.CmpOpLte, Register: reg, Data: hi}}
}

func be16(v uint16) []byte { return binaryutil.BigEndian.PutUint16(v) }

// icmp4 and icmp6 match a range of message types.
func icmp4(text string, lo, hi byte) stmt { return icmp(ip4, "icmp", unix.IPPROTO_ICMP, text, lo, hi) }
func icmp6(text string, lo, hi byte) stmt {
	return icmp(ip6, "icmpv6", unix.IPPROTO_ICMPV6, text, lo, hi)
}

func icmp(f family, word string, number byte, text string, lo, hi byte) stmt {
	exprs := append(f.only(), l4proto(word, number).exprs...)
	exprs = append(exprs, &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1})
	return stmt{word + " type " + text, append(exprs, between([]byte{lo}, []byte{hi})...)}
}

// hopLimit255 holds only for packets that no router has forwarded (RFC 4861, section 6.1).
func hopLimit255() stmt {
	return stmt{"ip6 hoplimit 255", []expr.Any{
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 7, Len: 1}, equal([]byte{255})}}
}

// fromLinkLocal matches IPv6 sources in fe80::/10, of packets already known to be IPv6.
func fromLinkLocal() stmt {
	return stmt{"ip6 saddr fe80::/10", append(ip6.only(),
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 8, Len: 2},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 2, Mask: []byte{0xff, 0xc0}, Xor: []byte{0, 0}}, equal([]byte{0xfe, 0x80}))}
}

// toOthers matches packets that are not for this host and will be forwarded (RTN_UNICAST, linux/rtnetlink.h).
func toOthers() stmt {
	return stmt{"fib daddr type unicast", []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true}, equal(binaryutil.NativeEndian.PutUint32(unix.RTN_UNICAST))}}
}

// synOnly matches the first packet of a TCP connection.
func synOnly() stmt {
	const finSynRstAck, syn = 0x17, 0x02
	exprs := append(l4proto("tcp", unix.IPPROTO_TCP).exprs,
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{finSynRstAck}, Xor: []byte{0}}, equal([]byte{syn}))
	return stmt{"tcp flags & (fin|syn|rst|ack) == syn", exprs}
}

// services looks protocol and port up in the map of services, whose values are verdicts.
func services(set string) stmt {
	return stmt{"meta l4proto . th dport vmap @" + set, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: regSecond, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: reg, SetName: set, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true},
	}}
}

// counted loads what a meter counts by.
type counted func(f family) (text string, exprs []expr.Any)

// rateMeter counts the packet against its source, or another key. It matches what is within the limit, or with over what is beyond it.
// When the set is full it matches nothing.
func rateMeter(f family, by counted, set string, l ratelimit.Limit, over bool) stmt {
	rate, unit, period, _ := l.PerUnit()
	text, exprs := by(f)
	word := ""
	if over {
		word = "over "
	}
	return stmt{
		fmt.Sprintf("update @%s%s { %s limit rate %s%d/%s burst %d packets }", set, f.digit, text, word, rate, unit, l.Tokens()),
		append(exprs, &expr.Dynset{SrcRegKey: reg, SetName: set + f.digit, Operation: unix.NFT_DYNSET_OP_UPDATE, Exprs: []expr.Any{
			&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(rate), Over: over, Unit: expr.LimitTime(period / time.Second), Burst: uint32(l.Tokens())}}}),
	}
}

// countMeter matches new connections of a source that already has n open.
func countMeter(f family, by counted, set string, n int) stmt {
	text, exprs := by(f)
	return stmt{
		fmt.Sprintf("add @%s%s { %s ct count over %d }", set, f.digit, text, n),
		append(exprs, &expr.Dynset{SrcRegKey: reg, SetName: set + f.digit, Operation: unix.NFT_DYNSET_OP_ADD, Exprs: []expr.Any{
			&expr.Connlimit{Count: uint32(n), Flags: expr.NFT_CONNLIMIT_F_INV}}}),
	}
}

func counter(name string) stmt {
	return stmt{"counter name " + name, []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: name}}}
}

// counterHere counts in the rule itself; see counted.
func counterHere() stmt { return stmt{"counter", []expr.Any{&expr.Counter{}}} }

// logged sends a copy of the packet's head to the NFLOG group, at most firewall.LogRate a second.
func logged(reason firewall.Reason) stmt {
	key := uint32(1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_SNAPLEN)
	prefix := firewall.LogPrefix + string(reason)
	return stmt{
		fmt.Sprintf("limit rate %d/second burst %d packets log prefix %q group %d snaplen %d", firewall.LogRate, firewall.LogBurst, prefix, firewall.LogGroup, firewall.LogSnapLen),
		[]expr.Any{
			&expr.Limit{Type: expr.LimitTypePkts, Rate: firewall.LogRate, Unit: expr.LimitTimeSecond, Burst: firewall.LogBurst},
			&expr.Log{Key: key, Group: firewall.LogGroup, Snaplen: firewall.LogSnapLen, Data: []byte(prefix)},
		},
	}
}

func accept() stmt { return stmt{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}} }
func drop() stmt   { return stmt{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}} }
func leave() stmt  { return stmt{"return", []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}} }

func jump(chain string) stmt {
	return stmt{"jump " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

func goTo(chain string) stmt {
	return stmt{"goto " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
}
