package limits

import (
	"math"
	"time"

	"github.com/platformd/platformd/ratelimit"
)

// bucket is a limit, ready to decide. The zero bucket admits everything.
type bucket struct {
	limit ratelimit.Limit
	// deep is limit with room for those that are held back, and slack how much later than by limit they may come.
	deep       ratelimit.Limit
	slack      time.Duration
	depth      time.Duration // of deep
	concurrent uint32
}

// maxHeld is how many requests of one source are held back, at once and one after the other: a source that goes on for longer
// than that without a pause is turned away instead.
const maxHeld = 64

func newBucket(l ratelimit.Limit, delay time.Duration) bucket {
	b := bucket{limit: l, deep: l, concurrent: uint32(l.Concurrent)}
	if l.Rate <= 0 {
		return b
	}
	interval := l.Per / time.Duration(l.Rate)
	if interval > 0 {
		held := min(int(delay/interval), maxHeld)
		b.deep.Burst = l.Tokens() + held
		b.slack = interval * time.Duration(held)
	}
	b.depth = interval * time.Duration(b.deep.Tokens())
	return b
}

// isZero reports whether b admits everything.
func (b *bucket) isZero() bool { return b.limit.IsZero() }

// moment is a point in time, in nanoseconds since a Limiter was made. Zero is before all others.
type moment int64

// decision is what a bucket says.
type decision struct {
	admitted  bool
	next      moment        // the state to keep
	wait      time.Duration // how long an admitted request has to be held back
	remaining int
	retry     time.Duration // of a refused one
	reset     time.Duration // until the source may send its whole burst again
}

// behind is how much later another request may have looked at the clock, and yet been decided first. Taking its state for too
// far away would give the source back what it had used up.
const behind = time.Second

// decide asks for one request of a source in state tat. A state further away than the limit could have brought about is from
// another limit, or another clock, and counts for no more than this one's worst.
func (b *bucket) decide(tat, now moment, origin time.Time) decision {
	if b.limit.Rate <= 0 {
		return decision{admitted: true, next: tat, remaining: math.MaxInt}
	}
	if tat > now+moment(b.depth)+moment(behind) {
		tat = now + moment(b.depth)
	}
	d := b.deep.Admit(origin.Add(time.Duration(tat)), origin.Add(time.Duration(now)))
	out := decision{admitted: d.Admitted, next: moment(d.Next.Sub(origin))}
	out.reset = max(0, time.Duration(out.next-now))
	if !d.Admitted {
		out.retry = d.RetryAfter + b.slack
		return out
	}
	out.wait = max(0, time.Duration(out.next-now)-(b.depth-b.slack))
	out.remaining = max(0, d.Remaining-(b.deep.Tokens()-b.limit.Tokens()))
	return out
}
