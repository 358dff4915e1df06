package ratelimit

import "testing"

// FuzzParse: what Parse takes is valid, and its text means the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"off", "5/10s", "50/s burst 100", "5000/s concurrent 200", "1/m", "concurrent 3", "7/11s", "99999999999/s", "5/9999999999h", "a/b burst"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		l, err := Parse(in)
		if err != nil {
			return
		}
		if err := l.Validate(); err != nil {
			t.Fatalf("%q was taken, but is not valid: %v", in, err)
		}
		again, err := Parse(l.String())
		if err != nil || again.String() != l.String() || again.Tokens() != l.Tokens() || again.Per != l.Per {
			t.Fatalf("%q reads as %+v, its text %q as %+v, %v", in, l, l.String(), again, err)
		}
	})
}
