package geo

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

// read gives the records of lines "first,last,country".
func read(t testing.TB, lines string) Seq {
	t.Helper()
	s, _, err := Read(strings.NewReader(lines), CSV, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(t testing.TB, s Seq) string {
	t.Helper()
	var out []string
	var last Record
	for r, err := range s {
		if err != nil {
			t.Fatal(err)
		}
		if err := follows(last, r, len(out) == 0); err != nil {
			t.Error(err)
		}
		last = r
		out = append(out, r.Range.String()+" "+r.Country.String())
	}
	return strings.Join(out, ", ")
}

func TestRead(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"tor", "# comment\n16777216,16777471,AU\n16777472,16777727,CN\n", "1.0.0.0/24 AU, 1.0.1.0/24 CN"},
		{"tor, IPv6", "2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP\n", "2001:200::/32 JP"},
		{"quoted, more columns", "\"1.0.0.0\",\"1.0.0.255\",\"AU\",\"Australia\"\r\n", "1.0.0.0/24 AU"},
		{"adjacent of one country", "1.0.0.0,1.0.0.127,AU\n1.0.0.128,1.0.0.255,au\n", "1.0.0.0/24 AU"},
		{"no country", "1.0.0.0,1.0.0.255,??\n2.0.0.0,2.0.0.255,ZZ\n3.0.0.0,3.0.0.255,\n4.0.0.0,4.0.0.255,DE\n5.0.0.0,5.0.0.255,SU\n", "4.0.0.0/24 DE"},
		{"former code", "1.0.0.0,1.0.0.255,UK\n", "1.0.0.0/24 GB"},
		{"not public", "9.0.0.0,11.255.255.255,US\n", "9.0.0.0/8 US, 11.0.0.0/8 US"},
		{"unsorted", "4.0.0.0,4.0.0.255,DE\n1.0.0.0,1.0.0.255,AU\n", "1.0.0.0/24 AU, 4.0.0.0/24 DE"},
		{"nested", "1.0.0.0,1.0.0.255,AU\n1.0.0.8,1.0.0.15,NZ\n1.0.0.9,1.0.0.9,FR\n", "1.0.0.0/29 AU, 1.0.0.8 NZ, 1.0.0.9 FR, 1.0.0.10-1.0.0.15 NZ, 1.0.0.16-1.0.0.255 AU"},
		{"crossing", "1.0.0.0,1.0.0.9,AU\n1.0.0.5,1.0.0.20,NZ\n", "1.0.0.0-1.0.0.4 AU, 1.0.0.5-1.0.0.20 NZ"},
		{"equal", "1.0.0.0,1.0.0.9,AU\n1.0.0.0,1.0.0.9,NZ\n", "1.0.0.0-1.0.0.9 NZ"},
		{"a few bad lines", "1.0.0.0,1.0.0.255,AU\nnonsense\n2.0.0.9,2.0.0.1,DE\n1.0.0.0,::1,DE\n5.0.0.0,5.0.0.1,USA\n", "1.0.0.0/24 AU"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := text(t, read(t, tt.in)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	line := "1.0.0.0,1.0.0.255,AU\n3.0.0.0,3.0.0.255,DE\n"
	tests := []struct {
		name, in string
		lim      Limits
		want     error
	}{
		{"empty", "", Limits{}, ErrFormat},
		{"no known country", "1.0.0.0,1.0.0.255,??\n", Limits{}, ErrFormat},
		{"something else", "<html>\n<body>\n", Limits{}, ErrFormat},
		{"many bad lines", line + strings.Repeat("x\n", 11), Limits{}, ErrFormat},
		{"bytes", line, Limits{Bytes: int64(len(line)) - 1}, ErrTooLarge},
		{"records", line, Limits{Records: 1}, ErrTooLarge},
		{"long line", strings.Repeat("x", 1<<20), Limits{}, ErrFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := Read(strings.NewReader(tt.in), CSV, tt.lim); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if _, _, err := Read(strings.NewReader(line), CSV, Limits{Bytes: int64(len(line)), Records: 2}); err != nil {
		t.Errorf("exactly at the limits: %v", err)
	}
}

func TestDetect(t *testing.T) {
	for in, want := range map[string]string{"# tor\n1,2,AU\n": Tor, "1.0.0.0,1.0.0.255,AU\n": CSV, "x\xab\xcd\xefMaxMind.com\xe0": MMDB} {
		if got, err := Detect(strings.NewReader(in), int64(len(in))); err != nil || got != want {
			t.Errorf("%q: got %q %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "hello", "\x00,,,"} {
		if got, err := Detect(strings.NewReader(in), int64(len(in))); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: got %q %v", in, got, err)
		}
	}
}

func TestOverlayLaterWins(t *testing.T) {
	lower := read(t, "1.0.0.0,1.0.0.255,AU\n3.0.0.0,3.0.0.255,DE\n2001:200::,2001:200::ff,JP\n")
	upper := read(t, "1.0.0.16,1.0.0.31,NZ\n1.0.0.32,1.0.0.47,AU\n2.0.0.0,3.0.0.127,FR\n2001:200::ff,2001:200::1ff,KR\n")
	want := "1.0.0.0/28 AU, 1.0.0.16/28 NZ, 1.0.0.32-1.0.0.255 AU, 2.0.0.0-3.0.0.127 FR, 3.0.0.128/25 DE, 2001:200::-2001:200::fe JP, 2001:200::ff-2001:200::1ff KR"
	if got := text(t, Overlay(lower, upper)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCheck(t *testing.T) {
	if err := Check([]string{"DE", "US", "XK", "EU", "AP"}); err != nil {
		t.Error(err)
	}
	for in, want := range map[string]string{
		"UK": "write GB (United Kingdom)", "de": "write DE (Germany)", "germany": "DE (Germany)", "USA": "US (United States)", "korea": "KP (North Korea), KR (South Korea)",
		"XX": "did you mean XK (Kosovo)?", "": "write two letters", "1234567": "such as DE (Germany)", "AB": "AD (Andorra)", strings.Repeat("z", 1000): "such as DE",
	} {
		err := Check([]string{"DE", in})
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
	if err := Check([]string{"QQ", "WW"}); err == nil || !strings.Contains(err.Error(), `"QQ"`) || !strings.Contains(err.Error(), `"WW"`) {
		t.Errorf("got %v, want both mistakes", err)
	}
	all := Countries()
	if !slices.IsSortedFunc(all, func(a, b Country) int { return strings.Compare(a.Code.String(), b.Code.String()) }) || len(all) != 252 {
		t.Errorf("got %d countries, want 252 in order", len(all))
	}
	if got := Name("CI"); got != "Côte d'Ivoire" {
		t.Errorf("got %q", got)
	}
	if Name("ZZ") != "" || Name("") != "" {
		t.Error("a name for nobody")
	}
}

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

func TestSelectAndLookup(t *testing.T) {
	f := openDB(t, put(t, store(t), "1.0.0.0,1.0.0.127,AU\n1.0.0.128,1.0.0.255,NZ\n2.0.0.0,2.0.0.255,DE\n223.0.0.0,223.255.255.255,AU\n2001:200::,2001:200::ff,AU\n"))
	if err := f.Verify(); err != nil {
		t.Error(err)
	}
	selects := []struct {
		codes   string
		unknown bool
		want    string
	}{
		{"AU NZ", false, "1.0.0.0/24 223.0.0.0/8 2001:200::/120"},
		{"DE", false, "2.0.0.0/24"},
		{"FR", false, ""},
		{"", true, "0.0.0.0/8 1.0.1.0-1.255.255.255 2.0.1.0-222.255.255.255 224.0.0.0/3 ::-2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200::100-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"AU NZ DE", true, "0.0.0.0/0 ::/0"},
		{"NZ", true, "0.0.0.0/8 1.0.0.128-1.255.255.255 2.0.1.0-222.255.255.255 224.0.0.0/3 ::-2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200::100-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	}
	for _, tt := range selects {
		got, err := ranges.Collect(ranges.Canonical(f.Select(strings.Fields(tt.codes), tt.unknown)))
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, r := range got {
			words = append(words, r.String())
		}
		if g := strings.Join(words, " "); g != tt.want {
			t.Errorf("%q %v:\ngot  %s\nwant %s", tt.codes, tt.unknown, g, tt.want)
		}
	}
	if _, err := ranges.Collect(f.Select([]string{"QQ"}, false)); err == nil || !strings.Contains(err.Error(), `country "QQ"`) {
		t.Errorf("got %v", err)
	}
	for addr, want := range map[string]string{"1.0.0.0": "AU", "1.0.0.127": "AU", "1.0.0.128": "NZ", "1.0.1.0": "", "0.0.0.0": "", "223.255.255.255": "AU", "255.255.255.255": "",
		"2001:200::ff": "AU", "2001:200::100": "", "::ffff:2.0.0.9": "DE", "fe80::1%eth0": ""} {
		cc, r, ok, err := f.Lookup(netip.MustParseAddr(addr))
		if err != nil || cc != want || ok != (want != "") || ok && !r.Contains(netip.MustParseAddr(addr).Unmap()) {
			t.Errorf("%s: got %q %v %v %v, want %q", addr, cc, r, ok, err, want)
		}
	}
	counts, err := f.Countries()
	if want := (Count{V4: 2, V6: 1, Addresses4: 128 + 1<<24, Nets6: 1}); err != nil || counts[Code{'A', 'U'}] != want || len(counts) != 3 {
		t.Errorf("got %v %v, want AU %+v", counts, err, want)
	}
}

func TestSelectUnknownOfOneFamily(t *testing.T) {
	for in, want := range map[string]int{"1.0.0.0,1.255.255.255,AU\n": 3, "2001:200::,2001:200::ff,AU\n": 3} {
		got, err := ranges.Collect(ranges.Canonical(openDB(t, put(t, store(t), in)).Select(nil, true)))
		if err != nil || len(got) != want {
			t.Errorf("%q: got %v %v, want %d ranges", in, got, err, want)
		}
	}
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

// FuzzOverlap compares sorting and laying over with a table of each address.
func FuzzOverlap(f *testing.F) {
	f.Add([]byte{0, 9, 1, 5, 20, 2}, []byte{3, 3, 3})
	f.Add([]byte{0, 63, 1, 10, 20, 2, 12, 15, 3, 12, 40, 1}, []byte{0, 0, 2, 63, 63, 3})
	f.Add([]byte{64, 127, 1, 60, 70, 2, 60, 70, 3}, []byte{})
	base := [2]netip.Addr{netip.MustParseAddr("223.255.255.192"), netip.MustParseAddr("2001:db8::")}
	addr := func(i int) netip.Addr {
		b := base[i/64].AsSlice()
		b[len(b)-1] += byte(i % 64)
		a, _ := netip.AddrFromSlice(b)
		return a
	}
	codes := []Code{{'D', 'E'}, {'F', 'R'}, {'A', 'U'}}
	// parse gives records and, apart, their meaning: the latest start wins, then the narrower, then the later.
	parse := func(data []byte) (recs []Record, m [128]Code) {
		var best [128][2]int // start+1 and length of what is in m
		for ; len(data) >= 3; data = data[3:] {
			lo := int(data[0]) % 128
			hi := lo/64*64 + max(lo%64, int(data[1])%64)
			c := codes[int(data[2])%3]
			recs = append(recs, Record{ranges.Range{From: addr(lo), To: addr(hi)}, c})
			for i := lo; i <= hi; i++ {
				if b := best[i]; lo+1 > b[0] || lo+1 == b[0] && hi-lo <= b[1] {
					best[i], m[i] = [2]int{lo + 1, hi - lo}, c
				}
			}
		}
		return recs, m
	}
	meaning := func(t *testing.T, s Seq) (m [128]Code) {
		var last Record
		first := true
		for r, err := range s {
			if err == nil {
				err = follows(last, r, first)
			}
			if err != nil {
				t.Fatal(err)
			}
			last, first = r, false
			for i := range m {
				if r.Contains(addr(i)) {
					m[i] = r.Country
				}
			}
		}
		return m
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ra, ma := parse(a)
		rb, mb := parse(b)
		ra, rb = sortRecords(ra), sortRecords(rb)
		if got := meaning(t, Records(ra)); got != ma {
			t.Fatalf("sort: got %v, want %v", got, ma)
		}
		want := ma
		for i, c := range mb {
			if c != (Code{}) {
				want[i] = c
			}
		}
		if got := meaning(t, Overlay(Records(ra), Records(rb))); got != want {
			t.Fatalf("overlay: got %v, want %v", got, want)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("# c\n16777216,16777471,AU\n"))
	f.Add([]byte("\"1.0.0.0\",\"1.0.0.255\",\"AU\"\n2001::,2001::1,DE\n::,::ffff:1.2.3.4,DE"))
	f.Add([]byte("0,4294967295,US\n1,2,DE\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, stats, err := Read(strings.NewReader(string(data)), CSV, Limits{})
		if err != nil {
			return
		}
		if stats.Bad > stats.Lines || stats.Records == 0 {
			t.Errorf("got %+v", stats)
		}
		text(t, s)
	})
}
