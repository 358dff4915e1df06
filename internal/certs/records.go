package certs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/dns/plan"
	"github.com/platformd/platformd/internal/state"
)

// recordsTime bounds reading and writing the records of one name.
const recordsTime = 2 * time.Minute

// Records is how the DNS records of a name differ from what it needs.
type Records struct {
	Name string
	// Provider has the zone; empty is nobody's, and the changes are to be made by hand.
	Provider string
	Changes  []order.Change
	// Odd lead elsewhere; they are among Changes only where replacing was asked for.
	Odd []order.Record
	// Unread: what is there could not be read, so that Changes are all that is needed.
	Unread string
}

// DNSWish is what is wanted of names.
type DNSWish struct {
	Names     []string
	Addresses []netip.Addr
	Replace   bool // also remove what leads elsewhere
	Remove    bool // take the names away from this host instead
}

// PlanDNS says what differs, and changes nothing.
func (m *Manager) PlanDNS(ctx context.Context, w DNSWish) ([]Records, error) {
	if len(w.Addresses) == 0 {
		return nil, errors.New("this host has no public address of its own; name the one that it is reached by with --address")
	}
	var out []Records
	for _, name := range w.Names {
		name = normal(name)
		if !state.HostName(strings.TrimPrefix(name, "*.")) {
			return nil, fmt.Errorf("name %q: is not the name of a host", name)
		}
		out = append(out, m.planName(ctx, name, w))
	}
	return out, nil
}

func (m *Manager) planName(ctx context.Context, name string, w DNSWish) Records {
	r := Records{Name: name}
	p, ok := m.cfg.Settings().Provider(name)
	var have []order.Record
	if ok {
		r.Provider = p.Name
		var err error
		if have, err = m.records(ctx, p, name, nil); err != nil {
			r.Unread = err.Error()
		}
	}
	if w.Remove {
		r.Changes = plan.Remove(have, name, w.Addresses)
		return r
	}
	r.Changes, r.Odd = plan.Diff(have, plan.Want(name, w.Addresses, m.issuers(ctx)), w.Replace)
	return r
}

// issuers are the words by which the CAs are known in CAA records; none where no CA may be asked.
func (m *Manager) issuers(ctx context.Context) (out []string) {
	s := m.cfg.Settings().WithDefaults()
	if s.Email == "" || !s.TermsAgreed {
		return nil
	}
	for _, ca := range s.CAs {
		res, err := m.cfg.Issuer.ACME(ctx, order.Job{Kind: order.Directory, Directory: ca.Directory, Root: ca.Root, Timeout: askTime}, nothing{})
		if err == nil && len(res.Issuers) > 0 && !slices.Contains(out, res.Issuers[0]) {
			out = append(out, res.Issuers[0])
		}
	}
	return out
}

// records makes changes and reads what the provider has of a name.
func (m *Manager) records(ctx context.Context, p state.DNSProvider, name string, changes []order.Change) ([]order.Record, error) {
	dns, err := m.provider(ctx, p)
	if err != nil {
		return nil, err
	}
	names := slices.Compact([]string{name, strings.TrimPrefix(name, "*.")})
	res, err := m.cfg.Issuer.ACME(ctx, order.Job{Kind: order.Records, Names: names, DNS: dns, Changes: changes, Timeout: recordsTime}, nothing{})
	if err != nil || res.Error != "" {
		return nil, orElse(err, res.Error)
	}
	return res.Records, nil
}

// ApplyDNS makes what PlanDNS says, name by name, and returns what it made. Names that nobody has a provider for are an error
// before anything is changed.
func (m *Manager) ApplyDNS(ctx context.Context, by activity.Record, w DNSWish) ([]Records, error) {
	list, err := m.PlanDNS(ctx, w)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range list {
		switch {
		case r.Provider == "":
			errs = append(errs, fmt.Errorf("%s: no provider in certs.dns has its zone; make the records by hand", r.Name))
		case r.Unread != "":
			errs = append(errs, fmt.Errorf("%s: what is there cannot be read: %s", r.Name, r.Unread))
		}
	}
	if len(errs) > 0 {
		return list, errors.Join(errs...)
	}
	for _, r := range list {
		if len(r.Changes) == 0 {
			continue
		}
		p, _ := m.cfg.Settings().Provider(r.Name)
		if _, err := m.records(ctx, p, r.Name, r.Changes); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Name, err))
			continue
		}
		by.Action, by.Object, by.Outcome = activity.DNSChanged, r.Name, activity.OK
		var text []string
		for _, c := range r.Changes {
			text = append(text, map[bool]string{true: "-", false: "+"}[c.Remove]+c.Record.Type+" "+c.Record.Value)
		}
		by.Message = "at " + r.Provider + ": " + strings.Join(text, ", ")
		m.cfg.Record(ctx, by)
	}
	return list, errors.Join(errs...)
}
