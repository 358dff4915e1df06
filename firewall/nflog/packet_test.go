package nflog

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

// Headers as they come off the wire.
const (
	syn4   = "4500003c1c4640004006b1e6c0000201c6336401" + "d4310016" + "000000000000000050022000917c0000"
	frag4  = "4500003c1c4600104011b1e6c0000201c6336401" + "d43100350000"
	udp6   = "6000000000081140" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "1234003500080000"
	hop6   = "6000000000100040" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "3a00050200000000" + "8000000000000000"
	frag6  = "6000000000102c40" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "0600000800000001" + "d431001600000000"
	short6 = "6000000000100040" + "20010db8"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		in   string
		want Packet
		ok   bool
	}{
		"tcp over IPv4":             {syn4, Packet{Protocol: "tcp", Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("198.51.100.1"), SourcePort: 54321, Port: 22}, true},
		"a later fragment":          {frag4, Packet{Protocol: "udp", Source: netip.MustParseAddr("192.0.2.1"), Destination: netip.MustParseAddr("198.51.100.1")}, true},
		"udp over IPv6":             {udp6, Packet{Protocol: "udp", Source: netip.MustParseAddr("2001:db8::1"), Destination: netip.MustParseAddr("2001:db8::2"), SourcePort: 0x1234, Port: 53}, true},
		"behind hop-by-hop options": {hop6, Packet{Protocol: "icmpv6", Source: netip.MustParseAddr("2001:db8::1"), Destination: netip.MustParseAddr("2001:db8::2")}, true},
		"a later IPv6 fragment":     {frag6, Packet{Protocol: "tcp", Source: netip.MustParseAddr("2001:db8::1"), Destination: netip.MustParseAddr("2001:db8::2")}, true},
		"cut off":                   {short6, Packet{}, false},
		"no IP":                     {"ffff", Packet{}, false},
		"nothing":                   {"", Packet{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(tt.in, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			var got Packet
			if ok := got.parse(b); ok != tt.ok || got != tt.want {
				t.Errorf("got %+v, %v, want %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{syn4, frag4, udp6, hop6, frag6, short6} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		if p.parse(b) && !p.Source.IsValid() {
			t.Errorf("%x was accepted without a source", b)
		}
	})
}
