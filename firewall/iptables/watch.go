package iptables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

var _ firewall.Watcher = (*Driver)(nil)

// watchEvery is how often Watch looks: often enough for a repair within two seconds, and cheap enough not to be seen,
// because no program is run for it and no socket is opened.
const watchEvery = 1500 * time.Millisecond

// Watch implements firewall.Watcher. The kernel tells nobody of changes to legacy tables or to sets, so this compares
// what can be had by a few system calls: the generation of the nftables ruleset, in which the nft variant keeps its rules,
// the size of the legacy tables, and how many members each set has. It cannot say who made a change, and it reports the
// driver's own changes too. A legacy rule that was exchanged for one of the same size is found by the next pass.
func (d *Driver) Watch(ctx context.Context, report func(firewall.ChangedBy)) error {
	report(firewall.ChangedBy{}) // what came before was not seen
	w, err := newLookout()
	if err != nil {
		return fmt.Errorf("iptables: watch: %w", err)
	}
	defer w.close()
	last, err := w.look()
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
		now, err := w.look()
		if err != nil {
			return fmt.Errorf("iptables: watch: %w", err)
		}
		if now != last {
			last = now
			report(firewall.ChangedBy{})
		}
	}
}

// lookout looks at the kernel again and again: through sockets that stay open, with requests that are made once, and
// without the general code, which costs five times as much.
type lookout struct {
	fd    int      // netlink
	raw   [2]int   // IPv4, IPv6; -1 where the kernel has no such family
	buf   []byte   // for answers
	rules uint64   // digest of what is known of the rules
	sets  [][]byte // requests for the small sets, as of that digest: another one that is ours comes with rules that mention it
	known bool
}

func newLookout() (*lookout, error) {
	w := &lookout{raw: [2]int{-1, -1}, buf: make([]byte, 32<<10)}
	var err error
	if w.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		w.close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	for i, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if errors.Is(err, unix.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			w.close()
			return nil, fmt.Errorf("open raw socket: %w", err)
		}
		w.raw[i] = fd
	}
	return w, nil
}

func (w *lookout) close() {
	for _, fd := range []int{w.fd, w.raw[0], w.raw[1]} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// look is a digest of what Watch compares. The kernel counts the members of a set for each answer; big sets are looked at by
// the passes.
func (w *lookout) look() (uint64, error) {
	h := fnv.New64a()
	if err := w.ask(rulesetGeneration, func(msg []byte) error { return hashGeneration(h, msg) }); err != nil {
		return 0, fmt.Errorf("read the ruleset's generation: %w", err)
	}
	h.Write(legacyInfo(w.raw[0], unix.SOL_IP))
	h.Write(legacyInfo(w.raw[1], unix.SOL_IPV6))
	if rules := h.Sum64(); !w.known || rules != w.rules {
		if err := w.findSets(); err != nil {
			return 0, fmt.Errorf("list ipsets: %w", err)
		}
		w.rules, w.known = rules, true
	}
	for _, req := range w.sets {
		err := w.ask(req, func(msg []byte) error {
			s := &kernelSet{}
			err := s.decode(msg)
			fmt.Fprintln(h, s.name, s.elements)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("read ipset: %w", err)
		}
	}
	return h.Sum64(), nil
}

// findSets makes the requests for the small sets that are there.
func (w *lookout) findSets() error {
	req, err := listRequest("", flagListSetName)
	if err != nil {
		return err
	}
	w.sets = nil
	return w.ask(encode(req), func(msg []byte) error {
		s := &kernelSet{}
		if err := s.decode(msg); err != nil || !strings.HasPrefix(s.name, setPrefix) || !isSmall(s.name) {
			return err
		}
		one, err := listRequest(s.name, flagListHeader)
		w.sets = append(w.sets, encode(one))
		return err
	})
}

// ask sends a request and calls answer with the body of each message that comes back. What the kernel does not have or
// know is no answer.
func (w *lookout) ask(req []byte, answer func(msg []byte) error) error {
	if err := unix.Sendto(w.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for {
		n, _, err := unix.Recvfrom(w.fd, w.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		msgs, err := syscall.ParseNetlinkMessage(w.buf[:n])
		if err != nil {
			return err
		}
		for _, m := range msgs {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(m.Data) < 4 {
					return io.ErrUnexpectedEOF
				}
				switch errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data))); errno {
				case 0, unix.ENOENT, unix.EINVAL, unix.EOPNOTSUPP:
					return nil
				default:
					return errno
				}
			}
			if err := answer(m.Data); err != nil {
				return err
			}
		}
	}
}

// encode is a message as the kernel reads it.
func encode(m netlink.Message) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(m.Data)))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Header.Type))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Header.Flags))
	return append(append(b, make([]byte, 8)...), m.Data...) // number and port
}

// rulesetGeneration asks how many transactions of nftables there were in this network namespace.
var rulesetGeneration = encode(netlink.Message{
	Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN), Flags: netlink.Request | netlink.Acknowledge},
	Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
})

// hashGeneration takes the number alone: the message also names the process that asked.
func hashGeneration(h io.Writer, msg []byte) error {
	if len(msg) < 4 {
		return io.ErrUnexpectedEOF
	}
	ad, err := netlink.NewAttributeDecoder(msg[4:])
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		if ad.Type() == unix.NFTA_GEN_ID {
			fmt.Fprintln(h, ad.Uint32())
		}
	}
	return ad.Err()
}

// legacyInfo is struct ipt_getinfo of the filter table (linux/netfilter_ipv4/ip_tables.h): offsets, number of entries and
// size, but no counters. It is empty where the kernel has no legacy tables.
func legacyInfo(raw, level int) []byte {
	const getInfo, nameLen, infoLen = 64, 32, 84 // IPT_SO_GET_INFO, XT_TABLE_MAXNAMELEN, sizeof(struct ipt_getinfo)
	if raw < 0 {
		return nil
	}
	info := make([]byte, infoLen)
	copy(info[:nameLen], "filter")
	size := uint32(len(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(raw), uintptr(level), getInfo, uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil
	}
	return info
}
