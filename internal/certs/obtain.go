package certs

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/state"
)

// How long an order may take. A DNS record needs time to be seen everywhere.
const (
	orderTime    = 4 * time.Minute
	dnsOrderTime = 8 * time.Minute
)

// obtain asks the CAs for a name, in order, until one issues. Unless it is forced, those that failed wait for their time.
func (m *Manager) obtain(ctx context.Context, s state.Certs, name string, force bool) error {
	var errs []error
	for _, ca := range s.CAs {
		m.mu.Lock()
		a, failed := m.attempts[name][ca.Name]
		m.mu.Unlock()
		if !grantable(name, ca) || failed && !force && a.waits(m.cfg.Now()) {
			continue
		}
		c, res, err := m.orderFrom(ctx, s, ca, name)
		if err == nil && ctx.Err() == nil {
			if err = m.obtained(ctx, c, name); err == nil {
				return nil
			}
			// The next CA would not help; that this one is asked again later does.
			m.notObtained(ctx, ca, name, res, err)
			m.complain(name)
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err() // nobody's failure
		}
		m.notObtained(ctx, ca, name, res, err)
		errs = append(errs, fmt.Errorf("%s: %w", ca.Name, err))
	}
	if len(errs) == 0 {
		return errors.New("no CA can be asked for it now")
	}
	m.complain(name)
	return errors.Join(errs...)
}

func (m *Manager) obtained(ctx context.Context, c *issued, name string) error {
	if err := m.put(ctx, c.cert, c.pair); err != nil {
		return fmt.Errorf("it was issued, but cannot be stored: %w", err)
	}
	if err := m.cfg.Store.ForgetAttempts(ctx, name); err != nil {
		m.cfg.Log.Error("forget attempts", "name", name, "error", err)
	}
	m.mu.Lock()
	delete(m.attempts, name)
	m.mu.Unlock()
	m.cfg.Health.Clear(failedID(name))
	m.cfg.Health.Clear(revokedID(name))
	m.cfg.Record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.CertificateIssued, Object: name, Outcome: activity.OK,
		Message: fmt.Sprintf("by %s (%s), until %s", strings.TrimPrefix(c.cert.Source, ACME+":"), c.cert.Issuer, c.cert.Expires.UTC().Format(time.DateTime))})
	// Its own is of no use any more, and would come back as a surprise.
	m.mu.Lock()
	own := m.stored[name][SelfSigned]
	m.mu.Unlock()
	if own != nil {
		if err := m.drop(ctx, own); err != nil {
			m.cfg.Log.Error("remove certificate", "name", name, "error", err)
		}
	}
	return nil
}

// issued is a certificate that was checked, with its key.
type issued struct {
	cert *Certificate
	pair Pair
}

// orderFrom has one order with one CA.
func (m *Manager) orderFrom(ctx context.Context, s state.Certs, ca state.CA, name string) (*issued, order.Result, error) {
	none := order.Result{}
	job := order.Job{Kind: order.Issue, Directory: ca.Directory, Root: ca.Root, Email: s.Email, Profile: ca.Profile, Names: []string{name}, Timeout: orderTime}
	if !strings.HasPrefix(name, "*.") {
		job.Tries = slices.Clone(s.Challenges)
	}
	if p, ok := s.Provider(name); ok {
		dns, err := m.provider(ctx, p)
		if err != nil {
			return nil, none, err
		}
		job.DNS, job.Tries, job.Timeout = dns, append(job.Tries, order.DNS01), dnsOrderTime
	}
	if len(job.Tries) == 0 {
		return nil, none, fmt.Errorf("a wildcard needs a DNS provider: name one in certs.dns with a zone that %s is in", name)
	}
	if ca.EAB != (state.EAB{}) {
		secret, ok, err := m.cfg.Store.Secret(ctx, ca.EAB.Secret)
		if err == nil && !ok {
			err = fmt.Errorf("secret %q of certs.cas is not stored; store it with: platformctl certs secret set %s", ca.EAB.Secret, ca.EAB.Secret)
		}
		if err != nil {
			return nil, none, err
		}
		job.EABKID = ca.EAB.KID
		if job.EABKey, err = state.MACKey(string(secret)); err != nil {
			return nil, none, fmt.Errorf("secret %q is not a key in base64url, as a CA gives it", ca.EAB.Secret)
		}
	}
	account, err := m.cfg.Store.Account(ctx, ca.Directory)
	if err != nil {
		return nil, none, err
	}
	job.Account = account
	cache, err := m.newEntries(job)
	if err != nil {
		return nil, none, err
	}
	defer cache.clear()
	res, err := m.cfg.Issuer.ACME(ctx, job, cache)
	switch {
	case err != nil:
		return nil, none, err
	case res.Error != "":
		return nil, res, errors.New(res.Error)
	}
	got, err := cache.certificate()
	if err != nil {
		return nil, none, err
	}
	got.cert.Name, got.cert.Source, got.cert.Created = name, ACME+":"+ca.Name, m.cfg.Now()
	return got, res, nil
}

