package geo

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

// TestIndexAgreesWithFile: both say the same of every address, at each boundary too.
func TestIndexAgreesWithFile(t *testing.T) {
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	recs, _, err := Read(strings.NewReader("1.0.0.0,1.0.0.255,AU\n1.0.1.0,1.0.3.255,CN\n8.8.8.0,8.8.8.255,US\n2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP\n2a00::,2a0f:ffff:ffff:ffff:ffff:ffff:ffff:ffff,DE\n"), "csv", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := s.Put([]Source{{Path: "x", Records: recs}}, false, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(m.DB.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := os.ReadFile(m.DB.Path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := NewIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []netip.Addr
	for _, a := range []string{"1.0.0.0", "1.0.0.255", "1.0.1.0", "1.0.3.255", "8.8.8.8", "2001:200::", "2001:200:ffff:ffff:ffff:ffff:ffff:ffff", "2a00::1", "::ffff:8.8.8.8", "0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		a := netip.MustParseAddr(a)
		addrs = append(addrs, a, a.Prev(), a.Next())
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		v := rnd.Uint32()
		addrs = append(addrs, netip.AddrFrom4([4]byte{byte(v) % 10, byte(v >> 8), byte(v >> 16), byte(v >> 24)}))
	}
	known := 0
	for _, a := range addrs {
		cc, _, ok, err := f.Lookup(a)
		if got := x.Country(a); err != nil || ok != (got != Code{}) || ok && got.String() != cc {
			t.Fatalf("%v: got %v, the file says %q, %v, %v", a, got, cc, ok, err)
		}
		if ok {
			known++
		}
	}
	if known < 15 {
		t.Errorf("only %d addresses are known", known)
	}
	for n := range len(b) {
		if _, err := NewIndex(b[:n]); !errors.Is(err, ranges.ErrCorrupt) {
			t.Fatalf("cut at %d: got %v", n, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { x.Country(addrs[0]) }); n != 0 {
		t.Errorf("%v allocations for each address", n)
	}
}

func FuzzNewIndex(f *testing.F) {
	f.Add(append(header(1, 0), 1, 0, 0, 0, 1, 0, 0, 255, 'A', 'U'), []byte{1, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b, a []byte) {
		x, err := NewIndex(b)
		if err != nil {
			return
		}
		if addr, ok := netip.AddrFromSlice(a); ok {
			x.Country(addr)
		}
	})
}

func BenchmarkIndex(b *testing.B) {
	s, sources := full(b)
	m, _, err := s.Put(sources, false, time.Unix(1, 0))
	if err != nil {
		b.Fatal(err)
	}
	data, err := os.ReadFile(m.DB.Path)
	if err != nil {
		b.Fatal(err)
	}
	x, err := NewIndex(data)
	if err != nil {
		b.Fatal(err)
	}
	i := uint32(0)
	for b.Loop() {
		i += 0x9e3779b9
		x.Country(netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}))
	}
}
