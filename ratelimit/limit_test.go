package ratelimit

import (
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Limit
		text string // "" is in
	}{
		{in: "off"},
		{in: "5/10s", want: Limit{Rate: 5, Per: 10 * time.Second}},
		{in: "5000/s", want: Limit{Rate: 5000, Per: time.Second}},
		{in: "50/s burst 100", want: Limit{Rate: 50, Per: time.Second, Burst: 100}},
		{in: "30/m concurrent 20", want: Limit{Rate: 30, Per: time.Minute, Concurrent: 20}},
		{in: "concurrent 3", want: Limit{Concurrent: 3}},
		{in: "1/60s", want: Limit{Rate: 1, Per: time.Minute}, text: "1/m"},
		{in: "10/s burst 10", want: Limit{Rate: 10, Per: time.Second, Burst: 10}, text: "10/s"},
	} {
		t.Run(c.in, func(t *testing.T) {
			got, err := Parse(c.in)
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, c.want)
			}
			want := c.text
			if want == "" {
				want = c.in
			}
			if got.String() != want {
				t.Errorf("as text: got %q, want %q", got.String(), want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "is empty"},
		{"5", `"5" is not understood`},
		{"5/", "has no unit"},
		{"0/s", "not a whole number of events above zero"},
		{"-1/s", "not a whole number of events above zero"},
		{"5/0s", "is not a number of seconds"},
		{"5/s 6/s", `"6/s" is not understood`},
		{"burst 5", "write for example 5/10s"},
		{"concurrent 0", "not a whole number above zero"},
		{"1000001/s", "must be between 0 and 1000000"},
		{"7/11s", "not a whole number of events per second, minute, hour or day"},
	} {
		t.Run(c.in, func(t *testing.T) {
			got, err := Parse(c.in)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v, want an error with %q", got, err, c.want)
			}
		})
	}
}

func TestPerUnit(t *testing.T) {
	for _, c := range []struct {
		limit Limit
		rate  int
		unit  string
	}{
		{Limit{Rate: 5, Per: 10 * time.Second}, 30, "minute"},
		{Limit{Rate: 5000, Per: time.Second}, 5000, "second"},
		{Limit{Rate: 24, Per: 24 * time.Hour}, 1, "hour"},
		{Limit{Rate: 1, Per: 2 * time.Minute}, 30, "hour"},
		{Limit{Rate: 1, Per: 7 * 24 * time.Hour}, 0, ""},
		{Limit{Concurrent: 5}, 0, ""},
	} {
		t.Run(c.limit.String(), func(t *testing.T) {
			got, unit, _, ok := c.limit.PerUnit()
			if got != c.rate || unit != c.unit || ok != (c.rate > 0) {
				t.Errorf("got %d per %q, %v, want %d per %q", got, unit, ok, c.rate, c.unit)
			}
		})
	}
}

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
