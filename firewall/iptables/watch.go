package iptables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

var _ firewall.Watcher = (*Driver)(nil)

// watchEvery is how often Watch looks: often enough for a repair within two seconds, and cheap enough not to be seen,
// because no program is run for it.
const watchEvery = time.Second

// Watch implements firewall.Watcher. The kernel tells nobody of changes to legacy tables or to sets, so this compares
// what can be had by a few system calls: the generation of the nftables ruleset, in which the nft variant keeps its rules,
// the size of the legacy tables, and how many members each set has. It cannot say who made a change, and it reports the
// driver's own changes too. A legacy rule that was exchanged for one of the same size is found by the next pass.
func (d *Driver) Watch(ctx context.Context, report func(firewall.ChangedBy)) error {
	report(firewall.ChangedBy{}) // what came before was not seen
	last, err := fingerprint()
	if err != nil {
		return fmt.Errorf("iptables: watch: %w", err)
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now, err := fingerprint()
		if err != nil {
			return fmt.Errorf("iptables: watch: %w", err)
		}
		if now != last {
			last = now
			report(firewall.ChangedBy{})
		}
	}
}

// fingerprint is a digest of what Watch looks at.
func fingerprint() (uint64, error) {
	h := fnv.New64a()
	c, err := dialIPSet()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	names, err := list(c, "", flagListSetName)
	if err != nil {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintln(h, name)
		if !isSmall(name) {
			continue // the kernel counts the members for each answer; big sets are looked at by the passes
		}
		one, err := list(c, name, flagListHeader)
		if err != nil {
			return 0, err
		}
		if s := one[name]; s != nil {
			fmt.Fprintln(h, s.elements)
		}
	}
	generation, err := rulesetGeneration(c)
	if err != nil {
		return 0, err
	}
	fmt.Fprintln(h, generation)
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		info, err := legacyInfo(family)
		if err != nil {
			return 0, err
		}
		h.Write(info)
	}
	return h.Sum64(), nil
}

// rulesetGeneration counts the transactions of nftables in this network namespace; a kernel without nftables has none.
func rulesetGeneration(c *netlink.Conn) (uint32, error) {
	replies, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN), Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return 0, nil
	}
	if err != nil || len(replies) == 0 || len(replies[0].Data) < 4 {
		return 0, err
	}
	ad, err := netlink.NewAttributeDecoder(replies[0].Data[4:])
	if err != nil {
		return 0, err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		if ad.Type() == unix.NFTA_GEN_ID {
			return ad.Uint32(), nil
		}
	}
	return 0, ad.Err()
}

// legacyInfo is struct ipt_getinfo of the filter table (linux/netfilter_ipv4/ip_tables.h): offsets, number of entries and
// size, but no counters. It is empty where the kernel has no legacy tables.
func legacyInfo(family int) ([]byte, error) {
	const getInfo, nameLen, infoLen = 64, 32, 84 // IPT_SO_GET_INFO, XT_TABLE_MAXNAMELEN, sizeof(struct ipt_getinfo)
	level := unix.SOL_IP
	if family == unix.AF_INET6 {
		level = unix.SOL_IPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open raw socket: %w", err)
	}
	defer unix.Close(fd)
	info := make([]byte, infoLen)
	copy(info[:nameLen], "filter")
	size := uint32(len(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), getInfo, uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil, nil
	}
	return info, nil
}
