package activity

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzText searches for text of any kind: it is never syntax, which would be an error, and never widens the search.
func FuzzText(f *testing.F) {
	for _, s := range []string{`"`, `""`, "a AND b", "NEAR(a b, 3)", "text:x", "x*", "^x", "-x", "(", "{a b}:c", "'; DROP TABLE records", "\x00", "a\x00\"b", "é", "\xff", "+", `" OR "`} {
		f.Add(s)
	}
	l, err := Open(f.Context(), filepath.Join(f.TempDir(), "activity.db"), Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	f.Fuzz(func(t *testing.T, s string) {
		s = bound(s)
		if _, err := l.Query(t.Context(), Filter{Text: s, Action: s, Object: s, Source: s + "*", Actor: s}); err != nil {
			t.Fatal(err)
		}
		found, err := l.Query(t.Context(), Filter{Text: "began " + s})
		if err != nil {
			t.Fatal(err)
		}
		// One word of letters that is in no record cannot be found, whatever stands beside it.
		if strings.Contains(s, "xyzzy") && len(found) > 0 {
			t.Fatalf("%q was found in %+v", s, found)
		}
	})
}

func FuzzRedact(f *testing.F) {
	for _, s := range []string{`{"password":"hunter2"}`, `[{"a":{"api_key":["hunter2"]}}]`, `{"token":1}`, `"x"`, `{`, ``, `{"a":1e400}`, `{"password":"hunter2"} x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := Redact(in)
		if json.Valid(in) && !json.Valid(out) {
			t.Fatalf("%s became %s", in, out)
		}
		if again := Redact(out); string(again) != string(out) {
			t.Fatalf("%s became %s and then %s", in, out, again)
		}
	})
}
