package ranges

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFileRoundTrip(t *testing.T) {
	dir := t.TempDir()
	want := list(t, "1.2.3.4", "10.0.0.0/8", "255.255.255.255", "::", "2001:db8::/32", "ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	info, err := Write(dir, FromSlice(want))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(info.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Verify(); err != nil {
		t.Error(err)
	}
	if got := f.Info(); got != info || got.V4 != 3 || got.V6 != 3 || filepath.Base(got.Path) != got.Digest+Extension {
		t.Errorf("got info %+v, written as %+v", got, info)
	}
	if got, err := Collect(f.All()); err != nil || !slices.Equal(got, want) {
		t.Errorf("All: got %v %v, want %v", got, err, want)
	}
	if got, err := Collect(f.Family(true)); err != nil || !slices.Equal(got, want[3:]) {
		t.Errorf("Family(v6): got %v %v, want %v", got, err, want[3:])
	}
	for range f.All() {
		break // a reader may stop
	}
	for i, r := range want {
		if got, err := f.At(i > 2, i%3); err != nil || got != r {
			t.Errorf("At %d: got %v %v, want %v", i, got, err, r)
		}
	}
	for _, i := range []int{-1, 3} {
		if _, err := f.At(false, i); err == nil {
			t.Errorf("At %d: no error", i)
		}
	}
	for addr, in := range map[string]int{"1.2.3.4": 0, "1.2.3.3": -1, "1.2.3.5": -1, "0.0.0.0": -1, "10.255.255.255": 1, "::ffff:10.1.2.3": 1,
		"255.255.255.255": 2, "::": 3, "::1": -1, "2001:db8:ffff::": 4, "2001:db9::": -1, "fe80::1%eth0": -1, "ffff:ffff::": 5} {
		got, ok, err := f.Contains(netip.MustParseAddr(addr))
		if err != nil || ok != (in >= 0) || ok && got != want[in] {
			t.Errorf("Contains %s: got %v %v %v, want index %d", addr, got, ok, err, in)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
		t.Errorf("got files %v, want one", names)
	}
}

func TestWriteKeepsAnIntactFile(t *testing.T) {
	dir := t.TempDir()
	a, err := Write(dir, FromSlice(list(t, "10.0.0.0/8")))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(a.Path)
	if _, err := Write(dir, FromSlice(list(t, "10.0.0.0/9", "10.128.0.0/9"))); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(a.Path); !os.SameFile(before, after) {
		t.Error("an intact file was replaced")
	}
	if err := os.WriteFile(a.Path, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, FromSlice(list(t, "10.0.0.0/8"))); err != nil {
		t.Fatal(err)
	}
	if !intact(a) {
		t.Error("a torn file was kept")
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, s := range map[string]Seq{
		"order":    fromSorted(list(t, "10.0.0.2", "10.0.0.0")),
		"adjacent": fromSorted(list(t, "10.0.0.0", "10.0.0.1")),
		"family":   fromSorted(list(t, "::1", "10.0.0.1")),
		"error":    Fail(ErrOrder),
	} {
		if _, err := Write(dir, s); !errors.Is(err, ErrOrder) {
			t.Errorf("%s: got error %v, want %v", name, err, ErrOrder)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	if _, err := Write(filepath.Join(dir, "missing"), FromSlice(nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: got error %v", err)
	}
}

func TestOpenRefusesDamage(t *testing.T) {
	info, err := Write(t.TempDir(), FromSlice(list(t, "10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32")))
	if err != nil {
		t.Fatal(err)
	}
	good, _ := os.ReadFile(info.Path)
	tests := []struct {
		name   string
		change func(b []byte) []byte
		verify bool // Open cannot see it
	}{
		{"empty", func([]byte) []byte { return nil }, false},
		{"magic", func(b []byte) []byte { b[0]++; return b }, false},
		{"reserved", func(b []byte) []byte { b[15] = 1; return b }, false},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, false},
		{"longer", func(b []byte) []byte { return append(b, 0) }, false},
		{"huge count", func(b []byte) []byte { binary.BigEndian.PutUint64(b[16:], 1<<61); return b }, false},
		{"another address", func(b []byte) []byte { b[headerSize+7]--; return b }, true},
		{"same records, other counts", func(b []byte) []byte {
			binary.BigEndian.PutUint64(b[16:], 6)
			binary.BigEndian.PutUint64(b[24:], 0)
			return b
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(info.Path, tt.change(slices.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Open(info.Path)
			if tt.verify && err == nil {
				defer f.Close()
				err = f.Verify()
			} else if err == nil {
				f.Close()
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("got error %v, want %v", err, ErrCorrupt)
			}
		})
	}
}

func FuzzNewFile(f *testing.F) {
	f.Add(append(header(1, 0), 10, 0, 0, 0, 10, 0, 0, 9))
	f.Add(append(header(2, 0), 10, 0, 0, 0, 10, 0, 0, 9, 10, 0, 0, 3, 10, 0, 0, 4))
	f.Add(append(header(0, 1), make([]byte, 32)...))
	f.Add([]byte(magic))
	path := filepath.Join(f.TempDir(), "x.ranges")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		got, err := Collect(file.All())
		if err == nil && !slices.Equal(got, Normalize(got)) {
			t.Errorf("not canonical: %v", got)
		}
		for _, r := range got {
			if in, ok, err2 := file.Contains(r.To); err == nil && (err2 != nil || !ok || in != r) {
				t.Errorf("Contains %v: %v %v %v", r.To, in, ok, err2)
			}
		}
	})
}

// apart is n IPv4 ranges of one address with a gap behind each, from a base.
func apart(base uint32, n int) Seq {
	return func(yield func(Range, error) bool) {
		var b [4]byte
		for i := range n {
			binary.BigEndian.PutUint32(b[:], base+uint32(i)*8)
			if !yield(Single(netip.AddrFrom4(b)), nil) {
				return
			}
		}
	}
}

func TestMergeAndReadAllocateNothingPerRange(t *testing.T) {
	dir := t.TempDir()
	const n = 20_000
	got := testing.AllocsPerRun(2, func() {
		info, err := Write(dir, Subtract(Merge(apart(0, n), apart(4, n), apart(1<<24, n)), list(t, "1.2.3.0/24", "10.0.0.0/8")))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(info.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, err := range f.All() {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	if got > 300 {
		t.Errorf("got %.0f allocations for %d ranges, want a constant", got, 3*n)
	}
}

func BenchmarkMergeWrite500k(b *testing.B) {
	dir := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		info, err := Write(dir, Merge(apart(0, 200_000), apart(4, 200_000), apart(1<<28, 100_000)))
		if err != nil || info.V4 != 500_000 {
			b.Fatal(info, err)
		}
		if err := os.Remove(info.Path); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContains500k(b *testing.B) {
	info, err := Write(b.TempDir(), apart(0, 500_000))
	if err != nil {
		b.Fatal(err)
	}
	f, err := Open(info.Path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	a := netip.MustParseAddr("0.20.0.8")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := f.Contains(a); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	keep, err := Write(dir, FromSlice(list(t, "10.0.0.0/8")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, FromSlice(list(t, "11.0.0.0/8"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".ranges-123", "feed.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir, keep.Digest); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{keep.Digest + Extension, "feed.json"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
