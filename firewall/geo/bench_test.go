package geo

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

// full is a store with Debian's data in it.
func full(b *testing.B) (*Store, []Source) {
	b.Helper()
	var sources []Source
	for _, path := range []string{"/usr/share/tor/geoip", "/usr/share/tor/geoip6"} {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		recs, stats, err := Read(f, Tor, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		sources = append(sources, Source{Path: path, Stats: stats, Records: recs})
	}
	return store(b), sources
}

func BenchmarkReadTor(b *testing.B) {
	for b.Loop() {
		full(b)
	}
}

func BenchmarkPut(b *testing.B) {
	s, sources := full(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := s.Put(sources, false, time.Unix(1, 0)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	s, sources := full(b)
	m, _, err := s.Put(sources, false, time.Unix(1, 0))
	if err != nil {
		b.Fatal(err)
	}
	f := openDB(b, m)
	for name, codes := range map[string][]string{"three": {"CN", "RU", "US"}, "ten": {"CN", "RU", "US", "BR", "IN", "IR", "KP", "VN", "ID", "TR"}} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			b.ReportAllocs()
			for b.Loop() {
				info, err := ranges.Write(dir, f.Select(codes, false))
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(info.V4+info.V6), "ranges")
			}
		})
	}
	b.Run("lookup", func(b *testing.B) {
		a := netip.MustParseAddr("193.99.144.80")
		b.ReportAllocs()
		for b.Loop() {
			if _, _, ok, err := f.Lookup(a); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
}
