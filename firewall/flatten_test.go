package firewall

import (
	"net/netip"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

func parse(t testing.TB, s string) ranges.Range {
	t.Helper()
	r, err := ranges.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFlatten(t *testing.T) {
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	at := func(s string, until time.Time) Timed { return Timed{parse(t, s), until} }
	tests := map[string]struct{ in, want []Timed }{
		"nothing":                       {nil, nil},
		"a permanent range over one":    {[]Timed{at("1.2.3.4", early), at("1.2.3.0/24", time.Time{})}, []Timed{at("1.2.3.0/24", time.Time{})}},
		"one outlives the range":        {[]Timed{at("1.2.3.0/24", early), at("1.2.3.4", late)}, []Timed{at("1.2.3.0-1.2.3.3", early), at("1.2.3.4", late), at("1.2.3.5-1.2.3.255", early)}},
		"adjacent with the same end":    {[]Timed{at("1.2.3.0/25", early), at("1.2.3.128/25", early)}, []Timed{at("1.2.3.0/24", early)}},
		"the end of the address space":  {[]Timed{at("255.255.255.0/24", early), at("255.255.255.255", time.Time{})}, []Timed{at("255.255.255.0-255.255.255.254", early), at("255.255.255.255", time.Time{})}},
		"everything":                    {[]Timed{at("::/0", time.Time{}), at("0.0.0.0/0", early)}, []Timed{at("0.0.0.0/0", early), at("::/0", time.Time{})}},
		"both families, IPv4 first":     {[]Timed{at("2001:db8::/32", early), at("1.2.3.4", early)}, []Timed{at("1.2.3.4", early), at("2001:db8::/32", early)}},
		"duplicates with different end": {[]Timed{at("1.2.3.4", early), at("1.2.3.4", late)}, []Timed{at("1.2.3.4", late)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Flatten(tt.in)
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i].Range != tt.want[i].Range || !got[i].Until.Equal(tt.want[i].Until) {
					t.Errorf("%d: got %v, want %v", i, got[i], tt.want[i])
				}
			}
		})
	}
}

// FuzzFlatten compares with asking every entry about every address of a small space.
func FuzzFlatten(f *testing.F) {
	f.Add([]byte{0, 10, 1, 5, 7, 2, 3, 3, 0})
	f.Add([]byte{0, 255, 1, 0, 255, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var in []Timed
		for i := 0; i+2 < len(data) && len(in) < 12; i += 3 {
			lo, hi := min(data[i], data[i+1]), max(data[i], data[i+1])
			x := Timed{Range: ranges.Range{From: netip.AddrFrom4([4]byte{255, 255, 255, lo}), To: netip.AddrFrom4([4]byte{255, 255, 255, hi})}}
			if n := data[i+2] % 4; n > 0 {
				x.Until = time.Unix(int64(n), 0)
			}
			in = append(in, x)
		}
		out := Flatten(in)
		for i := 1; i < len(out); i++ {
			if out[i].Range.From.Compare(out[i-1].Range.To) <= 0 {
				t.Fatalf("%v and %v overlap or are out of order", out[i-1], out[i])
			}
		}
		for b := range 256 {
			a := netip.AddrFrom4([4]byte{255, 255, 255, byte(b)})
			want, covered := latest(in, a)
			got, ok := holding(out, a)
			if ok != covered || (ok && !got.Until.Equal(want)) {
				t.Fatalf("%v: got %v %v, want %v %v", a, got, ok, want, covered)
			}
		}
	})
}

func latest(in []Timed, a netip.Addr) (until time.Time, covered bool) {
	for _, x := range in {
		if !x.Range.Contains(a) {
			continue
		}
		switch {
		case !covered:
			until = x.Until
		case until.IsZero() || x.Until.IsZero():
			until = time.Time{}
		case x.Until.After(until):
			until = x.Until
		}
		covered = true
	}
	return until, covered
}
