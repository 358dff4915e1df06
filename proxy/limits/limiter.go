package limits

import (
	"math"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Limiter needs of its surroundings.
type Options struct {
	Now func() time.Time
	// Sources is how many are remembered, at 40 bytes each; 0 is 262,144.
	Sources int
	// Waiting is how many requests may be held back at once; 0 is 1,000.
	Waiting int
}

// Limiter knows the sources. It lives as long as the server, and is safe for concurrent use.
type Limiter struct {
	now     func() time.Time
	origin  time.Time
	table   *table
	room    int64
	waiting atomic.Int64
	counts  counters

	mu     sync.Mutex
	routes map[string]*state
	last   uint32 // the last number given to a route
}

// state is what all clients of a route have together.
type state struct {
	id   uint32
	mu   sync.Mutex
	tat  moment
	open uint32
}

// scopeFailures is the number under which failures are counted, which are nobody's route.
const scopeFailures = 1

// New makes a Limiter that knows nobody.
func New(o Options) *Limiter {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sources == 0 {
		o.Sources = 1 << 18
	}
	if o.Waiting == 0 {
		o.Waiting = 1000
	}
	return &Limiter{now: o.Now, origin: o.Now().Add(-time.Second), table: newTable(o.Sources), room: int64(o.Waiting), routes: map[string]*state{}, last: scopeFailures}
}

func (l *Limiter) moment() moment { return moment(l.now().Sub(l.origin)) }

// mayWait takes a place among those that are held back. Whoever got one gives it back with waited.
func (l *Limiter) mayWait() bool {
	if l.waiting.Add(1) > l.room {
		l.waiting.Add(-1)
		return false
	}
	return true
}

// Rules is a Config, ready to decide. It never changes.
type Rules struct {
	client, network, total bucket
	login                  *paths
	state                  *state
}

// Rules makes ready what a configuration says under a name: the key of a route, or "" for the proxy as a whole. What is known
// of sources under that name stays. nil is for a Config that limits nothing.
func (l *Limiter) Rules(name string, c *Config) *Rules {
	r := &Rules{client: newBucket(c.requests(), c.delay())}
	if c.Subnet != nil {
		r.network = newBucket(*c.Subnet, c.delay())
	}
	if c.Total != nil {
		r.total = newBucket(*c.Total, 0)
	}
	if c.Login != nil {
		r.login = c.Login.compile(c.delay())
	}
	if r.client.isZero() && r.network.isZero() && r.total.isZero() && c.Login == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.state = l.stateOf(name)
	// A route whose login limit is off has none, whatever holds for the proxy.
	if c.Login != nil && r.login == nil {
		r.login = &paths{}
	}
	return r
}

// stateOf finds what is known under a name, or begins it. The Limiter is locked.
func (l *Limiter) stateOf(name string) *state {
	s := l.routes[name]
	if s == nil {
		l.last++
		s = &state{id: l.last}
		l.routes[name] = s
	}
	return s
}

// Keep forgets every name that is not wanted any more.
func (l *Limiter) Keep(wanted func(name string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.routes {
		if !wanted(name) {
			delete(l.routes, name)
		}
	}
}

// Request is what limits look at.
type Request struct {
	Client       netip.Addr
	Method, Path string
	// Exempt requests are counted, and never turned away.
	Exempt bool
}

// Verdict is what is to be done with a request.
type Verdict struct {
	// Status is 0 where it may go on, and else what is answered.
	Status     int
	Reason     string
	RetryAfter time.Duration
	// Wait is how long it has to be held back first; see Waited.
	Wait time.Duration
	// Strike is set where the client goes on though it was turned away often.
	Strike bool
	// Quota is the tightest limit of the route on this client.
	Quota Quota
}

// Quota is what a client has left.
type Quota struct {
	Limit     int // 0 where there is none to tell
	Remaining int
	Per       time.Duration
	// Reset is when the whole of Limit is there again.
	Reset time.Duration
}

// Pass is what a request that goes on holds. The zero Pass holds nothing.
type Pass struct {
	entries [6]uint32
	n       int
	totals  [2]*state
	waits   int
}

// strikeAfter is how many requests of a client are turned away for one strike. An honest program that does not heed
// Retry-After on the requests of one page is not yet an attacker.
const strikeAfter = 20

// Admit decides about a request by the rules of the proxy and of its route, either of which may be nil. What is in p then has
// to be given back with Done, whatever the verdict. A request that is turned away has been counted by the rules before
// the one that it did not fit.
func (l *Limiter) Admit(p *Pass, q Request, general, route *Rules) Verdict {
	now := l.moment()
	v := Verdict{Quota: Quota{Remaining: math.MaxInt}}
	// Those of all together come last: what one client has too much must not use up what others may have.
	ok := l.each(p, &q, general, byClient, now, nil, &v) && l.each(p, &q, general, byNetwork, now, nil, &v) &&
		l.each(p, &q, route, byClient, now, &v.Quota, &v) && l.each(p, &q, route, byNetwork, now, nil, &v) &&
		l.each(p, &q, loginRules(&q, general, route), byLogin, now, &v.Quota, &v) &&
		l.all(p, &q, route, now, &v) && l.all(p, &q, general, now, &v)
	if !ok {
		v.Wait = 0
	}
	if v.Wait > 0 {
		l.counts.delayed.Add(1)
	}
	return v
}

// loginRules are those whose limit of logins a request falls under; nil where it is no login.
func loginRules(q *Request, general, route *Rules) *Rules {
	if q.Method != http.MethodPost {
		return nil
	}
	of := general
	if route != nil && route.login != nil {
		of = route
	}
	if of == nil || of.login == nil || of.login.limit.isZero() || !of.login.has(q.Path) {
		return nil
	}
	return of
}

// all asks the limit of all clients together.
func (l *Limiter) all(p *Pass, q *Request, r *Rules, now moment, v *Verdict) bool {
	if r == nil || r.total.isZero() {
		return true
	}
	s := r.state
	s.mu.Lock()
	defer s.mu.Unlock()
	d := decision{retry: time.Second}
	if r.total.concurrent == 0 || s.open < r.total.concurrent || q.Exempt {
		d = r.total.decide(s.tat, now, l.origin)
		s.tat = d.next
	}
	if d.admitted || q.Exempt {
		if r.total.concurrent > 0 {
			s.open++
			if p.totals[0] == nil {
				p.totals[0] = s
			} else {
				p.totals[1] = s
			}
		}
		return true
	}
	l.counts.shed.Add(1)
	v.Status, v.Reason, v.RetryAfter = http.StatusServiceUnavailable, "limit of all clients together", d.retry
	return false
}

// each asks a limit of one source.
func (l *Limiter) each(p *Pass, q *Request, r *Rules, kind uint32, now moment, quota *Quota, v *Verdict) bool {
	if r == nil || q.Exempt {
		return true
	}
	var k key
	var b *bucket
	scope := r.state.id*kinds + kind
	switch kind {
	case byNetwork:
		k, b = networkKey(q.Client, scope), &r.network
	case byLogin:
		k, b = sourceKey(q.Client, scope), &r.login.limit
	default:
		k, b = sourceKey(q.Client, scope), &r.client
	}
	if b.isZero() {
		return true
	}
	o := l.table.admit(k, b, now, l)
	if o.held {
		p.entries[p.n] = o.at
		p.n++
	}
	if o.admitted && o.wait > 0 {
		p.waits++ // a place taken by mayWait
		v.Wait = max(v.Wait, o.wait)
	}
	if quota != nil && b.limit.Rate > 0 && o.remaining < quota.Remaining {
		*quota = Quota{Limit: b.limit.Tokens(), Remaining: o.remaining, Per: b.limit.Per * time.Duration(b.limit.Tokens()) / time.Duration(b.limit.Rate), Reset: o.reset}
	}
	if o.admitted {
		return true
	}
	l.counts.limited.Add(1)
	v.Status, v.Reason, v.RetryAfter = http.StatusTooManyRequests, reasons[kind], o.retry
	if o.busy {
		v.Reason = busyReasons[kind]
	}
	// A network has innocent members, so only the client's own limits count against it.
	v.Strike = kind != byNetwork && o.over%strikeAfter == 0
	return false
}

var (
	reasons     = [...]string{byClient: "limit of the client", byNetwork: "limit of the network", byLogin: "limit of logins"}
	busyReasons = [...]string{byClient: "limit of the client's requests at once", byNetwork: "limit of the network's requests at once", byLogin: "limit of logins at once"}
)

// Waited gives the places among those that are held back to others; call it when the wait is over.
func (l *Limiter) Waited(p *Pass) {
	l.waiting.Add(-int64(p.waits))
	p.waits = 0
}

// Done gives back whatever p holds.
func (l *Limiter) Done(p *Pass) {
	l.Waited(p)
	for _, at := range p.entries[:p.n] {
		l.table.release(at)
	}
	p.n = 0
	for i, s := range p.totals {
		if s != nil {
			s.mu.Lock()
			s.open--
			s.mu.Unlock()
			p.totals[i] = nil
		}
	}
}

type counters struct{ limited, delayed, shed, strikes atomic.Int64 }

// Statistics are counts since the Limiter was made.
type Statistics struct {
	// Limited requests were answered 429, Delayed ones held back, and Shed ones answered 503.
	Limited int64 `json:"limited"`
	Delayed int64 `json:"delayed"`
	Shed    int64 `json:"shed"`
	// Strikes were reported to whoever bans.
	Strikes int64 `json:"strikes"`
	// Sources is how many are remembered now.
	Sources int `json:"sources"`
}

// Statistics are the counts of now.
func (l *Limiter) Statistics() Statistics {
	c := &l.counts
	return Statistics{Limited: c.limited.Load(), Delayed: c.delayed.Load(), Shed: c.shed.Load(), Strikes: c.strikes.Load(), Sources: l.table.known(l.moment())}
}
