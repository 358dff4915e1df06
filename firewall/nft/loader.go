package nft

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Bounds of a bulk load. A message's element list is one attribute, so below 64 KiB. A transaction holds the kernel's lock
// until it is committed, so that a change which must be quick waits at most for one of them; each commit costs a walk over
// the set, so that many small ones cost more.
const (
	messageBytes     = 60_000
	transactionBytes = 2 << 20
)

// loader adds elements to one set of ours, in order, in transactions of bounded size. The set must not be in use yet. It
// writes messages as the kernel reads them into one buffer, because a load of 500,000 ranges through the general encoder
// takes several copies of everything.
type loader struct {
	conn *netlink.Conn
	set  string

	buf     []byte
	message int // where the current message begins in buf; 0 is none
	list    int // where its list of elements begins
	seq     uint32
}

// begin starts a message, and a transaction where none is open.
func (l *loader) begin() {
	if len(l.buf) == 0 {
		if l.buf == nil {
			l.buf = make([]byte, 0, transactionBytes+2*messageBytes)
		}
		l.mark(unix.NFNL_MSG_BATCH_BEGIN)
	}
	l.message = len(l.buf)
	l.header(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWSETELEM, unix.NLM_F_REQUEST|unix.NLM_F_CREATE)
	l.buf = append(l.buf, unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0)
	l.text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	l.text(unix.NFTA_SET_ELEM_LIST_SET, l.set)
	l.list = len(l.buf)
	l.attribute(0, unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED)
}

// end writes the lengths of the current message, which are known only now.
func (l *loader) end() {
	if l.message == 0 {
		return
	}
	binary.NativeEndian.PutUint16(l.buf[l.list:], uint16(len(l.buf)-l.list))
	binary.NativeEndian.PutUint32(l.buf[l.message:], uint32(len(l.buf)-l.message))
	l.message = 0
}

// mark writes the message that begins or ends a transaction.
func (l *loader) mark(typ uint16) {
	at := len(l.buf)
	l.header(typ, unix.NLM_F_REQUEST)
	l.buf = append(l.buf, 0, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES)
	binary.NativeEndian.PutUint32(l.buf[at:], uint32(len(l.buf)-at))
}

// header is struct nlmsghdr; the length comes later, the port is the kernel's to fill in.
func (l *loader) header(typ, flags uint16) {
	l.seq++
	l.buf = append(l.buf, 0, 0, 0, 0)
	l.buf = binary.NativeEndian.AppendUint16(l.buf, typ)
	l.buf = binary.NativeEndian.AppendUint16(l.buf, flags)
	l.buf = binary.NativeEndian.AppendUint32(l.buf, l.seq)
	l.buf = append(l.buf, 0, 0, 0, 0)
}

func (l *loader) attribute(length int, typ uint16) {
	l.buf = binary.NativeEndian.AppendUint16(l.buf, uint16(length))
	l.buf = binary.NativeEndian.AppendUint16(l.buf, typ)
}

// text is a string attribute with its final zero, padded to four bytes.
func (l *loader) text(typ uint16, s string) {
	l.attribute(4+len(s)+1, typ)
	l.buf = append(l.buf, s...)
	l.buf = append(l.buf, make([]byte, 4-len(s)%4)...)
}

// add appends the range first..last as keys of equal length, with a timeout where it is not zero.
func (l *loader) add(first, last []byte, timeout time.Duration) error {
	if l.message == 0 {
		l.begin()
	}
	l.element(first, false, timeout)
	if end, ok := successor(last); ok {
		l.element(end[:len(last)], true, 0)
	}
	return l.room()
}

// addKey appends a single key to a set that is no interval set.
func (l *loader) addKey(key []byte, timeout time.Duration) error {
	if l.message == 0 {
		l.begin()
	}
	l.element(key, false, timeout)
	return l.room()
}

// room ends the message, and the transaction, when it is full.
func (l *loader) room() error {
	if len(l.buf)-l.list < messageBytes {
		return nil
	}
	l.end()
	if len(l.buf) < transactionBytes {
		return nil
	}
	return l.flush()
}

// element encodes one element: an end marker, a key, and a timeout in milliseconds.
func (l *loader) element(key []byte, end bool, timeout time.Duration) {
	n := 4 + 8 + len(key) // list element, key, value
	if end {
		n += 8
	}
	if timeout > 0 {
		n += 12
	}
	l.attribute(n, unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED)
	if end {
		l.attribute(8, unix.NFTA_SET_ELEM_FLAGS)
		l.buf = binary.BigEndian.AppendUint32(l.buf, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	l.attribute(8+len(key), unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED)
	l.attribute(4+len(key), unix.NFTA_DATA_VALUE)
	l.buf = append(l.buf, key...)
	if timeout > 0 {
		l.attribute(12, unix.NFTA_SET_ELEM_TIMEOUT)
		l.buf = binary.BigEndian.AppendUint64(l.buf, uint64(timeout.Milliseconds()))
	}
}

// flush commits what was added since the last flush.
func (l *loader) flush() error {
	l.end()
	if len(l.buf) == 0 {
		return nil
	}
	l.message = 0
	// An empty message of the same kind carries the wish for an acknowledgement, behind any error of those before it.
	l.begin()
	binary.NativeEndian.PutUint16(l.buf[l.message+6:], unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_ACK)
	l.end()
	l.mark(unix.NFNL_MSG_BATCH_END)
	err := l.send()
	l.buf = l.buf[:0]
	if err == nil {
		_, err = l.conn.Receive()
	}
	if err != nil {
		return fmt.Errorf("load set %s: %w", l.set, err)
	}
	return nil
}

func (l *loader) send() error {
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		sendErr = unix.Sendto(int(fd), l.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return sendErr != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	return sendErr
}
