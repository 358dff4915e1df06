package announce

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

func TestHeader(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.7:1234"), netip.MustParseAddrPort("[2001:db8::7]:1234")
	here4, here6 := netip.MustParseAddrPort("198.51.100.1:443"), netip.MustParseAddrPort("[2001:db8::1]:443")
	for _, x := range []struct {
		p        Parties
		v1       string
		from, to string // of version 2
	}{
		{Parties{v4, here4}, "PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\n", "192.0.2.7:1234", "198.51.100.1:443"},
		{Parties{v6, here6}, "PROXY TCP6 2001:db8::7 2001:db8::1 1234 443\r\n", "[2001:db8::7]:1234", "[2001:db8::1]:443"},
		{Parties{v6, here4}, "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 1234 443\r\n", "[2001:db8::7]:1234", "198.51.100.1:443"},
		{Parties{v4, here6}, "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1234 443\r\n", "192.0.2.7:1234", "[2001:db8::1]:443"},
		{Parties{v4, netip.MustParseAddrPort("[::]:443")}, "PROXY TCP4 192.0.2.7 0.0.0.0 1234 443\r\n", "192.0.2.7:1234", "0.0.0.0:443"},
		{Parties{v6, netip.AddrPort{}}, "PROXY TCP6 2001:db8::7 :: 1234 0\r\n", "[2001:db8::7]:1234", "[::]:0"},
		{Parties{}, "PROXY UNKNOWN\r\n", "", ""},
	} {
		got, err := x.p.Header(V1, false)
		if string(got) != x.v1 || err != nil {
			t.Errorf("%v: got %q, %v", x.p, got, err)
		}
		for _, datagrams := range []bool{false, true} {
			b, err := x.p.Header(V2, datagrams)
			if err != nil {
				t.Errorf("%v: %v", x.p, err)
				continue
			}
			h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b)))
			if err != nil || h.Version != 2 || h.Command.IsLocal() != (x.from == "") || x.from != "" && (h.SourceAddr.String() != x.from || h.DestinationAddr.String() != x.to || h.TransportProtocol.IsDatagram() != datagrams) {
				t.Errorf("%v, datagrams %v: got %+v, %v", x.p, datagrams, h, err)
			}
		}
	}
	if got := Of(With(context.Background(), Parties{From: v4})); got.From != v4 || Of(context.Background()).From.IsValid() {
		t.Errorf("got %v", got)
	}
}

// FuzzRead: whatever a proxy sends, what is behind the header comes whole, and a client that is named has an address.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 192.0.2.7 127.0.0.1 1234 443\r\nhello", "PROXY UNKNOWN\r\nhello", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x12\x34\x01\xbbhello",
		"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "PROXY TCP6 ::1", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := net.Pipe()
		go func() {
			_, _ = b.Write(data)
			b.Close()
		}()
		defer a.Close()
		c, peer, err := Read(a, netip.MustParseAddrPort("192.0.2.1:1"), time.Minute)
		if err != nil {
			return
		}
		if !peer.IsValid() || peer.Addr().Is4In6() || peer.Addr().IsUnspecified() {
			t.Errorf("the client is %v", peer)
		}
		rest, err := io.ReadAll(c)
		if err != nil || !bytes.HasSuffix(data, rest) {
			t.Errorf("what is left of %q is %q, %v", data, rest, err)
		}
	})
}
