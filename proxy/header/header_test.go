package header

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestElements(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want []string
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{" , ,a"}, []string{"a"}},
		{[]string{"a, b", "c"}, []string{"a", "b", "c"}},
		{[]string{`"a,b", c`}, []string{`"a,b"`, "c"}},
		{[]string{`x="a\",b",c`}, []string{`x="a\",b"`, "c"}},
		{[]string{`"open, b`, "c"}, []string{`"open, b`, "c"}},
	} {
		if got := slices.Collect(Elements(tt.in)); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestEncoding(t *testing.T) {
	offers := []string{Zstd, Brotli, Gzip}
	for _, tt := range []struct {
		name   string
		accept []string
		want   string
		must   bool
	}{
		{"nothing said", nil, "", false},
		{"empty", []string{""}, "", false},
		{"browser", []string{"gzip, deflate, br, zstd"}, Zstd, false},
		{"one", []string{"gzip"}, Gzip, false},
		{"two lines", []string{"gzip", "br"}, Brotli, false},
		{"weights", []string{"br;q=0.5, gzip;q=0.9"}, Gzip, false},
		{"weights win over our order", []string{"zstd;q=0.1, gzip"}, Gzip, false},
		{"refused", []string{"gzip;q=0"}, "", false},
		{"star", []string{"*"}, Zstd, false},
		{"star without zstd", []string{"*, zstd;q=0"}, Brotli, false},
		{"star refused", []string{"gzip, *;q=0"}, Gzip, true},
		{"identity refused", []string{"identity;q=0, gzip;q=0.1"}, Gzip, true},
		{"everything refused", []string{"*;q=0"}, "", false},
		{"identity refused, nothing else", []string{"identity;q=0"}, "", false},
		{"identity preferred", []string{"identity, gzip;q=0.5"}, "", false},
		{"identity as good", []string{"identity, gzip"}, Gzip, false},
		{"old name", []string{"x-gzip"}, Gzip, false},
		{"case", []string{"GZip;Q=0.7"}, Gzip, false},
		{"bad weight", []string{"gzip;q=2, br;q=0.001"}, Brotli, false},
		{"bad weight 2", []string{"gzip;q=0.0001"}, "", false},
		{"bad weight 3", []string{"gzip;q=, br;q=-1, zstd;q=1.001"}, "", false},
		{"other parameters", []string{"gzip;level=9;q=0"}, "", false},
		{"unknown", []string{"compress, deflate, aes128gcm"}, "", false},
	} {
		got, must := Encoding(tt.accept, offers)
		if got != tt.want || must != tt.must {
			t.Errorf("%s: %q: got %q, %v, want %q, %v", tt.name, tt.accept, got, must, tt.want, tt.must)
		}
	}
}

func TestVary(t *testing.T) {
	for _, tt := range []struct{ have, want []string }{
		{nil, []string{"Accept-Encoding"}},
		{[]string{"Cookie"}, []string{"Cookie", "Accept-Encoding"}},
		{[]string{"cookie, accept-encoding"}, []string{"cookie, accept-encoding"}},
		{[]string{"*"}, []string{"*"}},
	} {
		h := http.Header{"Vary": tt.have}
		AddVary(h, "Accept-Encoding")
		if got := h["Vary"]; !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.have, got, tt.want)
		}
	}
}

func TestTags(t *testing.T) {
	for _, tt := range []struct {
		in   string
		tag  string
		want bool
	}{
		{`"a"`, `"a"`, true},
		{`W/"a"`, `"a"`, true},
		{`"a"`, `W/"a"`, true},
		{`"b", W/"a"`, `W/"a"`, true},
		{`"a,b"`, `"a,b"`, true},
		{`"a,b"`, `"a"`, false},
		{`*`, ``, true},
		{`""`, ``, false},
		{`w/"a"`, `"a"`, false},
	} {
		if got := MatchesTag([]string{tt.in}, tt.tag); got != tt.want {
			t.Errorf("%s names %s: got %v", tt.in, tt.tag, got)
		}
	}
	h := http.Header{"Etag": {`"x"`}}
	Weaken(h)
	Weaken(h)
	if got := h.Get("Etag"); got != `W/"x"` {
		t.Errorf("weakened twice: %s", got)
	}
}

func TestDirectives(t *testing.T) {
	var got []string
	for name, a := range Directives([]string{`Max-Age=5, no-cache="Set-Cookie, X", private`, `a="q\"z", bad = 3, =`}) {
		got = append(got, name+"|"+a.Text)
	}
	if want := []string{"max-age|5", "no-cache|Set-Cookie, X", "private|", `a|q"z`, "bad | 3", "|"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBoundRanges(t *testing.T) {
	few := &http.Request{Header: http.Header{"Range": {"bytes=0-1" + strings.Repeat(",0-1", MaxRanges-1)}}}
	many := &http.Request{Header: http.Header{"Range": {"bytes=0-1" + strings.Repeat(",0-1", MaxRanges)}}}
	if got := BoundRanges(few); got != few {
		t.Error("a few ranges were not left alone")
	}
	if got := BoundRanges(many); got.Header.Get("Range") != "" || many.Header.Get("Range") == "" {
		t.Error("too many ranges: want a copy without them")
	}
}

func FuzzEncoding(f *testing.F) {
	for _, s := range []string{"gzip, br;q=0.5", "*;q=0", "identity;q=0,zstd", `"gzip", x;"`, "gzip;q=1.0000"} {
		f.Add(s)
	}
	offers := []string{Zstd, Brotli, Gzip}
	f.Fuzz(func(t *testing.T, in string) {
		got, must := Encoding([]string{in}, offers)
		if got == "" {
			if must {
				t.Fatalf("%q: a coding is a must, and there is none", in)
			}
			return
		}
		// What was chosen was said: by its name or by a star.
		lower := strings.ToLower(in)
		if !slices.Contains(offers, got) || !strings.Contains(lower, got) && !strings.Contains(lower, "*") {
			t.Fatalf("%q: chose %q", in, got)
		}
	})
}

func FuzzElements(f *testing.F) {
	for _, s := range []string{`a, "b,c", W/"d"`, `no-cache="x, y", max-age=1`, `"\`, ",,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		total := 0
		for e := range Elements([]string{in}) {
			if e == "" || strings.Trim(e, " \t") != e || !strings.Contains(in, e) {
				t.Fatalf("%q: element %q", in, e)
			}
			total += len(e)
		}
		if total > len(in) {
			t.Fatalf("%q: %d bytes of elements", in, total)
		}
		for name := range Directives([]string{in}) {
			if name != strings.ToLower(name) {
				t.Fatalf("%q: directive %q", in, name)
			}
		}
	})
}
