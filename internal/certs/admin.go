package certs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/state"
)

// ErrNotFound: there is no such certificate.
var ErrNotFound = errors.New("there is no such certificate; platformctl certs list shows them")

// Status is what there is to know about one name.
type Status struct {
	*Certificate
	// InUse: it is what is served for its name. Wanted: a route or the document has the name.
	InUse, Wanted bool
	// RenewAt is when it will be renewed, zero where it will not be.
	RenewAt time.Time
	// Attempts failed last.
	Attempts []Attempt
}

// List is every certificate, by name, what is in use first.
func (m *Manager) List() []Status {
	s, now := m.cfg.Settings().WithDefaults(), m.cfg.Now()
	m.mu.Lock()
	var all []*Certificate
	for _, kinds := range m.stored {
		for _, c := range kinds {
			all = append(all, c)
		}
	}
	m.mu.Unlock()
	var out []Status
	for _, c := range all {
		best := m.best(c.Name, now)
		st := Status{Certificate: c, InUse: best != nil && best.Fingerprint == c.Fingerprint, Wanted: m.isWanted(c.Name)}
		if at, ok := m.nextOrder(s, c.Name, now); ok && st.Wanted && c.Kind() != Imported && s.Email != "" && s.TermsAgreed {
			st.RenewAt = at
		}
		m.mu.Lock()
		for _, a := range m.attempts[c.Name] {
			st.Attempts = append(st.Attempts, a)
		}
		m.mu.Unlock()
		slices.SortFunc(st.Attempts, func(a, b Attempt) int { return strings.Compare(a.CA, b.CA) })
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Status) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		if a.InUse != b.InUse {
			if a.InUse {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Source, b.Source)
	})
	return out
}

// Import takes a pair of the operator's into use for a name. With dryRun it only checks.
func (m *Manager) Import(ctx context.Context, by activity.Record, name string, cert, key []byte, password string, dryRun bool) (*Certificate, error) {
	name = normal(name)
	p, c, err := ReadImport(name, cert, key, password, m.cfg.Now())
	if err != nil || dryRun {
		return c, err
	}
	if err := m.put(ctx, c, p); err != nil {
		return nil, err
	}
	by.Action, by.Object, by.Outcome = activity.CertificateImported, name, activity.OK
	by.Message = fmt.Sprintf("issued by %s, until %s", c.Issuer, c.Expires.UTC().Format(time.DateTime))
	m.cfg.Record(ctx, by)
	m.Wake()
	return c, nil
}

// Remove forgets the certificate of a name and kind; without a kind, the one that is in use. A wanted name has a
// self-signed one at once, and a CA is asked where that is allowed.
func (m *Manager) Remove(ctx context.Context, by activity.Record, name, kind string, dryRun bool) (*Certificate, error) {
	name = normal(name)
	m.mu.Lock()
	c := m.stored[name][kind]
	for _, k := range []string{Imported, ACME, SelfSigned} {
		if c == nil && kind == "" {
			c = m.stored[name][k]
		}
	}
	m.mu.Unlock()
	if c == nil {
		return nil, fmt.Errorf("certificate %s: %w", name, ErrNotFound)
	}
	if dryRun {
		return c, nil
	}
	if err := m.drop(ctx, c); err != nil {
		return nil, err
	}
	by.Action, by.Object, by.Outcome, by.Message = activity.CertificateRemoved, name, activity.OK, "was "+c.Source
	m.cfg.Record(ctx, by)
	m.cfg.Changed([]string{name})
	m.Wake()
	return c, nil
}

