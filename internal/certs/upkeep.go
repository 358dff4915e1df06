package certs

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/state"
)

// askTime bounds one question about a certificate.
const askTime = time.Minute

// upkeep asks about a certificate in use what may change while it lasts: when its CA wants it to be renewed, and whether
// it is revoked. Nothing depends on an answer.
func (m *Manager) upkeep(ctx context.Context, s state.Certs, c *Certificate, now time.Time) {
	if c.Kind() == SelfSigned {
		return
	}
	m.mu.Lock()
	last, asked := m.upkept[c.Fingerprint]
	due := !asked || now.Sub(last) >= lookEvery-time.Minute || last.After(now)
	if due {
		m.upkept[c.Fingerprint] = now
	}
	m.mu.Unlock()
	if !due {
		return
	}
	m.start(ctx, "upkeep "+c.Fingerprint, func(ctx context.Context) {
		if err := m.askWindow(ctx, s, c); err != nil && ctx.Err() == nil {
			m.cfg.Log.Info("ask when to renew a certificate", "name", c.Name, "error", err)
		}
		if err := m.askStaple(ctx, c); err != nil && ctx.Err() == nil {
			m.cfg.Log.Info("ask whether a certificate is revoked", "name", c.Name, "error", err)
		}
	})
}

func (m *Manager) askWindow(ctx context.Context, s state.Certs, c *Certificate) error {
	for _, ca := range s.CAs {
		if c.Source != ACME+":"+ca.Name {
			continue
		}
		res, err := m.cfg.Issuer.ACME(ctx, order.Job{Kind: order.Renewal, Directory: ca.Directory, Root: ca.Root, Chain: c.Chain, Timeout: askTime}, nothing{})
		if err != nil || res.Error != "" {
			return orElse(err, res.Error)
		}
		return m.setWindow(ctx, c, Window{Start: res.Start, End: res.End})
	}
	return nil
}

// setWindow remembers when a certificate should be renewed, if it is still the one in question.
func (m *Manager) setWindow(ctx context.Context, c *Certificate, w Window) error {
	m.mu.Lock()
	have := m.stored[c.Name][ACME]
	same := have == nil || have.Fingerprint != c.Fingerprint || have.Window.Start.Equal(w.Start) && have.Window.End.Equal(w.End)
	if !same {
		next := *have // readers hold the old one
		next.Window = w
		m.stored[c.Name][ACME] = &next
	}
	m.mu.Unlock()
	if same {
		return nil
	}
	return m.cfg.Store.SetWindow(ctx, c.Name, w)
}

func (m *Manager) askStaple(ctx context.Context, c *Certificate) error {
	chain, err := parseChain(c.Chain)
	if err != nil || len(chain) < 2 || len(chain[0].OCSPServer) == 0 {
		return err
	}
	res, err := m.cfg.Issuer.ACME(ctx, order.Job{Kind: order.Staple, Chain: c.Chain, Timeout: askTime}, nothing{})
	if err != nil || res.Error != "" {
		return orElse(err, res.Error)
	}
	if len(res.Staple) == 0 {
		return nil
	}
	// Signed by the issuer, or it is not handed out: a wrong one would make clients refuse.
	answer, err := ocsp.ParseResponseForCert(res.Staple, chain[0], chain[1])
	if err != nil {
		return fmt.Errorf("answer of the responder: %s", order.Clean(err.Error()))
	}
	if answer.Status == ocsp.Revoked {
		remedy := "it is replaced by itself; or now: platformctl certs renew " + c.Name
		if c.Kind() == Imported {
			remedy = "import its successor: platformctl certs import " + c.Name + " CERT KEY"
		}
		m.cfg.Health.Set(health.Condition{ID: revokedID(c.Name), Severity: health.Critical, Message: "the certificate of " + c.Name + " is revoked by its CA", Remedy: remedy})
		now := m.cfg.Now()
		return m.setWindow(ctx, c, Window{Start: now.Add(-time.Second), End: now})
	}
	m.cfg.Health.Clear(revokedID(c.Name))
	m.mu.Lock()
	m.staples[c.Fingerprint] = res.Staple
	m.mu.Unlock()
	m.cfg.Changed([]string{c.Name})
	return nil
}

func orElse(err error, text string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", text)
}

// nothing is the cache of a job that needs none.
type nothing struct{}

func (nothing) Get(context.Context, string) ([]byte, error) { return nil, order.ErrMiss }
func (nothing) Put(context.Context, string, []byte) error   { return errNoEntry }
func (nothing) Delete(context.Context, string) error        { return nil }

var errNoEntry = fmt.Errorf("this job keeps nothing")

// notice says which certificates in use end soon, once for each of 21, 14 and 7 days.
func (m *Manager) notice(ctx context.Context, names []string, now time.Time) {
	said := map[string]bool{}
	for _, c := range m.inUse(names) {
		left := days(now, c.Expires)
		// A short-lived one is meant to end soon, and is renewed in its last third.
		short := c.Kind() == ACME && now.Before(renewAt(c).Add(c.Expires.Sub(c.NotBefore)/10))
		if c.Kind() == SelfSigned || left > 21 || short {
			continue
		}
		said[c.Name] = true
		step, severity := 21, health.Warning
		switch {
		case left <= 7:
			step, severity = 7, health.Critical
		case left <= 14:
			step = 14
		}
		text := fmt.Sprintf("the certificate of %s ends in %s, at %s", c.Name, daysText(left), c.Expires.UTC().Format(time.DateTime))
		if !c.Expires.After(now) {
			step, text = 0, fmt.Sprintf("the certificate of %s has ended at %s", c.Name, c.Expires.UTC().Format(time.DateTime))
		}
		remedy := "platformctl certs test " + c.Name
		if c.Kind() == Imported {
			remedy = "import its successor: platformctl certs import " + c.Name + " CERT KEY; or remove it, so that a CA is asked: platformctl certs remove " + c.Name
		}
		m.cfg.Health.Set(health.Condition{ID: expiringID(c.Name), Severity: severity, Message: text, Remedy: remedy})
		m.mu.Lock()
		last, before := m.noticed[c.Name+c.Fingerprint]
		m.noticed[c.Name+c.Fingerprint] = step
		m.mu.Unlock()
		if !before || step < last {
			m.cfg.Record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.CertificateExpiring, Object: c.Name, Outcome: activity.OK, Message: text})
		}
	}
	m.mu.Lock()
	was := m.expiring
	m.expiring = said
	m.mu.Unlock()
	for name := range was {
		if !said[name] {
			m.cfg.Health.Clear(expiringID(name))
		}
	}
}
