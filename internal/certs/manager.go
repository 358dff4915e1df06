package certs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/state"
)

// Issuer has the conversation with a CA or a DNS provider, where nothing can be lost by it. It may be called from several
// goroutines.
type Issuer interface {
	ACME(ctx context.Context, job order.Job, cache order.Cache) (order.Result, error)
}

// Responder shows the world what a CA asks for. A call returns when it is shown. Forget takes it back: key is a token, or
// a name.
type Responder interface {
	HTTP01(token, keyAuth string)
	TLSALPN01(name string, cert *Pair)
	Forget(key string)
}

// Health is where conditions go.
type Health interface {
	Set(health.Condition)
	Clear(id string) bool
}

// Config is what a Manager needs. Every field is needed.
type Config struct {
	Store     *Store
	Issuer    Issuer
	Responder Responder
	// Names are those of the routes, Settings the document's; both are asked again and again.
	Names    func() []string
	Settings func() state.Certs
	// Changed is told which names have another certificate than before. It must not call the Manager.
	Changed func(names []string)
	Record  func(context.Context, activity.Record)
	Health  Health
	Now     func() time.Time
	Log     *slog.Logger
}

// Times of a Manager.
const (
	// lookEvery is how often renewal is looked at; hop is how soon a clock that jumped is noticed.
	lookEvery = 12 * time.Hour
	hop       = time.Hour
	// renewBefore and renewPart: renewal begins that long before the end, or that part of the lifetime, whichever is less.
	renewBefore = 30 * 24 * time.Hour
	renewPart   = 3
	// spread is by how much renewals of one day are spread out.
	spread = 24 * time.Hour
	// keepExpired is how long a certificate that nobody wants any more is kept after its end.
	keepExpired = 30 * 24 * time.Hour
	// atOnce is how many orders are under way at the same time.
	atOnce = 4
)

// Manager keeps the certificates of the wanted names. Its methods are safe for concurrent use.
type Manager struct {
	cfg   Config
	wake  chan struct{}
	slots chan struct{}
	load  singleflight.Group

	mu       sync.Mutex
	stored   map[string]map[string]*Certificate // by name and kind
	wanted   map[string]bool
	attempts map[string]map[string]Attempt // by name and CA
	busy     map[string]chan struct{}      // closed when what is being done for a name is done
	pairs    map[string]*Pair              // opened, by fingerprint
	stranger *Pair                         // for names that nobody wants
	upkept   map[string]time.Time
	staples  map[string][]byte // by fingerprint
	noticed  map[string]int    // days left that were said, by name and fingerprint
	expiring map[string]bool   // names with a condition
	running  sync.WaitGroup
}

// New reads what is stored. It starts nothing and asks nobody.
func New(ctx context.Context, cfg Config) (*Manager, error) {
	m := &Manager{cfg: cfg, wake: make(chan struct{}, 1), slots: make(chan struct{}, atOnce), stored: map[string]map[string]*Certificate{}, wanted: map[string]bool{},
		attempts: map[string]map[string]Attempt{}, busy: map[string]chan struct{}{}, pairs: map[string]*Pair{}, upkept: map[string]time.Time{}, staples: map[string][]byte{},
		noticed: map[string]int{}}
	list, err := cfg.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		m.keep(c)
	}
	attempts, err := cfg.Store.Attempts(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range attempts {
		m.keepAttempt(a)
	}
	m.setWanted()
	return m, nil
}

func (m *Manager) keep(c *Certificate) {
	if m.stored[c.Name] == nil {
		m.stored[c.Name] = map[string]*Certificate{}
	}
	m.stored[c.Name][c.Kind()] = c
}

func (m *Manager) keepAttempt(a Attempt) {
	if m.attempts[a.Name] == nil {
		m.attempts[a.Name] = map[string]Attempt{}
	}
	m.attempts[a.Name][a.CA] = a
}

// Run keeps certificates until ctx ends; orders that are under way end with it.
func (m *Manager) Run(ctx context.Context) error {
	defer m.running.Wait()
	for {
		next := m.look(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.wake:
		case <-time.After(min(max(next.Sub(m.cfg.Now()), time.Second), hop)):
		}
	}
}

