package nft

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/nstest"
)

// page is what the rule of outsidePages computes of an address.
func page(a netip.Addr) uint32 {
	b := a.AsSlice()
	if a.Is6() {
		b = b[1:]
	}
	return (uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])) >> (32 - pageBits)
}

func (p *pages) has(n uint32) bool { return p[n/64]>>(n%64)&1 != 0 }

// Every address of a range is in a page of it; a page that no range touches is not there.
func TestPages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	address := func(v6 bool, bits int) netip.Addr { // random in its first bits, so that ranges are near and far
		b := make([]byte, 4)
		if v6 {
			b = make([]byte, 16)
		}
		for i := range b[:bits/8] {
			b[i] = byte(r.Uint32())
		}
		a, _ := netip.AddrFromSlice(b)
		return a
	}
	for _, v6 := range []bool{false, true} {
		for range 300 {
			var rs []ranges.Range
			for range 1 + r.IntN(4) {
				from := address(v6, 32)
				to := from
				switch r.IntN(4) {
				case 0:
					to = ranges.Of(netip.PrefixFrom(from, 9+r.IntN(23)).Masked()).To
				case 1:
					if to = address(v6, 32); to.Less(from) {
						from, to = to, from
					}
				}
				rs = append(rs, ranges.Range{From: from, To: to})
			}
			rs = ranges.Normalize(rs)
			info, err := ranges.Write(t.TempDir(), ranges.FromSlice(rs))
			if err != nil {
				t.Fatal(err)
			}
			p, err := pagesOf(&set{name: "pages", v6: v6, lists: []*firewall.BigSet{{Path: info.Path, Digest: info.Digest, V4: info.V4, V6: info.V6}}})
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				a := address(v6, 32)
				in := slices.ContainsFunc(rs, func(x ranges.Range) bool { return x.From.Compare(a) <= 0 && a.Compare(x.To) <= 0 })
				if in && !p.has(page(a)) {
					t.Fatalf("%v is in %v, but its page is not there", a, rs)
				}
			}
			most := 0
			for _, x := range rs {
				for _, a := range []netip.Addr{x.From, x.To} {
					if !p.has(page(a)) {
						t.Fatalf("%v is at an end of %v, but its page is not there", a, rs)
					}
				}
				most += int(min(pageOf(x.To.AsSlice())-pageOf(x.From.AsSlice())+1, 1<<pageBits))
			}
			if got := p.count(); got > most || got == 0 {
				t.Fatalf("%v: got %d pages, want at most %d", rs, got, most)
			}
		}
	}
}

// The kernel answers by the pages as by the lists themselves, at the edges of ranges and of pages.
func TestPagesInTheKernel(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		tp := nstest.NewTopology(t)
		tp.Host.Serve(t, "tcp", 22)
		var rs []ranges.Range
		for _, text := range []string{"192.0.2.64/26", "192.0.127.255-192.0.128.0", "2001:db8:7::/64", "2a01:40::/26", "20ff:ffff::-2100:1::"} {
			x, err := ranges.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			rs = append(rs, x)
		}
		info, err := ranges.Write(t.TempDir(), ranges.FromSlice(rs))
		if err != nil {
			t.Fatal(err)
		}
		d := newDriver(t)
		ruleset := &firewall.Ruleset{Feeds: firewall.BigSet{Path: info.Path, Digest: info.Digest, V4: info.V4, V6: info.V6},
			Services: []firewall.Service{{Name: "ssh", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 22, Last: 22}}}}}
		if _, err := d.Apply(t.Context(), ruleset); err != nil {
			t.Fatal(err)
		}
		for source, want := range map[string]nstest.Result{
			"192.0.2.63": nstest.Open, "192.0.2.64": nstest.Filtered, "192.0.2.127": nstest.Filtered, "192.0.2.128": nstest.Open,
			"192.0.127.254": nstest.Open, "192.0.127.255": nstest.Filtered, "192.0.128.0": nstest.Filtered, "192.0.128.1": nstest.Open,
			"192.1.0.1": nstest.Open, "2001:db8:7::1": nstest.Filtered, "2001:db8:8::1": nstest.Open, "2001:dc0::1": nstest.Open,
			"2a01:3f:ffff::1": nstest.Open, "2a01:40::1": nstest.Filtered, "2a01:7f:ffff::1": nstest.Filtered, "2a01:80::1": nstest.Open,
			"2b01:40::1": nstest.Open, "20ff:ffff::1": nstest.Filtered, "2100::1": nstest.Filtered, "2100:1::1": nstest.Open,
		} {
			a := netip.MustParseAddr(source)
			tp.AddSource(t, tp.Client1, a)
			to := netip.AddrPortFrom(tp.Host1[0], 22)
			if a.Is6() {
				to = netip.AddrPortFrom(tp.Host1[1], 22)
			}
			if got := tp.Client1.From(a).Dial(t, "tcp", to); got != want {
				t.Errorf("%s: got %s, want %s", source, got, want)
			}
		}
	})
}
