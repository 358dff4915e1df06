// Package ratelimit says how much of something one source may do, and decides whether the next event fits.
//
// A Limit has two independent parts. The rate part is a token bucket: a source that was idle may do Burst events at once,
// and after that one event each Per/Rate. "5/10s" therefore means five at once and then one every two seconds; it does not
// mean "at most five in any window of ten seconds". The concurrency part bounds what is open at the same time, however
// slowly it was opened. A source is an IPv4 address or an IPv6 /64, because one IPv6 subscriber owns at least a /64.
//
// The same Limit is compiled into kernel meters by the firewall drivers and decided in user space by the proxy. This
// package keeps no state about sources, reads no clock and imports nothing of the product.
package ratelimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxEvents bounds Rate, Burst and Concurrent: the kernel's hashlimit refuses more than 1,000,000 events per second.
const MaxEvents = 1_000_000

// Limit is what one source may do. The zero value limits nothing.
type Limit struct {
	// Rate events are admitted per Per in the long run. Zero means that the rate is not limited.
	Rate int
	// Per is the period of Rate: one second, minute, hour or day, or any multiple for which Rate stays a whole number
	// of events in one of those units.
	Per time.Duration
	// Burst events are admitted at once from a source that was idle. Zero means Rate.
	Burst int
	// Concurrent connections may be open at the same time. Zero means that concurrency is not limited.
	Concurrent int
}

// IsZero reports whether l limits nothing.
func (l Limit) IsZero() bool { return l.Rate == 0 && l.Concurrent == 0 }

// Tokens is the depth of the bucket: Burst, or Rate where Burst is not set.
func (l Limit) Tokens() int {
	if l.Burst > 0 {
		return l.Burst
	}
	return l.Rate
}

// units that kernel meters know; see nft(8) "limit" and iptables-extensions(8) "hashlimit".
var units = [...]struct {
	name string
	d    time.Duration
}{{"second", time.Second}, {"minute", time.Minute}, {"hour", time.Hour}, {"day", 24 * time.Hour}}

// PerUnit gives the rate in the smallest unit in which it is a whole number: 5/10s is 30 per minute. ok is false where
// there is none, which Validate refuses.
func (l Limit) PerUnit() (rate int, unit string, period time.Duration, ok bool) {
	if l.Rate <= 0 || l.Per <= 0 {
		return 0, "", 0, false
	}
	for _, u := range units {
		n := int64(l.Rate) * int64(u.d)
		if n%int64(l.Per) == 0 && n/int64(l.Per) > 0 {
			return int(n / int64(l.Per)), u.name, u.d, true
		}
	}
	return 0, "", 0, false
}

// Validate says everything that is wrong with l.
func (l Limit) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	for _, f := range []struct {
		name string
		n    int
	}{{"rate", l.Rate}, {"burst", l.Burst}, {"concurrent", l.Concurrent}} {
		if f.n < 0 || f.n > MaxEvents {
			bad("%s %d: must be between 0 and %d", f.name, f.n, MaxEvents)
		}
	}
	if l.Rate > 0 {
		if _, _, _, ok := l.PerUnit(); !ok {
			bad("rate %d per %v: not a whole number of events per second, minute, hour or day; write for example 5/10s or 30/m", l.Rate, l.Per)
		}
	} else if l.Burst > 0 {
		bad("burst %d: needs a rate; write for example 5/10s burst 5", l.Burst)
	}
	return errors.Join(errs...)
}

// String is the form that Parse reads: "5/10s", "50/s burst 100", "5000/s concurrent 200", "off".
func (l Limit) String() string {
	var parts []string
	if l.Rate > 0 {
		parts = append(parts, strconv.Itoa(l.Rate)+"/"+formatPeriod(l.Per))
		if l.Burst > 0 && l.Burst != l.Rate {
			parts = append(parts, "burst "+strconv.Itoa(l.Burst))
		}
	}
	if l.Concurrent > 0 {
		parts = append(parts, "concurrent "+strconv.Itoa(l.Concurrent))
	}
	if len(parts) == 0 {
		return "off"
	}
	return strings.Join(parts, " ")
}

// MarshalText implements encoding.TextMarshaler.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Limit) UnmarshalText(b []byte) error {
	v, err := Parse(string(b))
	if err == nil {
		*l = v
	}
	return err
}

// Parse reads the form that String writes.
func Parse(s string) (Limit, error) {
	var l Limit
	fields := strings.Fields(s)
	if len(fields) == 1 && fields[0] == "off" {
		return l, nil
	}
	for i := 0; i < len(fields); i++ {
		f := fields[i]
		switch {
		case (f == "burst" || f == "concurrent") && i+1 < len(fields):
			i++
			n, err := strconv.Atoi(fields[i])
			if err != nil || n <= 0 {
				return Limit{}, fmt.Errorf("limit %q: %s %q is not a whole number above zero", s, f, fields[i])
			}
			if f == "burst" {
				l.Burst = n
			} else {
				l.Concurrent = n
			}
		case strings.Contains(f, "/") && l.Rate == 0:
			n, per, _ := strings.Cut(f, "/")
			rate, err := strconv.Atoi(n)
			if err != nil || rate <= 0 {
				return Limit{}, fmt.Errorf("limit %q: %q is not a whole number of events above zero", s, n)
			}
			d, err := parsePeriod(per)
			if err != nil {
				return Limit{}, fmt.Errorf("limit %q: %w", s, err)
			}
			l.Rate, l.Per = rate, d
		default:
			return Limit{}, fmt.Errorf("limit %q: %q is not understood; write for example 5/10s, 50/s burst 100, concurrent 20, or off", s, f)
		}
	}
	if l.IsZero() {
		return Limit{}, fmt.Errorf("limit %q: is empty; write for example 5/10s, or off", s)
	}
	if err := l.Validate(); err != nil {
		return Limit{}, fmt.Errorf("limit %q: %w", s, err)
	}
	return l, nil
}

func parsePeriod(s string) (time.Duration, error) {
	digits := strings.TrimRight(s, "smhd")
	n := 1
	if digits != "" {
		var err error
		if n, err = strconv.Atoi(digits); err != nil || n <= 0 || n > 86400 {
			return 0, fmt.Errorf("period %q is not a number of seconds, minutes, hours or days, such as 10s", s)
		}
	}
	switch strings.TrimPrefix(s, digits) {
	case "s":
		return time.Duration(n) * time.Second, nil
	case "m":
		return time.Duration(n) * time.Minute, nil
	case "h":
		return time.Duration(n) * time.Hour, nil
	case "d":
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return 0, fmt.Errorf("period %q has no unit; write s, m, h or d, such as 10s", s)
}

func formatPeriod(d time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= u.d && d%u.d == 0 {
			if d == u.d {
				return u.name
			}
			return strconv.FormatInt(int64(d/u.d), 10) + u.name
		}
	}
	if d == time.Second {
		return "s"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}
