// Package handover lets one process take a UDP socket of QUIC over from another while the other finishes its connections.
//
// Both have the same socket, and whatever is read from it is gone for the other. So exactly one of them reads: the newest. Each
// process has a number, and every connection ID that it gives out begins with it (RFC 9000, section 5.1, leaves their content
// to the server). What the newest reads and bears the number of another goes to that one, over a unix datagram socket that is
// named after the number in a folder that all of them share. They write to the UDP socket themselves. Packets that begin a
// connection bear an ID of the client's choosing, and stay with the newest.
//
// The newest tells all others before it reads, and waits for their word that they have stopped. A packet is forwarded or lost,
// as on any network; nothing waits for a process that has gone. The folder has to be closed to everybody else: who can write
// to a socket in it can claim any address as the source of a packet, as anybody on the path of the packet can.
package handover

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// IDLength is how many bytes a connection ID has: the number, and what tells connections apart.
const IDLength = numberLength + 8

const (
	numberLength = 4
	maxPacket    = 2048
	maxWaiting   = 1024 // packets from others
	maxOthers    = 16
	// sendWithin is how long a packet for another may wait, ackWithin how long is waited for another's word.
	sendWithin = 5 * time.Millisecond
	ackWithin  = time.Second
)

// The kinds of datagrams between processes.
const (
	kindPacket = 'p' // a packet with where it came from
	kindTake   = 't' // the number of a process that reads from now on
	kindTaken  = 'a' // the number of one that does not any more
)

type number [numberLength]byte

// Relay is the part of one process.
type Relay struct {
	dir    string
	number number
	conn   *net.UnixConn

	others  atomic.Pointer[map[number]*net.UnixConn]
	retired atomic.Bool
	stop    func() // ends a read of the UDP socket
	mu      sync.Mutex
	packets chan packet
	acks    chan number
}

type packet struct {
	from netip.AddrPort
	data []byte
}

// Open makes the relay of this process in a folder. It does nothing until a Conn is made of it.
func Open(dir string) (*Relay, error) {
	r := &Relay{dir: dir, packets: make(chan packet, maxWaiting), acks: make(chan number, maxOthers)}
	if _, err := rand.Read(r.number[:]); err != nil {
		return nil, err
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: r.path(r.number), Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("open relay: %w", err)
	}
	r.conn = c
	return r, nil
}

const prefix, suffix = "quic-", ".sock"

func (r *Relay) path(n number) string {
	return filepath.Join(r.dir, prefix+hex.EncodeToString(n[:])+suffix)
}

// Close ends the relay and removes its socket.
func (r *Relay) Close() error {
	err := r.conn.Close()
	if e := os.Remove(r.path(r.number)); err == nil && !errors.Is(e, os.ErrNotExist) {
		err = e
	}
	if m := r.others.Load(); m != nil {
		for _, c := range *m {
			c.Close()
		}
	}
	return err
}

// NewID makes a connection ID of this process.
func (r *Relay) NewID() ([IDLength]byte, error) {
	var id [IDLength]byte
	copy(id[:], r.number[:])
	_, err := rand.Read(id[numberLength:])
	return id, err
}

// Retired reports whether another process reads the socket.
func (r *Relay) Retired() bool { return r.retired.Load() }

// take tells all others that this process reads from now on, and waits for their word. Sockets on which nobody is are removed.
func (r *Relay) take() {
	paths, _ := filepath.Glob(filepath.Join(r.dir, prefix+"*"+suffix))
	others := map[number]*net.UnixConn{}
	for _, path := range paths {
		var n number
		b, err := hex.DecodeString(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), prefix), suffix))
		if err != nil || copy(n[:], b) != len(b) || len(b) != numberLength || n == r.number {
			continue
		}
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			os.Remove(path)
			continue
		}
		if len(others) == maxOthers || r.send(c, kindTake, r.number[:]) != nil {
			c.Close()
			continue
		}
		others[n] = c
	}
	r.others.Store(&others)
	deadline := time.NewTimer(ackWithin)
	defer deadline.Stop()
	for missing := len(others); missing > 0; {
		select {
		case <-r.acks:
			missing--
		case <-deadline.C:
			return
		}
	}
}

// send is to another process, and never waits long.
func (r *Relay) send(c *net.UnixConn, kind byte, parts ...[]byte) error {
	b := make([]byte, 1, 64)
	b[0] = kind
	for _, p := range parts {
		b = append(b, p...)
	}
	_ = c.SetWriteDeadline(time.Now().Add(sendWithin))
	_, err := c.Write(b)
	return err
}

// run reads what other processes say, until the relay is closed.
func (r *Relay) run() {
	b := make([]byte, 64+maxPacket)
	for {
		n, err := r.conn.Read(b)
		if err != nil {
			return
		}
		if n == 0 {
			continue
		}
		switch body := b[1:n]; b[0] {
		case kindPacket:
			if from, data, ok := decode(body); ok {
				select {
				case r.packets <- packet{from, append([]byte(nil), data...)}:
				default: // lost, as on a network
				}
			}
		case kindTake:
			if len(body) == numberLength {
				r.retire(number(body))
			}
		case kindTaken:
			if len(body) == numberLength {
				select {
				case r.acks <- number(body):
				default:
				}
			}
		}
	}
}

// retire stops reading for good.
func (r *Relay) retire(to number) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired.Store(true)
	r.stop()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: r.path(to), Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_ = r.send(c, kindTaken, r.number[:])
}

// owner is who a packet is for, by its connection ID (RFC 8999, section 5): nil where it is for this process.
func (r *Relay) owner(b []byte) *net.UnixConn {
	m := r.others.Load()
	if m == nil || len(*m) == 0 {
		return nil
	}
	const long = 0x80
	switch {
	case len(b) >= 1+IDLength && b[0]&long == 0:
		return (*m)[number(b[1:1+numberLength])]
	case len(b) >= 6+IDLength && b[0]&long != 0 && b[5] == IDLength:
		return (*m)[number(b[6:6+numberLength])]
	}
	return nil
}

// forward sends a packet to its owner, and reports whether there is one: a client whose process is gone has to be told so.
func (r *Relay) forward(to *net.UnixConn, from netip.AddrPort, data []byte) bool {
	return !errors.Is(r.send(to, kindPacket, encode(from), data), syscall.ECONNREFUSED)
}

// encode writes an address: 16 bytes, the port, and the zone with its length.
func encode(a netip.AddrPort) []byte {
	ip := a.Addr().As16()
	zone := a.Addr().Zone()
	b := append(ip[:], 0, 0, byte(min(len(zone), 32)))
	binary.BigEndian.PutUint16(b[16:], a.Port())
	return append(b, zone[:min(len(zone), 32)]...)
}

func decode(b []byte) (from netip.AddrPort, data []byte, ok bool) {
	if len(b) < 19 || len(b) < 19+int(b[18]) {
		return from, nil, false
	}
	ip := netip.AddrFrom16([16]byte(b[:16])).Unmap()
	if zone := string(b[19 : 19+int(b[18])]); zone != "" {
		ip = ip.WithZone(zone)
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[16:])), b[19+int(b[18]):], true
}
