package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/proxy"
)

// A connection between daemon and proxy worker begins with one line of JSON from each side, the daemon's first, with
// sockets as descriptors. A worker that has none yet takes those of the daemon; in any case it says which it has.

// webHello is such a line.
type webHello struct {
	Version string   `json:"version"`
	Sockets []string `json:"sockets"` // their names, in the order of the descriptors
	// Parcel is what is brought, on a connection that is for nothing else.
	Parcel string `json:"parcel,omitempty"`
}

// helloWithin is how long a side may take to say something, and maxSockets how many may come.
const (
	helloWithin = 10 * time.Second
	maxSockets  = 16 + proxy.MaxStreamSockets // the kernel takes 253 in one message
)

// WebSocket is a listening socket with what it is for: "http", "https", "quic", or "tcp" or "udp" of a stream; and its address.
type WebSocket struct {
	Kind string
	Addr string
	File *os.File
}

// greet says hello with copies of sockets.
func greet(c *net.UnixConn, version string, sockets []WebSocket) error {
	return greetWith(c, webHello{Version: version}, sockets)
}

func greetWith(c *net.UnixConn, h webHello, sockets []WebSocket) error {
	h.Sockets = []string{}
	var fds []int
	for _, s := range sockets {
		fd, err := rawDescriptor(s.File)
		if err != nil {
			return fmt.Errorf("socket %s %s: %w", s.Kind, s.Addr, err)
		}
		h.Sockets, fds = append(h.Sockets, s.Kind+" "+s.Addr), append(fds, fd)
	}
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(helloWithin)); err != nil {
		return err
	}
	if _, _, err := c.WriteMsgUnix(append(line, '\n'), syscall.UnixRights(fds...), nil); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	return c.SetWriteDeadline(time.Time{})
}

// rawDescriptor is the descriptor of f, which keeps its mode: (*os.File).Fd would make the socket block, for every process
// that has it.
func rawDescriptor(f *os.File) (int, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	err = rc.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}

// greeted reads the hello of the other side, and what came behind it.
func greeted(c *net.UnixConn) (version string, sockets []WebSocket, rest []byte, err error) {
	h, sockets, rest, err := heard(c)
	return clean(h.Version), sockets, rest, err
}

func heard(c *net.UnixConn) (h webHello, sockets []WebSocket, rest []byte, err error) {
	if err := c.SetReadDeadline(time.Now().Add(helloWithin)); err != nil {
		return h, nil, nil, err
	}
	b, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*maxSockets))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return h, nil, nil, fmt.Errorf("wait for a hello: %w", err)
	}
	files := received(oob[:oobn])
	line, rest, ok := bytes.Cut(b[:n], []byte("\n"))
	if err := json.Unmarshal(line, &h); !ok || err != nil || len(h.Sockets) != len(files) || len(h.Version) > maxText || flags&unix.MSG_CTRUNC != 0 {
		for _, f := range files {
			f.Close()
		}
		return webHello{}, nil, nil, errors.New("what came is no hello")
	}
	for i, name := range h.Sockets {
		kind, addr, _ := strings.Cut(clean(name), " ")
		sockets = append(sockets, WebSocket{Kind: kind, Addr: addr, File: files[i]})
	}
	return h, sockets, bytes.Clone(rest), c.SetReadDeadline(time.Time{})
}

// received takes the descriptors of a control message.
func received(oob []byte) []*os.File {
	var out []*os.File
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			out = append(out, os.NewFile(uintptr(fd), "socket"))
		}
	}
	return out
}

// prefixed is a connection of which some bytes were read already.
type prefixed struct {
	*net.UnixConn
	first []byte
}

func (c *prefixed) Read(b []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.UnixConn.Read(b)
}
