package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// How a new record is waited for.
const (
	seenWithin = 3 * time.Minute
	askEvery   = time.Second
	askTime    = 5 * time.Second
)

// wait returns when every server that is asked answers with the text, or says which does not.
func (z *Zone) wait(ctx context.Context, zone, name, text string) error {
	ctx, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	servers, err := z.servers(ctx, zone)
	if err != nil {
		return err
	}
	for {
		var missing []string
		for _, s := range servers {
			if !sees(ctx, s, name, text) {
				missing = append(missing, s)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return fmt.Errorf("record %s was created, but %s does not answer with it", name, strings.Join(missing, ", "))
		}
	}
}

// servers are those that the operator named, the one that takes updates, or those that have the zone.
func (z *Zone) servers(ctx context.Context, zone string) ([]string, error) {
	if len(z.cfg.Resolvers) > 0 {
		return z.cfg.Resolvers, nil
	}
	if z.cfg.Type == "rfc2136" {
		return []string{z.cfg.Settings["server"]}, nil
	}
	list, err := net.DefaultResolver.LookupNS(ctx, zone)
	if err != nil {
		return nil, fmt.Errorf("look for the servers of zone %s: %w", zone, err)
	}
	var out []string
	for _, ns := range list {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", ns.Host)
		if err != nil || len(addrs) == 0 {
			continue
		}
		// One address of each; IPv4 where there is one, as a host without IPv6 cannot ask the other.
		slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
		out = append(out, netip.AddrPortFrom(addrs[0].Unmap(), 53).String())
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("zone %s: none of its servers has an address", zone)
	}
	return out, nil
}

// sees reports whether a server answers with the text.
func sees(ctx context.Context, server, name, text string) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), dns.TypeTXT)
	q.SetEdns0(1232, false)
	c := &dns.Client{Net: "udp"}
	resp, _, err := c.ExchangeContext(ctx, q, server)
	if err == nil && resp.Truncated {
		c.Net = "tcp"
		resp, _, err = c.ExchangeContext(ctx, q, server)
	}
	if err != nil {
		return false
	}
	return slices.ContainsFunc(resp.Answer, func(rr dns.RR) bool {
		t, ok := rr.(*dns.TXT)
		return ok && strings.Join(t.Txt, "") == text
	})
}
