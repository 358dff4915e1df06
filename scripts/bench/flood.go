package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// source is where a packet comes from.
type source struct {
	addr netip.Addr
	port uint16
}

// frame is a UDP datagram to the host as it is on the cable. It has no checksum of its own, which IPv4 allows.
func frame(to net.HardwareAddr, from source, dst netip.AddrPort, payload int) []byte {
	b := make([]byte, 14+20+8+payload)
	copy(b, to)
	copy(b[6:], clientHWAdr)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	src, d := from.addr.As4(), dst.Addr().As4()
	copy(ip[12:], src[:])
	copy(ip[16:], d[:])
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	binary.BigEndian.PutUint16(ip[20:], from.port)
	binary.BigEndian.PutUint16(ip[22:], dst.Port())
	binary.BigEndian.PutUint16(ip[24:], uint16(8+payload))
	return b
}

// packetSocket sends frames on a device of the calling thread's namespace.
func packetSocket(dev string) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	i, err := net.InterfaceByName(dev)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
		return -1, err
	}
	return fd, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// floodResult is what a flood measured.
type floodResult struct {
	Packets   int
	CPU, Wall time.Duration
}

func (r floodResult) perPacket() float64 { return float64(r.CPU) / float64(r.Packets) / 1000 }

// floodChild sends frames of one size as fast as it can: flood FILE SIZE COUNT. Each frame goes once through the cable
// into the host and through all its hooks, within the system call that sends it; so the CPU time of the sending thread is
// that of the whole way.
func floodChild(args []string) error {
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	size, _ := strconv.Atoi(args[1])
	count, _ := strconv.Atoi(args[2])
	runtime.LockOSThread()
	var cpus unix.CPUSet
	cpus.Set(runtime.NumCPU() - 1)
	_ = unix.SchedSetaffinity(0, &cpus)
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	fd, err := packetSocket(clientLink)
	if err != nil {
		return err
	}
	frames := len(data) / size
	const batch = 64
	iov, msgs := make([]unix.Iovec, frames), make([]mmsghdr, frames)
	for i := range frames {
		iov[i].Base = &data[i*size]
		iov[i].SetLen(size)
		msgs[i].hdr.Iov = &iov[i]
		msgs[i].hdr.SetIovlen(1)
	}
	sent, at := 0, 0
	start, cpu := time.Now(), threadCPU()
	for sent < count {
		n := min(batch, count-sent, frames-at)
		got, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[at])), uintptr(n), 0, 0, 0)
		if errno != 0 && errno != unix.ENOBUFS && errno != unix.EAGAIN {
			return fmt.Errorf("send: %w", errno)
		}
		if errno == 0 {
			sent += int(got)
			at = (at + int(got)) % frames
		}
	}
	r := floodResult{Packets: sent, CPU: threadCPU() - cpu, Wall: time.Since(start)}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// frames writes a file of frames for floodChild and gives its arguments.
func (b *bench) frames(name string, l *lane, sources []source, port uint16) ([]string, error) {
	var all []byte
	size := 0
	for _, s := range sources {
		f := frame(l.hostMAC, s, netip.AddrPortFrom(hostAddr, port), 18)
		size = len(f)
		all = append(all, f...)
	}
	path := b.file(name + ".frames")
	return []string{"flood", path, strconv.Itoa(size)}, os.WriteFile(path, all, 0o644)
}

func (l *lane) flood(args []string, count int) (floodResult, error) {
	c, err := l.client.self(append(args[:len(args):len(args)], strconv.Itoa(count))...)
	if err != nil {
		return floodResult{}, err
	}
	var r floodResult
	return r, json.Unmarshal([]byte(c.out), &r)
}
