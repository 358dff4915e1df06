package cache

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/proxy/field"
)

func TestParseControl(t *testing.T) {
	sec := func(n int64) seconds { return seconds{true, n} }
	for _, tt := range []struct {
		in   []string
		want control
	}{
		{nil, control{}},
		{[]string{"max-age=60"}, control{maxAge: sec(60)}},
		{[]string{"MAX-AGE=60, Public"}, control{maxAge: sec(60), public: true}},
		{[]string{"max-age=60", "s-maxage=5"}, control{maxAge: sec(60), sMaxAge: sec(5)}},
		{[]string{"max-age=99999999999999999999"}, control{maxAge: sec(maxSeconds)}},
		{[]string{"max-age"}, control{maxAge: sec(0)}},
		{[]string{"max-age="}, control{maxAge: sec(0)}},
		{[]string{"max-age=-1"}, control{maxAge: sec(0)}},
		{[]string{"max-age=1.5"}, control{maxAge: sec(0)}},
		{[]string{"max-age='60'"}, control{maxAge: sec(0)}},
		{[]string{`max-age="60"`}, control{maxAge: sec(60)}},
		{[]string{"max-age = 60"}, control{}},
		{[]string{"max-age=60, max-age=5"}, control{maxAge: sec(5)}},
		{[]string{"no-cache"}, control{noCache: true}},
		{[]string{`no-cache="a, B"`}, control{noCacheFields: []string{"A", "B"}}},
		{[]string{"no-cache=a"}, control{noCacheFields: []string{"A"}}},
		{[]string{`no-cache=""`}, control{noCache: true}},
		{[]string{`private="set-cookie", private`}, control{private: true, privateFields: []string{"Set-Cookie"}}},
		{[]string{`x="no-store, private"`}, control{}},
		{[]string{"max-stale"}, control{maxStale: sec(maxSeconds)}},
		{[]string{"max-stale=5, min-fresh=6, only-if-cached"}, control{maxStale: sec(5), minFresh: sec(6), onlyIfCached: true}},
		{[]string{"stale-while-revalidate=1, stale-if-error=2, must-understand, must-revalidate, proxy-revalidate, no-store"},
			control{staleWhileRevalidate: sec(1), staleIfError: sec(2), mustUnderstand: true, mustRevalidate: true, proxyRevalidate: true, noStore: true}},
	} {
		if got := parseControl(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

// FuzzControl: reading is the same twice, nothing is negative, and adding a directive never makes a response fresher.
func FuzzControl(f *testing.F) {
	for _, s := range []string{"max-age=60", `no-cache="a", private`, "s-maxage=1,max-age=2", `x="y`, "max-age=99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		c := parseControl([]string{in})
		for _, s := range []seconds{c.maxAge, c.sMaxAge, c.minFresh, c.maxStale, c.staleIfError, c.staleWhileRevalidate} {
			if s.n < 0 || s.n > maxSeconds || !s.given && s.n != 0 {
				t.Fatalf("%q: %+v", in, s)
			}
		}
		if stricter := parseControl([]string{in, "no-store, max-age=0"}); !stricter.noStore || stricter.maxAge.n != 0 {
			t.Fatalf("%q: a second line does not count", in)
		}
	})
}

// FuzzVary: a request always matches what was stored for it, and a field that Vary names is always looked at.
func FuzzVary(f *testing.F) {
	f.Add("Accept-Language", "de, en", "x")
	f.Add("a, b , a", "", "y")
	f.Add("*", "1", "2")
	f.Fuzz(func(t *testing.T, vary, one, two string) {
		request := http.Header{"A": {one}, "Accept-Language": {one, two}}
		selected, ok := varyOf(http.Header{"Vary": {vary}}, request)
		if !ok {
			return
		}
		m := meta{Vary: selected}
		if !m.matches(request) {
			t.Fatalf("%q: does not match itself", vary)
		}
		if strings.EqualFold(strings.Trim(vary, " \t,"), "a") && m.matches(http.Header{}) {
			t.Fatalf("%q: matches a request without the field", vary)
		}
		tagsOf(http.Header{"Surrogate-Key": {one}, "Cache-Tag": {two}})
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b", "axb")
	f.Add("***", "")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > maxGlob || len(s) > maxKey {
			return
		}
		if !strings.Contains(pattern, "*") && glob(pattern, s) != (pattern == s) {
			t.Fatalf("%q, %q", pattern, s)
		}
		if !glob(s+"*", s) || !glob("*"+s, s) || !glob("*", s) {
			t.Fatalf("%q does not match itself", s)
		}
	})
}

func TestValidate(t *testing.T) {
	bad := map[string]error{
		"memory_bytes":           StoreConfig{MemoryBytes: -1}.Validate(),
		"memory_object_bytes":    StoreConfig{MemoryBytes: 10, MemoryObjectBytes: 11}.Validate(),
		"dir":                    StoreConfig{Dir: "../outside"}.Validate(),
		"disk_bytes":             StoreConfig{DiskBytes: 1}.Validate(),
		"max_object_bytes":       StoreConfig{Dir: "/x", DiskBytes: 10, MaxObjectBytes: 11}.Validate(),
		"max_variants":           StoreConfig{MaxVariants: -1}.Validate(),
		"default_ttl":            Config{DefaultTTL: -1}.Validate(),
		"stale_if_error":         Config{StaleIfError: field.Duration(2 * longest)}.Validate(),
		"stale_while_revalidate": Config{StaleWhileRevalidate: -1}.Validate(),
		"wait":                   Config{Wait: field.Duration(time.Hour)}.Validate(),
		"key_headers[1]":         Config{KeyHeaders: []string{"X-A", "X A"}}.Validate(),
		"bypass[0]":              Config{Bypass: []string{"account"}}.Validate(),
	}
	for path, err := range bad {
		if err == nil || !strings.Contains(err.Error(), path+": ") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	for _, ok := range []interface{ Validate() error }{StoreConfig{}, Config{}, StoreConfig{Dir: "/var/cache/x", DiskBytes: 1 << 20}, StoreConfig{MemoryBytes: 10}} {
		if err := ok.Validate(); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
		if text, _ := json.Marshal(ok); len(text) > 60 {
			t.Errorf("%+v is written as %s", ok, text)
		}
	}
	if _, err := New(Config{}, nil, "x"); err == nil {
		t.Error("no store, and nobody minds")
	}
}