// provider is a DNS provider with its secret.
func (m *Manager) provider(ctx context.Context, p state.DNSProvider) (*order.Provider, error) {
	out := &order.Provider{Type: p.Type, Zones: p.Zones, Settings: p.Settings, Resolvers: p.Resolvers}
	if p.Secret == "" {
		return out, nil
	}
	secret, ok, err := m.cfg.Store.Secret(ctx, p.Secret)
	if err == nil && !ok {
		err = fmt.Errorf("secret %q of DNS provider %q is not stored; store it with: platformctl certs secret set %s", p.Secret, p.Name, p.Secret)
	}
	out.Secret = secret
	return out, err
}

// notObtained remembers a failure and when the next try is.
func (m *Manager) notObtained(ctx context.Context, ca state.CA, name string, res order.Result, err error) {
	now := m.cfg.Now()
	m.mu.Lock()
	a := m.attempts[name][ca.Name]
	if a.At.After(now.Add(skew)) {
		a = Attempt{} // before the clock was set back
	}
	news := a.Failures == 0 || a.Problem != res.Problem // the same each hour is no news
	a.Name, a.CA, a.At, a.Problem, a.Reason = name, ca.Name, now, res.Problem, order.Clean(err.Error())
	a.Failures++
	a.Next = now.Add(pause(a, res.RetryAfter))
	m.keepAttempt(a)
	m.mu.Unlock()
	if err := m.cfg.Store.PutAttempt(ctx, a); err != nil {
		m.cfg.Log.Error("store attempt", "name", name, "error", err)
	}
	if news {
		m.cfg.Record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.CertificateFailed, Object: name, Outcome: activity.Failed,
			Message: fmt.Sprintf("%s: %s; again after %s", ca.Name, a.Reason, a.Next.UTC().Format(time.DateTime))})
	}
}

// pause is how long to wait after a failure. A CA that cannot be reached is asked each hour at last; one that said no twice
// a day at last, because it counts what it refuses; one that says that it is asked too much, never sooner than it says.
func pause(a Attempt, retryAfter time.Duration) time.Duration {
	steps := []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour}
	d := steps[min(a.Failures, len(steps))-1]
	switch a.Problem {
	case order.Unreachable:
		d = min(d, time.Hour)
	case "rateLimited":
		d = max(d, time.Hour)
	}
	h := fnv.New32a()
	fmt.Fprint(h, a.Name, a.CA, a.Failures)
	d += scale(d/5, float64(h.Sum32())/(1<<32))
	return max(d, min(retryAfter, 7*24*time.Hour))
}

// complain says that a name has no certificate that it should have.
func (m *Manager) complain(name string) {
	now := m.cfg.Now()
	m.mu.Lock()
	var reasons []string
	var next time.Time
	remedy := ""
	for _, ca := range m.cfg.Settings().WithDefaults().CAs {
		a, ok := m.attempts[name][ca.Name]
		if !ok {
			continue
		}
		reasons = append(reasons, ca.Name+": "+a.Reason)
		if next.IsZero() || a.Next.Before(next) {
			next = a.Next
		}
		if remedy == "" {
			remedy = remedyFor(a.Problem, name)
		}
	}
	m.mu.Unlock()
	severity, have := health.Warning, "what is served is self-signed"
	if c := m.best(name, now); c != nil && c.Kind() != SelfSigned {
		have = "the one in use ends at " + c.Expires.UTC().Format(time.DateTime)
		if !c.Expires.After(now) {
			severity, have = health.Critical, "the one in use has ended"
		}
	}
	m.cfg.Health.Set(health.Condition{ID: failedID(name), Severity: severity, Remedy: remedy,
		Message: fmt.Sprintf("no new certificate for %s (%s): %s; tried again at %s", name, have, strings.Join(reasons, "; "), next.UTC().Format(time.DateTime))})
}

// remedyFor says what an operator can do about a kind of problem (RFC 8555, section 6.7).
func remedyFor(problem, name string) string {
	switch problem {
	case "rateLimited":
		return "nothing: the CA is asked again when it allows it; a second CA in certs.cas would be asked meanwhile"
	case "caa":
		return "the CAA records of " + name + " forbid this CA: allow it there, or ask another one in certs.cas"
	case "dns":
		return "create the A and AAAA records of " + name + " for this host, or correct them; then: platformctl certs renew " + name
	case "connection", "unauthorized", "tls", "incorrectResponse":
		return "the CA must reach this host by " + name + " on ports 80 and 443: look at its A and AAAA records and at what is in front of it; then: platformctl certs test " + name
	case "rejectedIdentifier":
		return "this CA does not issue for " + name + ": ask another one in certs.cas, or import a certificate"
	case "externalAccountRequired":
		return "the CA wants an account that exists elsewhere: give eab for it in certs.cas"
	case "userActionRequired":
		return "the CA wants something of you first: read what it says"
	case order.Unreachable:
		return "the CA does not answer: it is asked each hour; look at this host's way to the internet, or name a second CA in certs.cas"
	}
	return "platformctl certs test " + name
}
