package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxDuration bounds what ParseDuration reads.
const MaxDuration = 10 * 365 * 24 * time.Hour

// ParseDuration reads "90s", "30m", "12h", "7d", "2w", and several of them in a row, such as "1d12h". It must be above zero.
func ParseDuration(s string) (time.Duration, error) {
	bad := func(why string) (time.Duration, error) {
		return 0, fmt.Errorf("duration %q: %s; write for example 30m, 12h, 7d or 2w", s, why)
	}
	total := time.Duration(0)
	for rest := s; rest != ""; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 {
			return bad("is not a number with a unit")
		}
		unit := len(rest) - digits - len(strings.TrimLeft(rest[digits:], "abcdefghijklmnopqrstuvwxyz"))
		n, err := strconv.ParseInt(rest[:digits], 10, 32)
		if err != nil {
			return bad("is too long")
		}
		d, ok := unitOf(rest[digits : digits+unit])
		switch {
		case unit == 0:
			return bad("has no unit")
		case !ok:
			return bad(fmt.Sprintf("the unit %q is not known", rest[digits:digits+unit]))
		case n > int64(MaxDuration/d) || total+time.Duration(n)*d > MaxDuration:
			return bad("is longer than ten years")
		}
		total += time.Duration(n) * d
		rest = rest[digits+unit:]
	}
	if total == 0 {
		return bad("must be above zero")
	}
	return total, nil
}

func unitOf(s string) (time.Duration, bool) {
	switch s {
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	case "w":
		return 7 * 24 * time.Hour, true
	}
	return 0, false
}

// FormatDuration is the short form of d, to the second: "1d12h", "30m", "0s".
func FormatDuration(d time.Duration) string {
	d = d.Round(time.Second)
	if d < time.Second {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []string{"d", "h", "m", "s"} {
		if unit, _ := unitOf(u); d >= unit {
			fmt.Fprintf(&b, "%d%s", d/unit, u)
			d %= unit
		}
	}
	return b.String()
}
