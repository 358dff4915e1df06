package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// Watch reports each transaction that another program commits in this network namespace, until ctx ends. It only says
// that something may have changed; Observe tells what. After lost messages it reports a change by nobody.
func (d *Driver) Watch(ctx context.Context, report func(firewall.ChangedBy)) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	defer c.Close()
	// A bulk load sends a message for each element; without the filter the socket overflows after 1,600 of them.
	if err := c.SetBPF(onlyGenerations()); err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	if err := d.watch.open(c, report); err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	defer d.watch.close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	report(firewall.ChangedBy{}) // what came before the subscription was not seen
	for {
		messages, err := c.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, unix.ENOBUFS):
			report(firewall.ChangedBy{})
			continue
		case err != nil:
			return fmt.Errorf("watch nftables: %w", err)
		}
		for _, m := range messages {
			if by := decodeGeneration(tail(m.Data)); !ours(by.PID) {
				report(by)
			}
		}
	}
}

// ours reports whether a thread is one of this process: the kernel names the thread that made the change.
func ours(tid uint32) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid))
	return err == nil
}

// onlyGenerations lets NFT_MSG_NEWGEN pass, the last message of each transaction. A filter loads half-words in network
// order from a header that is in the host's.
func onlyGenerations() []bpf.RawInstruction {
	var typ [2]byte
	binary.NativeEndian.PutUint16(typ[:], unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN)
	prog, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 2}, // nlmsghdr.nlmsg_type
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(binary.BigEndian.Uint16(typ[:])), SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		panic(err) // the program is constant
	}
	return prog
}

func decodeGeneration(data []byte) firewall.ChangedBy {
	var by firewall.ChangedBy
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return by
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_GEN_PROC_PID:
			by.PID = ad.Uint32()
		case unix.NFTA_GEN_PROC_NAME:
			by.Program = ad.String()
		}
	}
	return by
}
