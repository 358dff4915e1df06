package upstream

import "time"

type breakerState uint8

const (
	closed   breakerState = iota // requests pass
	open                         // none does, until the cooldown is over
	halfOpen                     // one passes, and decides
)

// breaker sets a server aside after failures of real requests. Its owner locks it.
type breaker struct {
	state  breakerState
	until  time.Time   // open is over then
	recent []time.Time // failures within the window
	trying bool        // the one request of half-open is under way
}

// admits reports whether a request could pass.
func (b *breaker) admits(now time.Time) bool {
	switch b.state {
	case open:
		return !now.Before(b.until)
	case halfOpen:
		return !b.trying
	}
	return true
}

// begin lets a request pass, or not.
func (b *breaker) begin(now time.Time) bool {
	if !b.admits(now) {
		return false
	}
	if b.state != closed {
		b.state, b.trying = halfOpen, true
	}
	return true
}

// failed notes a failure.
func (b *breaker) failed(p Passive, now time.Time) {
	limit := orInt(p.Failures, 5)
	if limit < 0 {
		return
	}
	if b.state == halfOpen {
		b.open(p, now)
		return
	}
	old := now.Add(-or(p.Window, 30*time.Second))
	n := 0
	for _, t := range b.recent {
		if t.After(old) {
			b.recent[n] = t
			n++
		}
	}
	b.recent = append(b.recent[:n], now)
	if b.state == closed && len(b.recent) >= limit {
		b.open(p, now)
	}
}

func (b *breaker) open(p Passive, now time.Time) {
	*b = breaker{state: open, until: now.Add(or(p.Cooldown, 10*time.Second)), recent: b.recent[:0]}
}

// succeeded notes an answer, and reports whether the server came back by it.
func (b *breaker) succeeded() bool {
	if b.state != halfOpen {
		return false
	}
	b.close()
	return true
}

// gaveUp is for a request that nobody waits for any more: it said nothing of the server.
func (b *breaker) gaveUp() { b.trying = false }

func (b *breaker) close() { *b = breaker{recent: b.recent[:0]} }