// Renew asks for a name now, whatever is due, and returns when that came to an end. Only what a CA forbids by saying that
// it is asked too much holds it up, unless it is forced.
func (m *Manager) Renew(ctx context.Context, name string, force bool) (*Certificate, error) {
	name = normal(name)
	s := m.cfg.Settings().WithDefaults()
	m.setWanted()
	switch {
	case !m.isWanted(name):
		return nil, fmt.Errorf("certificate %s: %w", name, ErrNotWanted)
	case s.Email == "" || !s.TermsAgreed:
		return nil, fmt.Errorf("certificate %s: no CA is asked without an e-mail address and the agreement to its terms; platformctl certs setup --email ADDRESS --agree", name)
	}
	m.mu.Lock()
	for _, a := range m.attempts[name] {
		if a.Problem == "rateLimited" && a.waits(m.cfg.Now()) && !force {
			m.mu.Unlock()
			return nil, fmt.Errorf("certificate %s: %s says that it is asked too much, until %s; wait, or use --force", name, a.CA, a.Next.UTC().Format(time.DateTime))
		}
	}
	m.mu.Unlock()
	var err error
	done := m.start(ctx, name, func(ctx context.Context) { err = m.obtain(ctx, s, name, true) })
	select {
	case <-done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.stored[name][ACME]; err == nil && c != nil && len(m.attempts[name]) == 0 {
		return c, nil
	}
	if err == nil { // it was an order that was under way already
		for _, a := range m.attempts[name] {
			err = errors.Join(err, fmt.Errorf("%s: %s", a.CA, a.Reason))
		}
	}
	return nil, fmt.Errorf("certificate %s: %w", name, err)
}

// Check is one thing that Test looked at.
type Check struct {
	Name    string
	OK      bool
	Message string
	Remedy  string
}

// Test looks at everything that an order for a name needs, without making one.
func (m *Manager) Test(ctx context.Context, name string) []Check {
	name = normal(name)
	s := m.cfg.Settings().WithDefaults()
	m.setWanted()
	var out []Check
	add := func(what string, ok bool, message, remedy string) {
		if ok {
			remedy = ""
		}
		out = append(out, Check{what, ok, message, remedy})
	}
	allowed := s.Email != "" && s.TermsAgreed
	add("name", m.isWanted(name), pick(m.isWanted(name), name+" is wanted", ErrNotWanted.Error()), "add a route for it, or put it into certs.names")
	add("account", allowed, pick(allowed, "e-mail address and agreement are there", "no CA is asked without an e-mail address and the agreement to its terms"), "platformctl certs setup --email ADDRESS --agree")
	p, hasDNS := s.Provider(name)
	if hasDNS {
		_, err := m.provider(ctx, p)
		add("dns", err == nil, pick(err == nil, "DNS provider "+p.Name+" has the zone", errText(err)), "store the secret that certs.dns names")
	} else if strings.HasPrefix(name, "*.") {
		add("dns", false, "a wildcard needs a DNS provider", "name one in certs.dns with a zone that "+name+" is in")
	}
	for _, ca := range s.CAs {
		switch {
		case !grantable(name, ca):
			add("ca "+ca.Name, false, "a public CA does not issue for "+name, "import a certificate, or give a private CA with its root in certs.cas")
		case !allowed:
		default:
			res, err := m.cfg.Issuer.ACME(ctx, order.Job{Kind: order.Directory, Directory: ca.Directory, Root: ca.Root, Timeout: askTime}, nothing{})
			switch {
			case err != nil || res.Error != "":
				add("ca "+ca.Name, false, orElse(err, res.Error).Error(), remedyFor(order.Unreachable, name))
			case res.NeedsEAB && ca.EAB == (state.EAB{}):
				add("ca "+ca.Name, false, "the CA wants an account that exists elsewhere", remedyFor("externalAccountRequired", name))
			case ca.Profile != "" && !slices.Contains(res.Profiles, ca.Profile):
				add("ca "+ca.Name, false, fmt.Sprintf("the CA has no profile %q", ca.Profile), "choose one of: "+strings.Join(res.Profiles, ", "))
			default:
				add("ca "+ca.Name, true, "answers at "+ca.Directory, "")
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.attempts[name] {
		add("last order", false, fmt.Sprintf("%s: %s; again after %s", a.CA, a.Reason, a.Next.UTC().Format(time.DateTime)), remedyFor(a.Problem, name))
	}
	return out
}

// SetSecret stores a secret, and has what waits for it tried again.
func (m *Manager) SetSecret(ctx context.Context, by activity.Record, name string, value Secret) error {
	if !state.Label(name) {
		return fmt.Errorf("secret %q: its name has 1 to 32 lower-case letters, digits and dashes", name)
	}
	if len(value) == 0 || len(value) > 8<<10 {
		return fmt.Errorf("secret %q: has %d bytes; it must have 1 to %d", name, len(value), 8<<10)
	}
	if err := m.cfg.Store.SetSecret(ctx, name, value); err != nil {
		return err
	}
	by.Action, by.Object, by.Outcome = activity.SecretStored, name, activity.OK
	m.cfg.Record(ctx, by)
	m.Wake()
	return nil
}

// RemoveSecret forgets a secret.
func (m *Manager) RemoveSecret(ctx context.Context, by activity.Record, name string) error {
	was, err := m.cfg.Store.RemoveSecret(ctx, name)
	if err == nil && !was {
		err = fmt.Errorf("secret %q: %w", name, ErrNoSecret)
	}
	if err != nil {
		return err
	}
	by.Action, by.Object, by.Outcome = activity.SecretRemoved, name, activity.OK
	m.cfg.Record(ctx, by)
	return nil
}

// ErrNoSecret: there is no such secret.
var ErrNoSecret = errors.New("is not stored; platformctl certs secret list shows those that are")

func pick(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
