package daemon

import (
	"context"
	"fmt"

	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/certs"
	"github.com/platformd/platformd/internal/certs/order"
	"github.com/platformd/platformd/internal/dns/plan"
)

func (d *Daemon) dnsWish(w api.DNSWish) certs.DNSWish {
	out := certs.DNSWish{Names: w.Names, Addresses: w.Addresses, Replace: w.Replace, Remove: w.Remove}
	if len(out.Addresses) == 0 {
		out.Addresses = plan.Public(d.addresses())
	}
	return out
}

// PlanDNS implements api.Host.
func (d *Daemon) PlanDNS(ctx context.Context, w api.DNSWish) ([]api.DNSPlan, error) {
	list, err := d.certs.PlanDNS(ctx, d.dnsWish(w))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return wirePlans(list), nil
}

// ApplyDNS implements api.Host.
func (d *Daemon) ApplyDNS(ctx context.Context, caller api.Caller, w api.DNSWish) ([]api.DNSPlan, error) {
	list, err := d.certs.ApplyDNS(ctx, by(caller), d.dnsWish(w))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return wirePlans(list), nil
}

func wirePlans(list []certs.Records) []api.DNSPlan {
	out := []api.DNSPlan{}
	for _, r := range list {
		p := api.DNSPlan{Name: r.Name, Provider: r.Provider, Unread: r.Unread, Changes: []api.DNSChange{}}
		for _, c := range r.Changes {
			p.Changes = append(p.Changes, api.DNSChange{Remove: c.Remove, Record: wireRecord(c.Record)})
		}
		for _, o := range r.Odd {
			p.Odd = append(p.Odd, wireRecord(o))
		}
		out = append(out, p)
	}
	return out
}

func wireRecord(r order.Record) api.DNSRecord {
	return api.DNSRecord{Name: r.Name, Type: r.Type, Value: r.Value}
}
