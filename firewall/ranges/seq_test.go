package ranges

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

func list(t testing.TB, texts ...string) []Range {
	t.Helper()
	var out []Range
	for _, s := range texts {
		r, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestNormalize(t *testing.T) {
	tests := []struct {
		name     string
		in, want []string
	}{
		{"empty", nil, nil},
		{"adjacent", []string{"10.0.0.128/25", "10.0.0.0/25"}, []string{"10.0.0.0/24"}},
		{"contained", []string{"1.2.3.0/24", "1.2.3.4", "1.2.3.0/25"}, []string{"1.2.3.0/24"}},
		{"families stay apart", []string{"::/128", "255.255.255.255"}, []string{"255.255.255.255", "::"}},
		{"both ends of the space", []string{"255.255.255.254/31", "0.0.0.0", "255.255.255.255"}, []string{"0.0.0.0", "255.255.255.254/31"}},
		{"all", []string{"0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"}, []string{"0.0.0.0/0", "::/0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := list(t, tt.in...)
			kept := slices.Clone(in)
			if got, want := Normalize(in), list(t, tt.want...); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if !slices.Equal(in, kept) {
				t.Errorf("argument changed to %v", in)
			}
		})
	}
}

func TestSubtract(t *testing.T) {
	tests := []struct {
		name             string
		in, remove, want []string
	}{
		{"nothing", []string{"10.0.0.0/8"}, nil, []string{"10.0.0.0/8"}},
		{"hole", []string{"1.2.3.0/24"}, []string{"1.2.3.4"}, []string{"1.2.3.0-1.2.3.3", "1.2.3.5-1.2.3.255"}},
		{"everything", []string{"1.2.3.0/24", "2001:db8::/32"}, []string{"0.0.0.0/0", "::/0"}, nil},
		{"one cut over two", []string{"10.0.0.0-10.0.0.9", "10.0.0.20-10.0.0.29"}, []string{"10.0.0.5-10.0.0.24"}, []string{"10.0.0.0-10.0.0.4", "10.0.0.25-10.0.0.29"}},
		{"ends of the space", []string{"0.0.0.0/0", "::/0"}, []string{"0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
			[]string{"0.0.0.1-255.255.255.254", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Collect(Canonical(Subtract(FromSlice(list(t, tt.in...)), list(t, tt.remove...))))
			if want := list(t, tt.want...); err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v %v, want %v", got, err, want)
			}
		})
	}
}

func TestErrorsEndASequence(t *testing.T) {
	bad := errors.New("disk")
	broken := func(yield func(Range, error) bool) {
		if yield(Single(netip.MustParseAddr("10.0.0.1")), nil) {
			yield(Range{}, bad)
		}
	}
	other := FromSlice(list(t, "10.0.0.5", "10.0.0.9"))
	for name, s := range map[string]Seq{
		"merge": Merge(other, broken), "merge one": Merge(broken), "subtract": Subtract(broken, list(t, "1.1.1.1")),
		"coalesce": Coalesce(broken), "canonical": Canonical(broken), "fail": Fail(bad),
	} {
		if _, err := Collect(s); !errors.Is(err, bad) {
			t.Errorf("%s: got error %v, want %v", name, err, bad)
		}
	}
	mapped := Single(netip.MustParseAddr("::ffff:1.2.3.4"))
	for name, s := range map[string]Seq{
		"unsorted":      Merge(fromSorted(list(t, "10.0.0.9", "10.0.0.1")), other),
		"adjacent":      Canonical(fromSorted(list(t, "10.0.0.0", "10.0.0.1"))),
		"reversed ends": FromSlice([]Range{{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1")}}),
		"two families":  Coalesce(fromSorted([]Range{{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("::1")}})),
		"mapped":        FromSlice([]Range{mapped}),
		"zero":          FromSlice([]Range{{}}),
	} {
		if _, err := Collect(s); !errors.Is(err, ErrOrder) {
			t.Errorf("%s: got error %v, want %v", name, err, ErrOrder)
		}
	}
}

func TestMergeStopsItsInputs(t *testing.T) {
	ended := 0
	endless := func(from string) Seq {
		return func(yield func(Range, error) bool) {
			defer func() { ended++ }()
			for a := netip.MustParseAddr(from); yield(Single(a), nil); a = a.Next().Next() {
				continue
			}
		}
	}
	for range Merge(endless("10.0.0.0"), endless("11.0.0.0")) {
		break
	}
	if ended != 2 {
		t.Errorf("got %d inputs stopped, want 2", ended)
	}
}

func TestSpecialsAreInOrder(t *testing.T) {
	var last Range
	for i, s := range Specials() {
		if err := s.check(); err != nil || s.Name == "" || i > 0 && s.From.Compare(last.To) <= 0 {
			t.Errorf("%v %q after %v: %v", s.Range, s.Name, last, err)
		}
		last = s.Range
	}
	public, err := Collect(Subtract(FromSlice(list(t, "::/0")), Reserved()))
	if want := list(t, "2000::/3"); err != nil || !slices.Equal(public, want) {
		t.Errorf("got public %v %v, want %v", public, err, want)
	}
}

// model is the naive truth: one bit for each of 64 addresses at either end of either family.
type model [4 * 64]bool

var modelBase = [4]netip.Addr{
	netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.192"),
	netip.MustParseAddr("::"), netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffc0"),
}

func modelAddr(i int) netip.Addr {
	a := modelBase[i/64]
	b := a.AsSlice()
	b[len(b)-1] += byte(i % 64)
	a, _ = netip.AddrFromSlice(b)
	return a
}

// modelRanges reads two bytes a range; it never spans two of the four areas.
func modelRanges(data []byte) (out []Range, m model) {
	for ; len(data) >= 2; data = data[2:] {
		lo := int(data[0])
		hi := lo/64*64 + max(lo%64, int(data[1])%64)
		for i := lo; i <= hi; i++ {
			m[i] = true
		}
		out = append(out, Range{modelAddr(lo), modelAddr(hi)})
	}
	return out, m
}

func modelOf(rs []Range) (m model) {
	for i := range m {
		m[i] = slices.ContainsFunc(rs, func(r Range) bool { return r.Contains(modelAddr(i)) })
	}
	return m
}

func FuzzAgainstModel(f *testing.F) {
	f.Add([]byte{1, 5, 70, 90}, []byte{3, 9}, []byte{4, 4, 200, 220})
	f.Add([]byte{0, 63, 64, 127, 128, 191, 192, 255}, []byte{}, []byte{0, 0, 127, 127, 128, 128, 255, 255})
	f.Add([]byte{10, 10, 11, 11, 12, 12}, []byte{13, 20, 9, 9}, []byte{11, 12})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		ra, ma := modelRanges(a)
		rb, mb := modelRanges(b)
		rc, mc := modelRanges(c)
		var union, rest model
		for i := range union {
			union[i] = ma[i] || mb[i]
			rest[i] = union[i] && !mc[i]
		}
		got, err := Collect(Canonical(Merge(FromSlice(ra), FromSlice(rb))))
		if err != nil || modelOf(got) != union {
			t.Fatalf("merge %v with %v: got %v %v", ra, rb, got, err)
		}
		if want := Normalize(append(slices.Clone(ra), rb...)); !slices.Equal(got, want) {
			t.Fatalf("merge %v with %v: got %v, want %v", ra, rb, got, want)
		}
		got, err = Collect(Canonical(Subtract(Merge(FromSlice(ra), FromSlice(rb)), rc)))
		if err != nil || modelOf(got) != rest {
			t.Fatalf("subtract %v from %v and %v: got %v %v", rc, ra, rb, got, err)
		}
	})
}
