package doctor

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

func FuzzParseSSHD(f *testing.F) {
	f.Add("port 22\npasswordauthentication yes\n")
	f.Add("permitrootlogin\n \nport")
	f.Fuzz(func(t *testing.T, text string) {
		s := ParseSSHD(text)
		for i, p := range s.Ports {
			if p == 0 || i > 0 && s.Ports[i-1] >= p {
				t.Fatalf("ports: got %v, want them sorted, once each", s.Ports)
			}
		}
	})
}

func FuzzParseSockets(f *testing.F) {
	f.Add([]byte("   0: 00000000:0016 00000000:0000 0A 0 0\n"))
	f.Add([]byte("   0: 00000000000000000000000001000000:0CEB 00000000000000000000000000000000:0000 0A\n x: : : 0A"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, l := range ParseSockets(firewall.TCP, bytes.NewReader(data)) {
			if l.Port == 0 || !l.Address.IsValid() {
				t.Fatalf("got %+v", l)
			}
		}
	})
}

func FuzzDocker(f *testing.F) {
	f.Add([]byte(`{"iptables": false, "userland-proxy": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(Docker(data)) == 0 {
			t.Fatal("no finding")
		}
	})
}

// chain is an answer of the kernel.
func chain(family byte, hook, policy uint32) []byte {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.String(unix.NFTA_CHAIN_TABLE, "filter")
	ae.String(unix.NFTA_CHAIN_NAME, "IN\x01PUT")
	ae.Nested(unix.NFTA_CHAIN_HOOK, func(n *netlink.AttributeEncoder) error {
		n.ByteOrder = binary.BigEndian
		n.Uint32(unix.NFTA_HOOK_HOOKNUM, hook)
		return nil
	})
	ae.Uint32(unix.NFTA_CHAIN_POLICY, policy)
	b, err := ae.Encode()
	if err != nil {
		panic(err)
	}
	return append([]byte{family, 0, 0, 0}, b...)
}

func TestDecodeChain(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want Chain
		ok   bool
	}{
		{"input drops", chain(unix.NFPROTO_IPV4, unix.NF_INET_LOCAL_IN, 0), Chain{"ip", "filter", "IN?PUT", "input"}, true},
		{"input accepts", chain(unix.NFPROTO_IPV4, unix.NF_INET_LOCAL_IN, 1), Chain{}, false},
		{"forward drops", chain(unix.NFPROTO_INET, unix.NF_INET_FORWARD, 0), Chain{}, false},
		{"bridge", chain(unix.NFPROTO_BRIDGE, unix.NF_INET_LOCAL_IN, 0), Chain{}, false},
		{"short", []byte{2, 0}, Chain{}, false},
	} {
		if got, ok := decodeChain(c.data); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func FuzzDecodeChain(f *testing.F) {
	f.Add(chain(unix.NFPROTO_INET, unix.NF_INET_LOCAL_IN, 0))
	f.Add([]byte{1, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, data []byte) {
		if x, ok := decodeChain(data); ok && (x.Family == "" || x.Hook == "") {
			t.Fatalf("got %+v", x)
		}
	})
}
