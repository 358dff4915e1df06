package geo

import (
	"errors"
	"strings"
	"testing"
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
