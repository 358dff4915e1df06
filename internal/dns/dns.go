// Package dns writes records of zones by the providers that have them, and waits until the world can see them.
//
// A Zone is one provider with its secret. Present puts up the record of a dns-01 challenge and returns when the servers that
// are asked for it answer with it; Change and Records are for the records that a domain needs.
//
// It talks to strangers and runs what an operator gave it, so it is used only in a process that has nothing to lose. It
// keeps nothing. Providers are those of libdns, in one table; "exec" is a program of the operator's.
package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libdns/cloudflare"
	"github.com/libdns/digitalocean"
	"github.com/libdns/hetzner"
	"github.com/libdns/libdns"
	"github.com/libdns/rfc2136"
	"github.com/libdns/route53"

	"github.com/platformd/platformd/internal/certs/order"
)

// provider is what is needed of one.
type provider interface {
	libdns.RecordAppender
	libdns.RecordDeleter
}

// challengeTTL is how long the record of a challenge may be kept by who asked for it.
const challengeTTL = time.Minute

// Zone is one provider, ready to be used.
type Zone struct {
	cfg      order.Provider
	provider provider
}

// Open makes a provider of its settings.
func Open(cfg order.Provider) (*Zone, error) {
	z := &Zone{cfg: cfg}
	secret := strings.TrimSpace(string(cfg.Secret))
	set := cfg.Settings
	switch cfg.Type {
	case "rfc2136":
		alg := set["key_alg"]
		if alg == "" {
			alg = "hmac-sha256"
		}
		z.provider = &rfc2136.Provider{Server: set["server"], KeyName: set["key_name"], KeyAlg: alg, Key: secret}
	case "cloudflare":
		z.provider = &cloudflare.Provider{APIToken: secret}
	case "route53":
		region := set["region"]
		if region == "" {
			region = "us-east-1"
		}
		z.provider = &route53.Provider{Region: region, AccessKeyId: set["access_key_id"], SecretAccessKey: secret}
	case "digitalocean":
		z.provider = &digitalocean.Provider{APIToken: secret}
	case "hetzner":
		z.provider = hetzner.New(secret)
	case "exec":
		z.provider = &program{path: set["program"], secret: cfg.Secret}
	default:
		return nil, fmt.Errorf("DNS provider type %q is unknown", order.Clean(cfg.Type))
	}
	return z, nil
}

// zoneOf is the longest zone of the provider that a name is in.
func (z *Zone) zoneOf(name string) (string, error) {
	best := ""
	for _, zone := range z.cfg.Zones {
		if (name == zone || strings.HasSuffix(name, "."+zone)) && len(zone) > len(best) {
			best = zone
		}
	}
	if best == "" {
		return "", fmt.Errorf("%s is in none of the provider's zones (%s)", name, strings.Join(z.cfg.Zones, ", "))
	}
	return best, nil
}

// Present puts up a TXT record and waits until it can be seen. down removes it; it is to be called in any case.
func (z *Zone) Present(ctx context.Context, name, text string) (down func(context.Context) error, err error) {
	zone, err := z.zoneOf(name)
	if err != nil {
		return nil, err
	}
	rec := libdns.TXT{Name: libdns.RelativeName(name+".", zone+"."), TTL: challengeTTL, Text: text}
	made, err := z.provider.AppendRecords(ctx, zone+".", []libdns.Record{rec})
	if err != nil {
		return nil, fmt.Errorf("create record %s: %w", name, z.safe(err))
	}
	if len(made) == 0 { // some providers say nothing of what they made
		made = []libdns.Record{rec}
	}
	down = func(ctx context.Context) error {
		if _, err := z.provider.DeleteRecords(ctx, zone+".", made); err != nil {
			return fmt.Errorf("remove record %s: %w", name, z.safe(err))
		}
		return nil
	}
	if err := z.wait(ctx, zone, name, text); err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return nil, errors.Join(err, down(end))
	}
	return down, nil
}

// safe is an error without the secret, whatever a provider put into it.
func (z *Zone) safe(err error) error {
	if s := strings.TrimSpace(string(z.cfg.Secret)); len(s) >= 4 && strings.Contains(err.Error(), s) {
		return errors.New(strings.ReplaceAll(err.Error(), s, "[redacted]"))
	}
	return err
}

// Change creates and removes records, in order.
func (z *Zone) Change(ctx context.Context, changes []order.Change) error {
	for _, c := range changes {
		zone, err := z.zoneOf(c.Record.Name)
		if err != nil {
			return err
		}
		ttl := c.Record.TTL
		if ttl <= 0 {
			ttl = time.Hour
		}
		rec, err := libdns.RR{Name: libdns.RelativeName(c.Record.Name+".", zone+"."), Type: c.Record.Type, Data: c.Record.Value, TTL: ttl}.Parse()
		if err != nil {
			return fmt.Errorf("record %s %s %q: %w", c.Record.Name, c.Record.Type, c.Record.Value, err)
		}
		do := z.provider.AppendRecords
		if c.Remove {
			do = z.provider.DeleteRecords
		}
		if _, err := do(ctx, zone+".", []libdns.Record{rec}); err != nil {
			return fmt.Errorf("record %s %s %q: %w", c.Record.Name, c.Record.Type, c.Record.Value, z.safe(err))
		}
	}
	return nil
}

// Records is what the provider has of the names; a provider that cannot be read is asked by DNS.
func (z *Zone) Records(ctx context.Context, names []string) ([]order.Record, error) {
	getter, ok := z.provider.(libdns.RecordGetter)
	if !ok {
		return nil, errors.New("this type of DNS provider cannot list records")
	}
	var out []order.Record
	var read []string
	for _, name := range names {
		zone, err := z.zoneOf(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(read, zone) {
			continue
		}
		read = append(read, zone)
		list, err := getter.GetRecords(ctx, zone+".")
		if err != nil {
			return nil, fmt.Errorf("read zone %s: %w", zone, z.safe(err))
		}
		for _, r := range list {
			rr := r.RR()
			full := strings.TrimSuffix(libdns.AbsoluteName(rr.Name, zone+"."), ".")
			if slices.Contains(names, full) {
				out = append(out, order.Record{Name: full, Type: rr.Type, Value: rr.Data, TTL: rr.TTL})
			}
		}
	}
	return out, nil
}
