package feeds

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall/ranges"
)

func TestVetDrops(t *testing.T) {
	own, allow := list(t, "198.51.100.7", "2001:db8::7"), list(t, "203.0.113.0/24", "10.0.0.0/8")
	tests := []struct {
		name    string
		in      []string
		want    []string
		dropped map[string]int
	}{
		{"nothing", []string{"8.8.8.8", "2001:db8:1::/48"}, []string{"8.8.8.8", "2001:db8:1::/48"}, nil},
		{"private", []string{"10.0.0.0/8", "172.16.5.0/24", "192.168.0.0/16", "fd00::/8", "8.8.8.8"}, []string{"8.8.8.8"}, map[string]int{"private": 4}},
		{"the rest of the special ones", []string{"0.0.0.0", "100.64.0.1", "127.0.0.1", "169.254.169.254", "192.0.0.1", "224.0.0.0/3", "::1", "fe80::1", "ff02::1", "64:ff9b::/96", "9000::/16"}, nil,
			map[string]int{"reserved": 5, "carrier-grade NAT": 1, "loopback": 2, "link-local": 2, "multicast": 2}},
		{"part of a range", []string{"9.255.255.0-10.0.0.9"}, []string{"9.255.255.0/24"}, map[string]int{"private": 1}},
		{"own", []string{"198.51.100.0/24", "2001:db8::7"}, []string{"198.51.100.0-198.51.100.6", "198.51.100.8-198.51.100.255"}, map[string]int{DropOwn: 2}},
		{"allowed", []string{"203.0.112.0/23"}, []string{"203.0.112.0/24"}, map[string]int{DropAllowed: 1}},
		{"the world", []string{"0.0.0.0/0", "::/0"}, nil, map[string]int{DropWide: 2}},
		{"a range that a private one splits", []string{"9.0.0.0-11.0.0.5"}, nil, map[string]int{DropWide: 1}},
		{"widest", []string{"11.0.0.0/8", "13.0.0.0-14.0.0.0", "2400::/20", "2600::/19"}, []string{"11.0.0.0/8", "2400::/20"}, map[string]int{DropWide: 2}},
		{"up to the end", []string{"255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, nil, map[string]int{"reserved": 1, "multicast": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Vet(ranges.FromSlice(list(t, tt.in...)), VetConfig{Own: own, Allow: allow})
			got, err := ranges.Collect(ranges.Canonical(v.Seq()))
			if want := list(t, tt.want...); err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v %v, want %v", got, err, want)
			}
			r, _ := v.Verdict()
			if !maps.Equal(r.Dropped, tt.dropped) {
				t.Errorf("got dropped %v, want %v", r.Dropped, tt.dropped)
			}
			if len(tt.dropped) > 0 && len(r.Examples) == 0 {
				t.Error("no example of what was dropped")
			}
		})
	}
}

func TestVetKeepsProtectedInACopy(t *testing.T) {
	in := list(t, "198.51.100.0/24", "192.168.1.1")
	v := Vet(ranges.FromSlice(in), VetConfig{Own: list(t, "198.51.100.7"), KeepProtected: true})
	got, err := ranges.Collect(v.Seq())
	if want := list(t, "198.51.100.0/24"); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
	if r, _ := v.Verdict(); r.Dropped[DropOwn] != 1 || r.Dropped["private"] != 1 {
		t.Errorf("got dropped %v", r.Dropped)
	}
}

func TestVerdict(t *testing.T) {
	// A feed that covers x.0.0.0 to x.255.255.254 for many x gets around the limit for one range.
	var holes []string
	for x := 11; x < 100; x++ {

		n := strconv.Itoa(x)
		holes = append(holes, n+".0.0.0-"+n+".255.255.254")
	}
	tests := []struct {
		name string
		in   []string
		cfg  VetConfig
		want string
	}{
		{"fine", []string{"8.8.8.8"}, VetConfig{}, ""},
		{"empty", nil, VetConfig{}, "0 plausible ranges of 0 read, at least 1"},
		{"only private", []string{"10.0.0.0/8"}, VetConfig{}, "0 plausible ranges of 1 read"},
		{"all of it allowed", []string{"8.8.8.8"}, VetConfig{Allow: list(t, "8.0.0.0/8")}, ""},
		{"minimum", []string{"8.8.8.8", "9.9.9.9"}, VetConfig{Min: 3}, "at least 3"},
		{"maximum", []string{"8.8.8.8", "9.9.9.9"}, VetConfig{Max: 1}, "at most 1"},
		{"an eighth of the world", holes, VetConfig{}, "more than an eighth"},
		{"shrunk by 90 %", []string{"8.8.8.8"}, VetConfig{Last: &Report{Plausible: 10, V4: 10}}, ""},
		{"shrunk by more", []string{"8.8.8.8"}, VetConfig{Last: &Report{Plausible: 11, V4: 11}}, "shrank from 11 ranges to 1"},
		{"grown", []string{"11.0.0.0/8", "13.0.0.0/8"}, VetConfig{Last: &Report{Plausible: 2, V4: 2}}, "more than tenfold"},
		{"shrunk, but confirmed", []string{"8.8.8.8"}, VetConfig{Last: &Report{Plausible: 11, V4: 11}, Force: true}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Vet(ranges.FromSlice(list(t, tt.in...)), tt.cfg)
			if _, err := ranges.Collect(v.Seq()); err != nil {
				t.Fatal(err)
			}
			_, err := v.Verdict()
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrImplausible) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
