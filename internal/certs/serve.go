package certs

import (
	"context"
	"fmt"
	"time"
)

// maxOpened is how many pairs are kept open in memory.
const maxOpened = 4096

// Served is what a handshake needs.
type Served struct {
	Pair
	// Name is that of the certificate: what was asked for, its wildcard, or empty for a name that nobody wants.
	Name, Source, Fingerprint string
	Expires                   time.Time
	// Staple is the answer of the certificate's OCSP responder, where there is one.
	Staple []byte
}

// strangers is the name in the certificate for names that nobody wants.
const strangers = "platform.invalid"

// Certificate is the best pair for a name: imported or issued before self-signed, exact before wildcard. A wanted name has
// one at once. All names that nobody wants share one, which is made once, is never stored, and names none of them; they
// never reach the database. Calls for one name at the same time do the work once.
func (m *Manager) Certificate(name string) (*Served, error) {
	name = normal(name)
	now := m.cfg.Now()
	c := m.best(name, now)
	if c == nil {
		wanted := name
		if !m.isWanted(name) {
			wanted = wildcardOf(name)
		}
		if !m.isWanted(wanted) {
			return m.forStranger(now)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.ensureSelfSigned(ctx, wanted, now); err != nil {
			return nil, err
		}
		if c = m.best(name, now); c == nil {
			return nil, fmt.Errorf("certificate for %s: is not there", name)
		}
	}
	p, err := m.opened(c)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Served{Pair: *p, Name: c.Name, Source: c.Source, Fingerprint: c.Fingerprint, Expires: c.Expires, Staple: m.staples[c.Fingerprint]}, nil
}

// best is the certificate that is served for a name, nil where there is none.
func (m *Manager) best(name string, now time.Time) *Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	var best *Certificate
	most := 0
	for i, n := range []string{name, wildcardOf(name)} {
		for kind, c := range m.stored[n] {
			if !c.Covers(name) {
				continue
			}
			rank := map[string]int{Imported: 5, ACME: 3, SelfSigned: 1}[kind]
			if c.Expires.After(now) && kind != SelfSigned {
				rank += 10 // an old one is still more than one that nobody knows
			}
			if rank = 2*rank - i; rank > most {
				best, most = c, rank
			}
		}
	}
	return best
}

// opened is the pair of a certificate, with its key.
func (m *Manager) opened(c *Certificate) (*Pair, error) {
	m.mu.Lock()
	p := m.pairs[c.Fingerprint]
	m.mu.Unlock()
	if p != nil {
		return p, nil
	}
	v, err, _ := m.load.Do("open "+c.Fingerprint, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		key, err := m.cfg.Store.Key(ctx, c.Name, c.Kind())
		if err != nil {
			return nil, err
		}
		p := &Pair{Chain: c.Chain, Key: key}
		m.mu.Lock()
		defer m.mu.Unlock()
		for old := range m.pairs {
			if len(m.pairs) < maxOpened {
				break
			}
			delete(m.pairs, old)
		}
		m.pairs[c.Fingerprint] = p
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Pair), nil
}

func (m *Manager) forStranger(now time.Time) (*Served, error) {
	m.mu.Lock()
	p := m.stranger
	m.mu.Unlock()
	if p == nil {
		v, err, _ := m.load.Do("stranger", func() (any, error) {
			p, _, err := selfSigned(strangers, now)
			if err != nil {
				return nil, err
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.stranger = &p
			return &p, nil
		})
		if err != nil {
			return nil, err
		}
		p = v.(*Pair)
	}
	return &Served{Pair: *p, Source: SelfSigned}, nil
}

// inUse are the certificates that are served for names.
func (m *Manager) inUse(names []string) []*Certificate {
	now := m.cfg.Now()
	var out []*Certificate
	seen := map[string]bool{}
	for _, n := range names {
		if c := m.best(n, now); c != nil && !seen[c.Name] {
			seen[c.Name] = true
			out = append(out, c)
		}
	}
	return out
}
