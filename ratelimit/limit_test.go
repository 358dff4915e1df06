package ratelimit

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseAndString(t *testing.T) {
	tests := map[string]string{ // in -> what String gives, or a part of the error after "!"
		"5/10s":                            "5/10s",
		"30/m":                             "30/m",
		"50/s burst 100":                   "50/s burst 100",
		"5000/s burst 5000":                "5000/s",
		"10/60s concurrent 20":             "10/m concurrent 20",
		"concurrent 3":                     "concurrent 3",
		"1/h":                              "1/h",
		"7/2d":                             "!not a whole number",
		"off":                              "off",
		"":                                 "!is empty",
		"5":                                `!"5" is not understood`,
		"5/10":                             "!no unit",
		"0/s":                              "!above zero",
		"-1/s":                             "!above zero",
		"5/0s":                             "!not a number of seconds",
		"2000000/s":                        "!between 0 and 1000000",
		"5/s burst":                        `!"burst" is not understood`,
		"burst 5":                          "!is empty",
		"5/s burst x":                      "!not a whole number",
		"5/s 6/s":                          "!is not understood",
		"99999999999999999999999/s":        "!above zero",
		"5/s concurrent 10000000000000000": "!between 0 and",
	}
	for in, want := range tests {
		l, err := Parse(in)
		if part, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: got %v, %v, want an error with %q", in, l, err, part)
			}
			continue
		}
		if err != nil || l.String() != want {
			t.Errorf("%q: got %v, %v, want %s", in, l, err, want)
			continue
		}
		if again, err := Parse(l.String()); err != nil || again != l && again.Tokens() != l.Tokens() {
			t.Errorf("%q does not survive writing and reading: %v, %v", in, again, err)
		}
	}
}

func TestPerUnitIsWhatTheKernelCanCount(t *testing.T) {
	for in, want := range map[string]string{"5/10s": "30 minute", "50/s": "50 second", "1/7h": "", "3/d": "3 day", "90/m": "90 minute", "120/2m": "1 second"} {
		l, err := Parse(in)
		if want == "" {
			if err == nil {
				t.Errorf("%s: got %v, want it refused", in, l)
			}
			continue
		}
		rate, unit, _, ok := l.PerUnit()
		if got := strings.TrimSpace(strings.Join([]string{strconv.Itoa(rate), unit}, " ")); !ok || got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// A burst of five, then one each two seconds: what the kernel meters do with the same limit.
func TestAdmitAtTheBoundary(t *testing.T) {
	l := Limit{Rate: 5, Per: 10 * time.Second}
	now := time.Unix(1000, 0)
	var state time.Time
	for i := range 5 {
		d := l.Admit(state, now)
		if !d.Admitted || d.Remaining != 4-i {
			t.Fatalf("event %d: got %+v", i, d)
		}
		state = d.Next
	}
	if d := l.Admit(state, now); d.Admitted || d.RetryAfter != 2*time.Second || d.Next != state {
		t.Errorf("the sixth: got %+v, want it refused for 2s and the state kept", d)
	}
	if d := l.Admit(state, now.Add(2*time.Second-1)); d.Admitted {
		t.Error("just before the token is there: admitted")
	}
	d := l.Admit(state, now.Add(2*time.Second))
	if !d.Admitted {
		t.Error("when the token is there: refused")
	}
	if d := l.Admit(d.Next, now.Add(2*time.Second)); d.Admitted {
		t.Error("one token admitted two events")
	}
	if d := l.Admit(state, now.Add(time.Hour)); !d.Admitted || d.Remaining != 4 {
		t.Errorf("after a long rest: got %+v, want a full bucket", d)
	}
	if d := (Limit{}).Admit(state, now); !d.Admitted {
		t.Error("no limit refused")
	}
}
