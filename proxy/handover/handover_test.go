package handover

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/net/ipv4"
)

// share gives n processes one UDP socket, as they have it after it was passed on.
func share(t *testing.T, n int) (addr net.Addr, copies []*net.UDPConn) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	for range n {
		f, err := pc.(*net.UDPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.FilePacketConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		copies = append(copies, c.(*net.UDPConn))
	}
	return pc.LocalAddr(), copies
}

// next is the next packet that is not empty.
func next(t *testing.T, c *Conn) (string, net.Addr) {
	t.Helper()
	for {
		ms := []ipv4.Message{{Buffers: [][]byte{make([]byte, 1500)}, OOB: make([]byte, 128)}}
		n, err := c.ReadBatch(ms, 0)
		if err != nil || n != 1 {
			t.Fatalf("got %d, %v", n, err)
		}
		if ms[0].N > 0 {
			return string(ms[0].Buffers[0][:ms[0].N]), ms[0].Addr
		}
	}
}

func TestPacketsFindTheirProcess(t *testing.T) {
	dir := t.TempDir()
	addr, copies := share(t, 3)
	var relays []*Relay
	var conns []*Conn
	for _, c := range copies {
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		relays, conns = append(relays, r), append(conns, r.Take(c))
	}
	for i, r := range relays {
		if r.Retired() != (i < 2) {
			t.Errorf("process %d of 3: retired is %v", i, r.Retired())
		}
	}
	client, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i, r := range relays {
		id, err := r.NewID()
		if err != nil {
			t.Fatal(err)
		}
		for _, packet := range [][]byte{
			append(append([]byte{0x40}, id[:]...), "short"...),
			append(append([]byte{0xe0, 0, 0, 0, 1, IDLength}, id[:]...), "long"...),
		} {
			client.Write(packet)
			if i < 2 {
				client.Write([]byte("for the newest")) // so that it has something to return
				if got, _ := next(t, conns[2]); got != "for the newest" {
					t.Errorf("the newest got %q, which is not for it", got)
				}
			}
			got, from := next(t, conns[i])
			if got != string(packet) || from.String() != client.LocalAddr().String() {
				t.Errorf("process %d: got %q from %v, want %q from %v", i, got, from, packet, client.LocalAddr())
			}
		}
	}
	// A process that is gone: its packets stay here, so that the client is told.
	id, _ := relays[0].NewID()
	if err := relays[0].Close(); err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0x40}, id[:]...)
	client.Write(packet)
	if got, _ := next(t, conns[2]); got != string(packet) {
		t.Errorf("got %q", got)
	}
	for _, r := range relays[1:] {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestOfThoseWhoAreGoneNothingIsAwaited(t *testing.T) {
	dir := t.TempDir()
	_, copies := share(t, 1)
	gone, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone.conn.Close() // killed: its socket is left
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.Take(copies[0])
	if n := len(*r.others.Load()); n != 0 {
		t.Errorf("got %d others", n)
	}
	if _, err := os.Stat(gone.path(gone.number)); !os.IsNotExist(err) {
		t.Errorf("its socket: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, a := range []string{"192.0.2.7:443", "[2001:db8::7]:1", "[fe80::1%eth0]:65535"} {
		f.Add(append(encode(netip.MustParseAddrPort(a)), "packet"...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		from, data, ok := decode(b)
		if !ok {
			return
		}
		again, rest, ok := decode(append(encode(from), data...))
		if !ok || !bytes.Equal(rest, data) || len(from.Addr().Zone()) <= 32 && again != from {
			t.Errorf("got %v %q, want %v %q", again, rest, from, data)
		}
	})
}
