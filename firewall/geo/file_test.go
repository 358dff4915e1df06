package geo

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall/ranges"
)

func TestOpenRefusesDamage(t *testing.T) {
	m := put(t, store(t), "1.0.0.0,1.0.0.255,AU\n2.0.0.0,2.0.0.255,DE\n2001:200::,2001:200::ff,AU\n")
	good, err := os.ReadFile(m.DB.Path)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"magic", func(b []byte) []byte { b[0]++; return b }},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }},
		{"longer", func(b []byte) []byte { return append(b, 0) }},
		{"huge count", func(b []byte) []byte { b[16] = 0x20; return b }},
		{"another country", func(b []byte) []byte { b[headerSize+8] = 'X'; return b }},
		{"another address", func(b []byte) []byte { b[headerSize+7]--; return b }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(m.DB.Path, tt.change(slices.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Open(m.DB.Path)
			if err == nil {
				defer f.Close()
				err = f.Verify()
			}
			if !errors.Is(err, ranges.ErrCorrupt) || !strings.Contains(err.Error(), m.DB.Path) {
				t.Errorf("got %v, want %v with the path", err, ranges.ErrCorrupt)
			}
		})
	}
}

func FuzzNewFile(f *testing.F) {
	f.Add(append(header(1, 0), 8, 0, 0, 0, 8, 0, 0, 9, 'D', 'E'))
	f.Add(append(header(2, 0), 8, 0, 0, 0, 8, 0, 0, 9, 'D', 'E', 8, 0, 0, 3, 8, 0, 0, 4, 0, 0))
	f.Add(append(header(0, 1), make([]byte, size6)...))
	f.Add([]byte(magic))
	path := filepath.Join(f.TempDir(), "x.geo")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		var good []Record
		for r, err2 := range file.All() {
			if err = err2; err != nil {
				break
			}
			good = append(good, r)
		}
		for _, r := range good {
			if cc, in, ok, err2 := file.Lookup(r.To); err == nil && (err2 != nil || !ok || in != r.Range || cc != r.Country.String()) {
				t.Errorf("lookup %v: got %s %v %v %v", r.To, cc, in, ok, err2)
			}
		}
		sel := file.Select([]string{"DE"}, true)
		if _, err2 := ranges.Collect(ranges.Canonical(sel)); err == nil && err2 != nil && !errors.Is(err2, ranges.ErrOrder) {
			t.Error(err2)
		}
	})
}
