package doctor

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxChains bounds how many chains of others are told.
const maxChains = 100

// ForeignChains lists the base chains of other programs' tables that see packets to this host or from it, and whose policy
// is to drop. ours is the table of family inet that is not foreign.
func ForeignChains(ours string) ([]Chain, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	defer c.Close()
	messages, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETCHAIN, Flags: netlink.Request | netlink.Dump},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0}, // struct nfgenmsg
	})
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	var out []Chain
	for _, m := range messages {
		x, ok := decodeChain(m.Data)
		if ok && (x.Family != "inet" || x.Table != ours) && len(out) < maxChains {
			out = append(out, x)
		}
	}
	return out, nil
}

// decodeChain reads a chain as nf_tables.h describes it; ok is false for one that does not concern Firewalls.
func decodeChain(data []byte) (x Chain, ok bool) {
	const header = 4 // struct nfgenmsg
	if len(data) < header {
		return x, false
	}
	x.Family = map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[data[0]]
	ad, err := netlink.NewAttributeDecoder(data[header:])
	if err != nil || x.Family == "" {
		return x, false
	}
	ad.ByteOrder = binary.BigEndian
	const drop, accept = 0, 1 // NF_DROP and NF_ACCEPT of netfilter.h
	policy := uint32(accept)
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_CHAIN_TABLE:
			x.Table = text(ad.String())
		case unix.NFTA_CHAIN_NAME:
			x.Name = text(ad.String())
		case unix.NFTA_CHAIN_POLICY:
			policy = ad.Uint32()
		case unix.NFTA_CHAIN_HOOK:
			ad.Nested(func(hook *netlink.AttributeDecoder) error {
				hook.ByteOrder = binary.BigEndian
				for hook.Next() {
					if hook.Type() == unix.NFTA_HOOK_HOOKNUM {
						// Forwarding is left out: container engines drop there what they did not publish, and so do we.
						x.Hook = map[uint32]string{unix.NF_INET_PRE_ROUTING: "prerouting", unix.NF_INET_LOCAL_IN: "input", unix.NF_INET_LOCAL_OUT: "output"}[hook.Uint32()]
					}
				}
				return nil
			})
		}
	}
	return x, ad.Err() == nil && x.Hook != "" && policy == drop
}

// text is a name that may be shown: other programs may use any bytes.
func text(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
