package feeds

import "time"

// How soon a feed is asked again after errors: Backoff doubles from backoffFirst up to the feed's own period.
const (
	backoffFirst = 2 * time.Minute
	// DefaultEvery is the period of a feed that names none, MinEvery the shortest.
	DefaultEvery = 12 * time.Hour
	MinEvery     = 5 * time.Minute
	// retryMost bounds what a server may ask for.
	retryMost = 24 * time.Hour
)

// Next is when the feed is to be fetched, not before now. Each period varies by up to a tenth, so that many hosts do not
// ask at once: rnd gives a number in [0,1). The caller asks once after each fetch and keeps the answer. A feed without a
// copy that never failed is due at once; a clock that was set back makes it due at most one period from now.
func Next(now time.Time, m Meta, every time.Duration, rnd func() float64) time.Time {
	if every <= 0 {
		every = DefaultEvery
	}
	every = max(every, MinEvery)
	wait, from := every, m.Checked
	switch {
	case m.Failures > 0:
		from = m.Attempted
		wait = backoffFirst
		for range m.Failures - 1 {
			if wait *= 2; wait >= every {
				break
			}
		}
		wait = min(wait, every)
	case m.Checked.IsZero():
		return now
	}
	wait = time.Duration(float64(wait) * (0.9 + 0.2*rnd()))
	if from.After(now) {
		from = now
	}
	due := from.Add(wait)
	if r := m.RetryAt; r.After(due) {
		due = r
		if last := now.Add(retryMost); due.After(last) {
			due = last
		}
	}
	if due.Before(now) {
		return now
	}
	return due
}
