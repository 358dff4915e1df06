package probe

import (
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/ratelimit"
)

// job is a target with what the policy says about it.
type job struct {
	target target
	expect expectation
}

// pace keeps knocks within the policy's limits, by doing the kernel's arithmetic beforehand.
type pace struct {
	limits map[string]ratelimit.Limit
	states map[meterKey]time.Time
	held   map[meterKey]int // knocks under way, for limits of concurrency
}

// meterKey is a meter of one family: the wire has one source in each.
type meterKey struct {
	name string
	v6   bool
}

func newPace(rs *firewall.Ruleset) *pace {
	p := &pace{limits: map[string]ratelimit.Limit{}, states: map[meterKey]time.Time{}, held: map[meterKey]int{}}
	for _, m := range rs.Meters {
		l := m.Limit
		// The kernel sees two knocks a little closer together or further apart than we sent them.
		l.Burst, l.Per = l.Tokens(), l.Per+l.Per/20
		p.limits[m.Name] = l
	}
	return p
}

func (j job) keys() []meterKey {
	out := make([]meterKey, len(j.expect.meters))
	for i, m := range j.expect.meters {
		out[i] = meterKey{m, j.target.to.Addr().Is6()}
	}
	return out
}

// admit reports whether j may knock now, and counts it if so; otherwise wait is how long not, at least.
func (p *pace) admit(j job, now time.Time) (ok bool, wait time.Duration) {
	keys := j.keys()
	next := make([]time.Time, len(keys))
	for i, k := range keys {
		l := p.limits[k.name]
		if l.Concurrent > 0 && p.held[k] >= l.Concurrent {
			return false, time.Millisecond
		}
		d := l.Admit(p.states[k], now)
		if !d.Admitted {
			return false, d.RetryAfter
		}
		next[i] = d.Next
	}
	for i, k := range keys {
		p.states[k] = next[i]
		p.held[k]++
	}
	return true, 0
}

// done says that j has its answer.
func (p *pace) done(j job) {
	for _, k := range j.keys() {
		p.held[k]--
	}
}

// queue hands out jobs as the pace allows. Those that have to wait do not hold up those of other meters.
type queue struct {
	pace    *pace
	jobs    []job
	waiting map[string][]job // by the meters they count for
}

func newQueue(p *pace, jobs []job) *queue {
	return &queue{pace: p, jobs: jobs, waiting: map[string][]job{}}
}

// len is how many jobs were not handed out.
func (q *queue) len() int {
	n := len(q.jobs)
	for _, w := range q.waiting {
		n += len(w)
	}
	return n
}

// next gives the next job; without one, wait is when to ask again, and zero means that none are left.
func (q *queue) next(now time.Time) (j job, ok bool, wait time.Duration) {
	for lane, w := range q.waiting {
		ok, d := q.pace.admit(w[0], now)
		if ok {
			j = w[0]
			if q.waiting[lane] = w[1:]; len(w) == 1 {
				delete(q.waiting, lane)
			}
			return j, true, 0
		}
		if wait == 0 || d < wait {
			wait = d
		}
	}
	for len(q.jobs) > 0 {
		j, q.jobs = q.jobs[0], q.jobs[1:]
		lane := laneOf(j)
		if len(q.waiting[lane]) == 0 {
			ok, d := q.pace.admit(j, now)
			if ok {
				return j, true, 0
			}
			if wait == 0 || d < wait {
				wait = d
			}
		}
		q.waiting[lane] = append(q.waiting[lane], j)
	}
	return job{}, false, wait
}

// laneOf names the jobs that wait for the same.
func laneOf(j job) string {
	s := "4"
	if j.target.to.Addr().Is6() {
		s = "6"
	}
	for _, m := range j.expect.meters {
		s += " " + m
	}
	return s
}
