package geo

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

func put(t testing.TB, s *Store, lines ...string) Meta {
	t.Helper()
	var sources []Source
	for _, l := range lines {
		sources = append(sources, Source{Path: "/test.csv", Records: read(t, l)})
	}
	m, _, err := s.Put(sources, false, time.Unix(1, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func openDB(t testing.TB, m Meta) *File {
	t.Helper()
	f, err := Open(m.DB.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func store(t testing.TB) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "geo"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	s := store(t)
	if m, err := s.Get(); err != nil || m.DB.Digest != "" {
		t.Errorf("nothing yet: got %+v %v", m, err)
	}
	var many strings.Builder
	for i := range 20 {
		many.WriteString(strings.ReplaceAll("N.0.0.0,N.0.0.255,DE\n", "N", string(rune('1'+i/10))+string(rune('0'+i%10))))
	}
	first := put(t, s, many.String())
	same, changed, err := s.Put([]Source{{Path: "/x", Records: read(t, many.String())}}, false, time.Unix(2, 0))
	if err != nil || changed || same.DB != first.DB {
		t.Errorf("same: got %+v %v %v", same, changed, err)
	}
	bad := errors.New("disk")
	broken := func(yield func(Record, error) bool) { yield(Record{}, bad) }
	backwards := Records([]Record{{ranges.Single(netip.MustParseAddr("9.0.0.1")), Code{'D', 'E'}}, {ranges.Single(netip.MustParseAddr("8.0.0.1")), Code{'D', 'E'}}})
	for name, tt := range map[string]struct {
		sources []Source
		want    error
	}{
		"shrunk":    {[]Source{{Records: read(t, "1.0.0.0,1.0.0.255,AU\n")}}, ErrImplausible},
		"broken":    {[]Source{{Path: "/x", Records: broken}}, bad},
		"backwards": {[]Source{{Path: "/x", Records: backwards}}, ranges.ErrOrder},
		"none":      {nil, nil},
	} {
		m, changed, err := s.Put(tt.sources, false, time.Unix(3, 0))
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || changed || m.DB != first.DB || m.Error == "" {
			t.Errorf("%s: got %+v %v %v", name, m, changed, err)
		}
		if got, err := s.Get(); err != nil || got.DB != first.DB || got.Error == "" {
			t.Errorf("%s: read back %+v %v", name, got, err)
		}
	}
	old := openDB(t, first)
	forced, changed, err := s.Put([]Source{{Records: read(t, "1.0.0.0,1.0.0.255,AU\n")}}, true, time.Unix(4, 0))
	if err != nil || !changed || forced.DB.V4 != 1 || forced.Error != "" {
		t.Errorf("forced: got %+v %v %v", forced, changed, err)
	}
	if err := old.Verify(); err != nil {
		t.Errorf("a file that is open was spoiled: %v", err)
	}
	if files, _ := os.ReadDir(s.dir); len(files) != 2 {
		t.Errorf("got files %v, want the database and %s", files, metaName)
	}
	if err := os.Truncate(forced.DB.Path, 33); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Get(); err != nil || m.DB.Digest != "" || !strings.Contains(m.Error, "corrupt") {
		t.Errorf("cut: got %+v %v", m, err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, metaName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Get(); err != nil || m.DB.Digest != "" || !strings.Contains(m.Error, "corrupt") {
		t.Errorf("damaged meta: got %+v %v", m, err)
	}
	if m := put(t, s, many.String()); m.DB != first.DB {
		t.Errorf("after damage: got %+v, want %+v", m.DB, first.DB)
	}
}

func TestFullSize(t *testing.T) {
	var sources []Source
	for _, path := range []string{"/usr/share/tor/geoip", "/usr/share/tor/geoip6"} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatalf("%v; install Debian's tor-geoipdb", err)
		}
		defer f.Close()
		recs, stats, err := Read(f, Tor, Limits{})
		if err != nil || stats.Records < 200_000 || stats.Bad != 0 {
			t.Fatalf("%s: got %+v %v", path, stats, err)
		}
		sources = append(sources, Source{Path: path, Stats: stats, Records: recs})
	}
	m, changed, err := store(t).Put(sources, false, time.Unix(1, 0))
	if err != nil || !changed || m.DB.V4 < 300_000 || m.DB.V6 < 200_000 {
		t.Fatalf("got %+v %v %v", m.DB, changed, err)
	}
	f := openDB(t, m)
	for addr, want := range map[string]string{"193.99.144.80": "DE", "2a02:2e0:3fe::1": "DE"} {
		if cc, _, _, err := f.Lookup(netip.MustParseAddr(addr)); err != nil || cc != want {
			t.Errorf("%s: got %q %v, want %s", addr, cc, err, want)
		}
	}
	counts, err := f.Countries()
	if err != nil || len(counts) < 230 || counts[Code{'U', 'S'}].Addresses4 < 1e9 {
		t.Errorf("got %d countries, US %+v, %v", len(counts), counts[Code{'U', 'S'}], err)
	}
	// The countries and the unknown are all there is, and each address is looked up as it was selected.
	var codes []string
	for c := range counts {
		codes = append(codes, c.String())
	}
	all, err := ranges.Collect(f.Select(codes, true))
	if err != nil || len(all) != 2 {
		t.Errorf("got %d ranges %v, want everything", len(all), err)
	}
	n := 0
	for r, err := range ranges.Canonical(f.Select([]string{"CN", "RU", "US"}, false)) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%1000 == 0 {
			if cc, _, _, err := f.Lookup(r.To); err != nil || !strings.Contains("CN RU US", cc) {
				t.Errorf("%v: got %q %v", r.To, cc, err)
			}
		}
	}
	if n < 10_000 {
		t.Errorf("got %d ranges of three large countries", n)
	}
}
