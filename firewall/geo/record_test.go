package geo

import (
	"net/netip"
	"testing"

	"github.com/platformd/platformd/firewall/ranges"
)

func TestOverlayLaterWins(t *testing.T) {
	lower := read(t, "1.0.0.0,1.0.0.255,AU\n3.0.0.0,3.0.0.255,DE\n2001:200::,2001:200::ff,JP\n")
	upper := read(t, "1.0.0.16,1.0.0.31,NZ\n1.0.0.32,1.0.0.47,AU\n2.0.0.0,3.0.0.127,FR\n2001:200::ff,2001:200::1ff,KR\n")
	want := "1.0.0.0/28 AU, 1.0.0.16/28 NZ, 1.0.0.32-1.0.0.255 AU, 2.0.0.0-3.0.0.127 FR, 3.0.0.128/25 DE, 2001:200::-2001:200::fe JP, 2001:200::ff-2001:200::1ff KR"
	if got := text(t, Overlay(lower, upper)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
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
