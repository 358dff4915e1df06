package feeds

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall/ranges"
)

func list(t testing.TB, texts ...string) []ranges.Range {
	t.Helper()
	var out []ranges.Range
	for _, s := range texts {
		r, err := ranges.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

const drop = `{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}
{"cidr":"1.19.0.0/16","sblid":"SBL434604","rir":"apnic"}
{"type":"metadata","timestamp":1750000000,"size":90000,"records":2,"copyright":"(c) The Spamhaus Project SLU","terms":"https://www.spamhaus.org/drop/terms/"}
`

func TestParse(t *testing.T) {
	tests := []struct {
		name, in, format string
		detected         string
		want             []string
		bad              int
	}{
		{name: "netset", in: "# a list\n\n1.2.3.4 # one\n5.6.0.0/16 ; SBL1\n9.0.0.1-9.0.0.9 // r\n2001:db8::/32\r\n", detected: Netset,
			want: []string{"1.2.3.4", "5.6.0.0/16", "9.0.0.1-9.0.0.9", "2001:db8::/32"}},
		{name: "last line without end", in: "1.2.3.4\n1.2.3.5", detected: Netset, want: []string{"1.2.3.4-1.2.3.5"}},
		{name: "byte order mark", in: "\xef\xbb\xbf1.2.3.4\n", detected: Netset, want: []string{"1.2.3.4"}},
		{name: "empty", in: "", detected: Netset},
		{name: "only comments", in: "# nothing today\n", detected: Netset},
		{name: "mapped", in: "::ffff:1.2.3.4\n", detected: Netset, want: []string{"1.2.3.4"}},
		{name: "json", in: drop, detected: JSON, want: []string{"1.10.16.0/20", "1.19.0.0/16"}},
		{name: "hosts", in: "1.2.3.4\tbad.example worse.example # both\n5.6.7.8 spam.example\n", detected: Hosts, want: []string{"1.2.3.4", "5.6.7.8"}},
		{name: "csv", in: "\"first\",\"address\"\n\"2026-01-01\",\"1.2.3.4\",\"a, b\"\n2026-01-02,5.6.7.8,x\n", detected: "csv:2", want: []string{"1.2.3.4", "5.6.7.8"}},
		{name: "csv by semicolon", in: "1.2.3.4;x,y\n5.6.7.8;z\n", format: "csv:1", detected: "csv:1", want: []string{"1.2.3.4", "5.6.7.8"}},
		{name: "a few bad lines", in: "1.2.3.4\nexample.org\n10.0.0.300\n1.2.3.5/24\n", detected: Netset, want: []string{"1.2.3.4"}, bad: 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			format := tt.format
			if tt.bad > 0 {
				format = Netset
			}
			var z bytes.Buffer
			zw := gzip.NewWriter(&z)
			zw.Write([]byte(tt.in))
			zw.Close()
			for _, in := range []string{tt.in, z.String()} {
				got, err := Parse(strings.NewReader(in), format, Limits{})
				if err != nil {
					t.Fatal(err)
				}
				if want := list(t, tt.want...); !slices.Equal(got.Ranges, want) || got.Bad != tt.bad || got.Format != tt.detected {
					t.Errorf("got %v, %d bad, format %s; want %v, %d, %s", got.Ranges, got.Bad, got.Format, want, tt.bad, tt.detected)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	many := strings.Repeat("1.2.3.4\n", 100) + strings.Repeat("nonsense\n", 6)
	tests := []struct {
		name, in, format string
		lim              Limits
		want             string
		is               error
	}{
		{"web page", "<!DOCTYPE html><html>", "", Limits{}, "web page", nil},
		{"nothing known", "hello\nworld\n", "", Limits{}, `the first line is "hello"`, ErrFormat},
		{"unknown format", "", "xml", Limits{}, "write netset, json, hosts, csv:N", nil},
		{"column 0", "", "csv:0", Limits{}, "csv:N", nil},
		{"mostly bad", "1.2.3.4\n" + strings.Repeat("x\n", 9), Netset, Limits{}, "9 of 10 lines are bad, first line 2", ErrFormat},
		{"one in twenty", many, Netset, Limits{}, "6 of 106 lines are bad, first line 101", ErrFormat},
		{"all bad", "x\n", Netset, Limits{}, "1 of 1 lines are bad", ErrFormat},
		{"not all there", strings.Replace(drop, `"records":2`, `"records":900`, 1), "", Limits{}, "900 records, there are 2", ErrFormat},
		{"too many bytes", strings.Repeat("1.2.3.4\n", 100), Netset, Limits{Bytes: 799}, "more than 799 bytes", ErrTooLarge},
		{"too many lines", strings.Repeat("1.2.3.4\n", 100), Netset, Limits{Lines: 99}, "more than 99 lines", ErrTooLarge},
		{"too many ranges", strings.Repeat("1.2.3.4\n", 100), Netset, Limits{Ranges: 99}, "more than 99 ranges", ErrTooLarge},
		{"long line", "#" + strings.Repeat("x", 200_000), Netset, Limits{LineBytes: 64}, "longer than 64 bytes", ErrFormat},
		{"broken gzip", "\x1f\x8b\x08\x00", "", Limits{}, "gzip", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(tt.in), tt.format, tt.lim)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Parse(strings.NewReader(strings.Repeat("1.2.3.4\n", 100)), Netset, Limits{Bytes: 800, Lines: 100, Ranges: 100}); err != nil {
		t.Errorf("exactly at the limits: %v", err)
	}
}

func TestBadLinesAreShownSafely(t *testing.T) {
	res, err := Parse(strings.NewReader("1.2.3.4\n\x1b[31m evil\x00\n"+strings.Repeat("y", 4000)+"\n"), Netset, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.BadLines) != 2 || res.BadLines[0].Line != 2 || res.BadLines[1].Line != 3 {
		t.Fatalf("got %+v", res.BadLines)
	}
	for _, b := range res.BadLines {
		if len(b.Cause) > 170 || strings.ContainsAny(b.Cause, "\x1b\x00\n") {
			t.Errorf("got cause %q", b.Cause)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("1.2.3.4 # x\n2001:db8::/32\n"), "")
	f.Add([]byte(drop), "")
	f.Add([]byte("a;1.2.3.4\n\"b\";5.6.7.8"), "csv:2")
	f.Add([]byte("1.2.3.4 host\n"), Hosts)
	f.Add([]byte("::ffff:0:0/96\n::/0\n0.0.0.0-255.255.255.255\n"), Netset)
	f.Fuzz(func(t *testing.T, data []byte, format string) {
		res, err := Parse(bytes.NewReader(data), format, Limits{Bytes: 1 << 16})
		if err != nil {
			return
		}
		if res.Format == "" || res.Bad > res.Lines || len(res.BadLines) > badShown {
			t.Errorf("got %+v", res)
		}
		if _, err := ranges.Collect(ranges.Canonical(ranges.FromSlice(res.Ranges))); err != nil {
			t.Error(err)
		}
		again, err := ranges.Collect(Vet(ranges.FromSlice(res.Ranges), VetConfig{}).Seq())
		if err != nil {
			t.Error(err)
		}
		for _, r := range again {
			for _, bad := range ranges.Reserved() {
				if r.Overlaps(bad) {
					t.Errorf("%v overlaps reserved %v", r, bad)
				}
			}
		}
	})
}

func BenchmarkParse500k(b *testing.B) {
	var buf bytes.Buffer
	for i := range 500_000 {
		fmt.Fprintf(&buf, "%d.%d.%d.%d\n", 1+i>>15, i>>7&255, i<<1&255, 1)
	}
	b.SetBytes(int64(buf.Len()))
	for b.Loop() {
		if _, err := Parse(bytes.NewReader(buf.Bytes()), "", Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
