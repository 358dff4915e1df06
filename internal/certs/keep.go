package certs

import (
	"context"
	"time"
)

// tidy removes certificates that nobody wants any more, after a while.
func (m *Manager) tidy(ctx context.Context, now time.Time) {
	m.mu.Lock()
	var gone []*Certificate
	for name, kinds := range m.stored {
		for kind, c := range kinds {
			if !m.wanted[name] && (kind == SelfSigned || kind == ACME && c.Expires.Add(keepExpired).Before(now)) {
				gone = append(gone, c)
			}
		}
	}
	for name := range m.attempts {
		if !m.wanted[name] {
			gone = append(gone, &Certificate{Name: name})
		}
	}
	m.mu.Unlock()
	for _, c := range gone {
		if err := m.drop(ctx, c); err != nil && ctx.Err() == nil {
			m.cfg.Log.Error("remove certificate", "name", c.Name, "error", err)
		}
	}
}

// drop forgets a certificate, or only the failures of a name.
func (m *Manager) drop(ctx context.Context, c *Certificate) error {
	var err error
	if c.Source != "" {
		_, err = m.cfg.Store.Remove(ctx, c.Name, c.Kind())
	} else {
		err = m.cfg.Store.ForgetAttempts(ctx, c.Name)
		m.cfg.Health.Clear(failedID(c.Name))
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Source == "" {
		delete(m.attempts, c.Name)
		return nil
	}
	if have := m.stored[c.Name][c.Kind()]; have != nil && have.Fingerprint == c.Fingerprint {
		delete(m.stored[c.Name], c.Kind())
		delete(m.pairs, c.Fingerprint)
		delete(m.staples, c.Fingerprint)
		m.cfg.Health.Clear(revokedID(c.Name))
	}
	return nil
}

// put keeps a certificate, on disk first, and tells who serves it.
func (m *Manager) put(ctx context.Context, c *Certificate, p Pair) error {
	if err := m.cfg.Store.Put(ctx, c, p.Key); err != nil {
		return err
	}
	m.mu.Lock()
	if old := m.stored[c.Name][c.Kind()]; old != nil {
		delete(m.pairs, old.Fingerprint)
		delete(m.staples, old.Fingerprint)
	}
	m.keep(c)
	m.mu.Unlock()
	m.cfg.Changed([]string{c.Name})
	return nil
}

// ensureSelfSigned gives a name that has nothing, or only an old one, a certificate of our own.
func (m *Manager) ensureSelfSigned(ctx context.Context, name string, now time.Time) error {
	m.mu.Lock()
	have := m.stored[name][SelfSigned]
	m.mu.Unlock()
	if best := m.best(name, now); best != nil && best.Kind() != SelfSigned {
		return nil
	}
	if have != nil && have.Expires.Sub(now) > renewBefore {
		return nil
	}
	_, err, _ := m.load.Do("self-signed "+name, func() (any, error) {
		p, c, err := selfSigned(name, now)
		if err != nil {
			return nil, err
		}
		return nil, m.put(ctx, c, p)
	})
	return err
}
