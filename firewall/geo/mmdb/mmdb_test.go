package mmdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall/geo"
)

// value encodes strings, maps (as pairs) and unsigned numbers in the format's data section.
func value(v any) []byte {
	switch v := v.(type) {
	case string:
		return append([]byte{2<<5 | byte(len(v))}, v...)
	case int:
		return binary.BigEndian.AppendUint32([]byte{6<<5 | 4}, uint32(v))
	case uint16:
		return binary.BigEndian.AppendUint16([]byte{5<<5 | 2}, v)
	case []any:
		out := []byte{7<<5 | byte(len(v)/2)}
		for _, x := range v {
			out = append(out, value(x)...)
		}
		return out
	}
	panic("no such type")
}

// build makes a database of IPv6 with the IPv4 tree at ::/96, as the real ones are.
func build(t testing.TB, records map[string]any) []byte {
	t.Helper()
	const none = -1
	nodes := [][2]int{{none, none}}
	var data []byte
	leaf := map[[2]int]int{} // node and side -> offset in data
	for cidr, v := range records {
		p := netip.MustParsePrefix(cidr)
		b, bits := p.Addr().As16(), p.Bits()
		if p.Addr().Is4() {
			b = [16]byte{12: b[12], 13: b[13], 14: b[14], 15: b[15]}
			bits += 96
		}
		at := 0
		for i := range bits {
			side := int(b[i/8] >> (7 - i%8) & 1)
			if i == bits-1 {
				leaf[[2]int{at, side}] = len(data)
				break
			}
			if nodes[at][side] == none {
				nodes = append(nodes, [2]int{none, none})
				nodes[at][side] = len(nodes) - 1
			}
			at = nodes[at][side]
		}
		data = append(data, value(v)...)
	}
	var out []byte
	for i, n := range nodes {
		for side := range 2 {
			x := n[side]
			if off, ok := leaf[[2]int{i, side}]; ok {
				x = len(nodes) + 16 + off
			} else if x == none {
				x = len(nodes)
			}
			out = binary.BigEndian.AppendUint32(out, uint32(x))
		}
	}
	out = append(out, make([]byte, 16)...)
	out = append(out, data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	return append(out, value([]any{"node_count", len(nodes), "record_size", uint16(32), "ip_version", uint16(6), "database_type", "Test-Country",
		"binary_format_major_version", uint16(2), "binary_format_minor_version", uint16(0), "build_epoch", 1750000000})...)
}

func sample(t testing.TB) []byte {
	return build(t, map[string]any{
		"8.0.0.0/9":        []any{"country", []any{"iso_code", "US"}},
		"8.128.0.0/9":      []any{"registered_country", []any{"iso_code", "US"}},
		"9.0.0.0/8":        []any{"country_code", "DE"},
		"10.0.0.0/8":       []any{"country", "FR"}, // not public
		"11.0.0.0/8":       []any{"continent", "EU"},
		"2001:db8::/32":    []any{"country", "FR"},
		"2001:db9::/32":    []any{"country", []any{"iso_code", "ZZ"}},
		"2a00:1450::/32":   []any{"country", []any{"iso_code", "IE"}, "registered_country", []any{"iso_code", "US"}},
		"203.0.113.128/25": []any{"country_code", "UK"},
	})
}

func TestRead(t *testing.T) {
	s, stats, err := Read(bytes.NewReader(sample(t)), geo.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r, err := range s {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Range.String()+" "+r.Country.String())
	}
	want := "8.0.0.0/8 US, 9.0.0.0/8 DE, 203.0.113.128/25 GB, 2001:db8::/32 FR, 2a00:1450::/32 IE"
	if g := strings.Join(got, ", "); g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
	if stats.Lines != 9 || stats.Unknown != 2 || stats.Format != geo.MMDB {
		t.Errorf("got %+v", stats)
	}
	if format, err := geo.Detect(bytes.NewReader(sample(t)), int64(len(sample(t)))); err != nil || format != geo.MMDB {
		t.Errorf("Detect: got %q %v", format, err)
	}
}

func TestReadRefuses(t *testing.T) {
	good := sample(t)
	for name, data := range map[string][]byte{"empty": nil, "cut": good[:len(good)/2], "text": []byte("1.0.0.0,1.0.0.255,AU\n")} {
		if _, _, err := Read(bytes.NewReader(data), geo.Limits{}); !errors.Is(err, geo.ErrFormat) {
			t.Errorf("%s: got %v, want %v", name, err, geo.ErrFormat)
		}
	}
	if _, _, err := Read(bytes.NewReader(good), geo.Limits{Bytes: 100}); !errors.Is(err, geo.ErrTooLarge) {
		t.Errorf("large: got %v", err)
	}
	if _, _, err := Read(bytes.NewReader(good), geo.Limits{Records: 3}); !errors.Is(err, geo.ErrTooLarge) {
		t.Errorf("many records: got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	good := sample(f)
	f.Add(good)
	f.Add(good[:100])
	f.Add(build(f, map[string]any{"8.0.0.0/8": []any{"country", "US"}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		s, _, err := Read(bytes.NewReader(data), geo.Limits{Records: 1000})
		if err != nil {
			return
		}
		for _, err := range s {
			if err != nil {
				t.Error(err)
			}
		}
	})
}
