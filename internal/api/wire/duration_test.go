package wire

import (
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want time.Duration
		bad  string // part of the error
	}{
		{in: "90s", want: 90 * time.Second},
		{in: "30m", want: 30 * time.Minute},
		{in: "12h", want: 12 * time.Hour},
		{in: "7d", want: 7 * 24 * time.Hour},
		{in: "2w", want: 14 * 24 * time.Hour},
		{in: "1d12h", want: 36 * time.Hour},
		{in: "", bad: "must be above zero"},
		{in: "0s", bad: "must be above zero"},
		{in: "5", bad: "has no unit"},
		{in: "5y", bad: `the unit "y" is not known`},
		{in: "-5m", bad: "is not a number with a unit"},
		{in: "1.5h", bad: "has no unit"},
		{in: "5 m", bad: "has no unit"},
		{in: "522w", bad: "is longer than ten years"},
		{in: "99999999999s", bad: "is too long"},
		{in: "3650d1s", bad: "is longer than ten years"},
	} {
		got, err := ParseDuration(tc.in)
		switch {
		case tc.bad == "" && (err != nil || got != tc.want):
			t.Errorf("%q: got %v, %v, want %v", tc.in, got, err, tc.want)
		case tc.bad != "" && (err == nil || !strings.Contains(err.Error(), tc.bad) || !strings.Contains(err.Error(), "write for example")):
			t.Errorf("%q: got %v, %v, want an error with %q and an example", tc.in, got, err, tc.bad)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0s", -time.Hour: "0s", time.Second: "1s", 90 * time.Minute: "1h30m", 36 * time.Hour: "1d12h", 12*time.Hour - 300*time.Millisecond: "12h",
	} {
		if got := FormatDuration(in); got != want {
			t.Errorf("%v: got %q, want %q", in, got, want)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"90s", "1d12h", "2w", "", "9999999999999999999w", "5µs", "1h1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d <= 0 || d > MaxDuration {
			t.Fatalf("%q: got %v, out of bounds", s, d)
		}
		if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
			t.Errorf("%q: got %v, written and read again %v, %v", s, d, again, err)
		}
	})
}
