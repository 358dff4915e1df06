package apps

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/platformd/platformd/proxy/field"
)

var (
	domainForm  = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	imageIDForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var e field.Errors
	c.validatePools(&e)
	for i, r := range c.Resolvers {
		if _, err := ParseResolver(r); err != nil {
			e.Add(field.Index("resolvers", i), "%q is not an address; write for example 192.0.2.53 or [2001:db8::53]:5353", r)
		}
	}
	names, domains, numbers := map[string]bool{}, map[string]string{}, map[int]string{}
	ports := map[string]string{}
	for i := range c.Apps {
		a, at := &c.Apps[i], field.Index("apps", i)
		e.Join(at, a.Validate())
		if names[a.Name] {
			e.Add(at+".name", "there is another app %q", a.Name)
		}
		names[a.Name] = true
		if other := domains[a.Domain]; other != "" && a.Domain != "" {
			e.Add(at+".domain", "%s is that of app %q already; choose another, or remove it", a.Domain, other)
		}
		domains[a.Domain] = a.Name
		if a.Network < 1 || a.Network > c.MostApps() {
			e.Add(at+".network", "%d is not in the address plan, which has 1 to %d", a.Network, c.MostApps())
		} else if other := numbers[a.Network]; other != "" {
			e.Add(at+".network", "%d is that of app %q already", a.Network, other)
		}
		numbers[a.Network] = a.Name
		c.validatePublished(&e, at, a, ports)
	}
	return e.Err()
}

func (c *Config) validatePools(e *field.Errors) {
	if p, err := netip.ParsePrefix(c.pool4()); err != nil || !p.Addr().Is4() || p.Bits() < 8 || p.Bits() > 24 || !p.Addr().IsPrivate() {
		e.Add("pool4", "%q is not a private IPv4 range of /8 to /24; write for example %s", c.Pool4, DefaultPool4)
	}
	if p, err := netip.ParsePrefix(c.pool6()); err != nil || !p.Addr().Is6() || p.Bits() > 48 || !p.Addr().IsPrivate() {
		e.Add("pool6", "%q is not a range of unique local addresses (RFC 4193) of /48 or larger; write for example %s", c.Pool6, DefaultPool6)
	}
}

// validatePublished finds ports of the host that two apps want.
func (c *Config) validatePublished(e *field.Errors, at string, a *App, taken map[string]string) {
	for _, p := range a.Current.Manifest.Ports {
		host := a.PortOf(p)
		for n := range max(p.Count, 1) {
			if host == 0 {
				continue
			}
			key := fmt.Sprintf("%s/%d", Protocol(p.Protocol), int(host)+n)
			if other := taken[key]; other != "" {
				e.Add(field.Key(at+".ports", p.Name), "port %s is already published by app %q; choose another or remove it", key, other)
				break
			}
			taken[key] = a.Name
		}
	}
}

// Validate says everything that is wrong with one app, whatever others there are.
func (a *App) Validate() error {
	var e field.Errors
	name(&e, "name", a.Name)
	if a.Domain != "" && (len(a.Domain) > 253 || !domainForm.MatchString(a.Domain)) {
		e.Add("domain", "%q is not the name of a host; write for example blog.example.org", a.Domain)
	}
	if a.Domain == "" && a.Current.Manifest.HTTP.Port != 0 {
		e.Add("domain", "is missing, and the app serves HTTP; give it a name, for example %s.example.org", a.Name)
	}
	for what, v := range map[string]*Version{"current": &a.Current, "next": a.Next, "previous": a.Previous} {
		if v != nil {
			e.Join(what, v.validate())
		}
	}
	if a.Next != nil && a.Next.Slot == a.Current.Slot {
		e.Add("next.slot", "is that of the current version")
	}
	e.Join("", ValidateEnv(a.Env))
	e.Join("limits", a.Limits.Validate())
	known := map[string]bool{}
	for _, p := range a.Current.Manifest.Ports {
		known[p.Name] = true
	}
	for n := range a.Ports {
		if !known[n] {
			e.Add(field.Key("ports", n), "the app has no port of this name")
		}
	}
	if a.Egress != nil {
		e.Join("egress", a.Egress.validate())
	}
	if a.Starts < 0 {
		e.Add("starts", "must not be negative")
	}
	return e.Err()
}

func (v *Version) validate() error {
	var e field.Errors
	e.Join("manifest", v.Manifest.Validate())
	if !imageIDForm.MatchString(v.ImageID) {
		e.Add("image_id", "%q is not the digest of an image (sha256:...)", v.ImageID)
	}
	if !userForm.MatchString(v.User) || strings.HasPrefix(v.User, "0:") || v.User == "0" {
		e.Add("user", "%q is not UID:GID of another user than root", v.User)
	}
	if v.Slot != SlotA && v.Slot != SlotB {
		e.Add("slot", "%q is not a or b", v.Slot)
	}
	if v.Data < 1 {
		e.Add("data", "%d must be at least 1", v.Data)
	}
	return e.Err()
}
