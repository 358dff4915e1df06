package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/platformd/platformd/internal/api/wire"
)

// The types of DNS records under the names that the host knows them by.
type (
	DNSPlan   = wire.DNSPlan
	DNSChange = wire.DNSChange
	DNSRecord = wire.DNSRecord
)

// DNSWish is what is asked of the records of names. No addresses are the public ones of the host.
type DNSWish struct {
	Names           []string
	Addresses       []netip.Addr
	Replace, Remove bool
}

// DNSHost is the part of Host that knows DNS providers.
type DNSHost interface {
	// PlanDNS says how records differ; ApplyDNS makes it so.
	PlanDNS(ctx context.Context, w DNSWish) ([]DNSPlan, error)
	ApplyDNS(ctx context.Context, by Caller, w DNSWish) ([]DNSPlan, error)
}

func (s *server) dnsRoutes() {
	route(s, http.MethodPost, "/dns/plan", "plan-dns", "Say which DNS records names need, and how what is there differs", func(ctx context.Context, in *struct{ Body wire.DNSRequest }) ([]DNSPlan, error) {
		w, err := dnsWish(in.Body)
		if err != nil {
			return nil, err
		}
		out, err := s.host.PlanDNS(ctx, w)
		return list(out), err
	})
	route(s, http.MethodPost, "/dns/apply", "apply-dns", "Create and remove the records at the DNS providers", func(ctx context.Context, in *struct{ Body wire.DNSRequest }) ([]DNSPlan, error) {
		w, err := dnsWish(in.Body)
		if err != nil {
			return nil, err
		}
		out, err := s.host.ApplyDNS(ctx, callerOf(ctx), w)
		return list(out), err
	})
}

func dnsWish(b wire.DNSRequest) (DNSWish, error) {
	w := DNSWish{Names: b.Names, Replace: b.Replace, Remove: b.Remove}
	var errs []error
	if len(b.Names) == 0 || len(b.Names) > 100 {
		errs = append(errs, errors.New("names: name 1 to 100"))
	}
	for _, s := range b.Addresses {
		a, err := parseAddress(s)
		if err != nil {
			errs = append(errs, err)
		}
		w.Addresses = append(w.Addresses, a)
	}
	return w, invalid(errs)
}
