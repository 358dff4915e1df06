package geo

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall/ranges"
)

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
