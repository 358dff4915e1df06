package apps

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text form is a number with a unit of 1024: "512M", "2G"; without a unit it is bytes.
type Size int64

var units = [...]struct {
	letter string
	bytes  Size
}{{"T", 1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}}

// String is the form with the largest unit that keeps it whole.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.letter
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(b []byte) error {
	text, unit := strings.ToUpper(string(b)), Size(1)
	text = strings.TrimSuffix(strings.TrimSuffix(text, "B"), "I")
	for _, u := range units {
		if t, ok := strings.CutSuffix(text, u.letter); ok {
			text, unit = t, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(unit) {
		return fmt.Errorf("size %q: write a whole number with a unit, for example 512M or 2G", b)
	}
	*s = Size(n) * unit
	return nil
}

// Round is s in three digits or so, for people.
func (s Size) Round() string {
	for _, u := range units {
		if s >= u.bytes {
			return strconv.FormatFloat(float64(s)/float64(u.bytes), 'f', 1, 64) + " " + u.letter + "iB"
		}
	}
	return strconv.FormatInt(int64(s), 10) + " B"
}
