package ratelimit

import "time"

// Decision is what Admit says about one event.
type Decision struct {
	Admitted bool
	// Next is the state to keep for the source; it is unchanged where the event is refused.
	Next time.Time
	// Remaining is how many more events would be admitted at once.
	Remaining int
	// RetryAfter is when a refused event would be admitted, from now; zero where it was admitted.
	RetryAfter time.Duration
}

// Admit decides about one event of a source by the generic cell rate algorithm (ITU-T I.371, annex A): the whole state of
// a source is the theoretical arrival time of its next event, zero for a source that is not known. It means the same as the
// kernel's token bucket: Tokens() events at once, then one each Per/Rate. The concurrency part is not looked at.
func (l Limit) Admit(state, now time.Time) Decision {
	if l.Rate <= 0 {
		return Decision{Admitted: true, Next: state}
	}
	interval := l.Per / time.Duration(l.Rate)
	depth := interval * time.Duration(l.Tokens())
	tat := state
	if tat.Before(now) {
		tat = now
	}
	next := tat.Add(interval)
	if wait := next.Add(-depth).Sub(now); wait > 0 {
		return Decision{Next: state, RetryAfter: wait}
	}
	return Decision{Admitted: true, Next: next, Remaining: int((depth - next.Sub(now)) / interval)}
}
