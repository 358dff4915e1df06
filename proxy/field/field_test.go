package field

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestJoin(t *testing.T) {
	var inner Errors
	inner.Add("max_age", "%v is negative; write for example 5m", -time.Second)
	inner.Add("[2]", "is empty")
	inner.Add("", "needs a root")
	var outer Errors
	outer.Join("cache", inner.Err())
	outer.Join("other", errors.New("is odd"))
	outer.Join("none", nil)
	outer.Join("none", Errors(nil).Err())
	var top Errors
	top.Join(Index("routes", 1), outer.Err())

	var got []string
	var paths []string
	for _, e := range top.Err().(interface{ Unwrap() []error }).Unwrap() {
		got = append(got, e.Error())
		var at interface{ FieldPath() string }
		if errors.As(e, &at) {
			paths = append(paths, at.FieldPath())
		}
	}
	want := []string{
		"routes[1].cache.max_age: -1s is negative; write for example 5m",
		"routes[1].cache[2]: is empty",
		"routes[1].cache: needs a root",
		"routes[1].other: is odd",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	wantPaths := []string{"routes[1].cache.max_age", "routes[1].cache[2]", "routes[1].cache", "routes[1].other"}
	if !slices.Equal(paths, wantPaths) {
		t.Errorf("paths: got %q\nwant %q", paths, wantPaths)
	}
}

func TestKey(t *testing.T) {
	for name, want := range map[string]string{"web-1": "groups.web-1", "a.b": `groups["a.b"]`, "": `groups[""]`} {
		if got := Key("groups", name); got != want {
			t.Errorf("Key(%q): got %q, want %q", name, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "12h": 12 * time.Hour, "1m30s": 90 * time.Second, "5m": 5 * time.Minute, "250ms": 250 * time.Millisecond, "0s": 0, "10m": 10 * time.Minute, "20h": 20 * time.Hour} {
		var d Duration
		if err := json.Unmarshal([]byte(`"`+text+`"`), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s: got %v, %v, want %v", text, time.Duration(d), err, want)
		}
		if back, err := json.Marshal(d); err != nil || string(back) != `"`+text+`"` {
			t.Errorf("%s: written as %s, %v", text, back, err)
		}
	}
	for _, text := range []string{`"30"`, `""`, `"soon"`, `30`} {
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s: was taken as %v", text, time.Duration(d))
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"30s", "12h", "1h0m1s", "-5m", "1.5h", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var d, again Duration
		if d.UnmarshalText([]byte(in)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Fatalf("%q reads as %v, its text as %v, %v", in, d, again, err)
		}
	})
}