// Wake makes Run look at once: names or settings changed.
func (m *Manager) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// setWanted asks which names are wanted, and forgets names that nobody could have.
func (m *Manager) setWanted() []string {
	var names []string
	for _, n := range append(m.cfg.Names(), m.cfg.Settings().Names...) {
		n = normal(n)
		if state.HostName(strings.TrimPrefix(n, "*.")) || isAddress(n) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted = make(map[string]bool, len(names))
	for _, n := range names {
		m.wanted[n] = true
	}
	return names
}

// look does what is due and says when it must be called again.
func (m *Manager) look(ctx context.Context) (next time.Time) {
	now := m.cfg.Now()
	next = now.Add(lookEvery)
	names := m.setWanted()
	m.tidy(ctx, now)
	for _, n := range names {
		if err := m.ensureSelfSigned(ctx, n, now); err != nil && ctx.Err() == nil {
			m.cfg.Log.Error("make certificate", "name", n, "error", err)
		}
	}
	m.notice(ctx, names, now)
	s := m.cfg.Settings().WithDefaults()
	allowed := m.allowed(s, names)
	for _, c := range m.inUse(names) {
		if allowed || c.Kind() == Imported {
			m.upkeep(ctx, s, c, now)
		}
	}
	if !allowed {
		return next
	}
	for _, n := range names {
		at, ok := m.nextOrder(s, n, now)
		if !ok {
			continue
		}
		if at.After(now) {
			next = earlier(next, at)
			continue
		}
		m.start(ctx, n, func(ctx context.Context) { m.obtain(ctx, s, n, false) })
	}
	return next
}

// start does something for a name, unless something is being done for it already; done is closed at the end of either.
func (m *Manager) start(ctx context.Context, name string, do func(context.Context)) (done chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if done := m.busy[name]; done != nil {
		return done
	}
	done = make(chan struct{})
	m.busy[name] = done
	m.running.Go(func() {
		defer m.Wake()
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.busy, name)
			close(done)
		}()
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
			do(ctx)
		case <-ctx.Done():
		}
	})
	return done
}

// allowed reports whether a CA may be contacted at all, and says so where it may not.
func (m *Manager) allowed(s state.Certs, names []string) bool {
	const id = "certificates-not-set-up"
	if s.Email != "" && s.TermsAgreed {
		m.cfg.Health.Clear(id)
		return true
	}
	askable := slices.ContainsFunc(names, func(n string) bool {
		return slices.ContainsFunc(s.CAs, func(ca state.CA) bool { return grantable(n, ca) }) && !m.covered(n, m.cfg.Now())
	})
	if askable {
		m.cfg.Health.Set(health.Condition{ID: id, Severity: health.Warning, Message: "certificates are self-signed: no CA is asked without an e-mail address and the agreement to its terms",
			Remedy: "platformctl certs setup --email ADDRESS --agree"})
	} else {
		m.cfg.Health.Clear(id)
	}
	return false
}

// nextOrder is when a CA is to be asked for a name; ok is false where none is.
func (m *Manager) nextOrder(s state.Certs, name string, now time.Time) (at time.Time, ok bool) {
	if m.covered(name, now) {
		return at, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if wild := wildcardOf(name); wild != name && m.wanted[wild] && len(m.attempts[wild]) == 0 {
		return at, false // the wildcard comes first
	}
	at = now
	if c := m.stored[name][ACME]; c != nil && c.Covers(name) {
		at = renewAt(c)
		// A clock that is wrong, or a CA that is, must not lead to order after order.
		if soonest := c.Created.Add(min(lookEvery, c.Expires.Sub(c.NotBefore)/10)); at.Before(soonest) && !c.Created.After(now.Add(skew)) {
			at = soonest
		}
	}
	// The first CA that may be asked counts.
	var first time.Time
	for _, ca := range s.CAs {
		if !grantable(name, ca) {
			continue
		}
		t := at
		if a, failed := m.attempts[name][ca.Name]; failed && a.waits(now) && a.Next.After(t) {
			t = a.Next
		}
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first, !first.IsZero()
}

// waits reports whether the attempt holds up the next one. One from the future is one from before the clock was set back.
func (a Attempt) waits(now time.Time) bool { return a.Next.After(now) && !a.At.After(now.Add(skew)) }

// covered reports whether a name needs no certificate of a CA of its own: an imported one or a wildcard is good for it.
func (m *Manager) covered(name string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range []string{name, wildcardOf(name)} {
		for kind, c := range m.stored[n] {
			if c.Covers(name) && c.Expires.After(now) && (kind == Imported || kind == ACME && n != name && m.wanted[n]) {
				return true
			}
		}
	}
	return false
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// ErrNotWanted is why no CA is asked for a name.
var ErrNotWanted = errors.New("no route has this name, and certs.names does not list it; only such names are ever requested")

func (m *Manager) isWanted(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted[name]
}

func revokedID(name string) string  { return "certificate-revoked:" + name }
func failedID(name string) string   { return "certificate-failed:" + name }
func expiringID(name string) string { return "certificate-expiring:" + name }

// days is how many whole days are left until t.
func days(now, t time.Time) int { return int(t.Sub(now) / (24 * time.Hour)) }

func daysText(n int) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}
