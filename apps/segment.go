package apps

import (
	"net/netip"
	"slices"
)

// Bridges matches the name of every app's bridge, and of no other interface; see App.Bridge.
const Bridges = "br-app*"

// Gateways are the host's addresses in the app's network.
func (c *Config) Gateways(a *App) (v4, v6 netip.Addr) { return c.place(a, placeGateway) }

// AddonAddresses are where an addon of the app is, whether it has one or not: each kind has a place of its own.
func (c *Config) AddonAddresses(a *App, kind string) (v4, v6 netip.Addr) {
	return c.place(a, placeAddons+slices.Index(AddonKinds(), kind))
}

// ParseResolver reads an entry of Config.Resolvers.
func ParseResolver(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	return netip.ParseAddrPort(s)
}

func (c *Config) place(a *App, n int) (v4, v6 netip.Addr) {
	four, six := c.Subnets(a.Network)
	return plus(four.Addr(), n), plus(six.Addr(), n)
}

// EffectiveEgress is the operator's, else that of the manifest. While there is a next version, the app has what either of
// the two needs, because both run in its network.
func (a *App) EffectiveEgress() Egress {
	if a.Egress != nil {
		return a.Egress.withDefaults()
	}
	out := a.Current.Manifest.Egress.withDefaults()
	if a.Next != nil {
		out = out.join(a.Next.Manifest.Egress.withDefaults())
	}
	return out
}

func (g Egress) withDefaults() Egress {
	if g.Mode == "" {
		g.Mode = EgressInternet
	}
	return g
}

func (g Egress) join(o Egress) Egress {
	switch {
	case g.Mode == EgressInternet || o.Mode == EgressNone:
		return g
	case o.Mode == EgressInternet || g.Mode == EgressNone:
		return o
	}
	hosts := slices.Concat(g.Hosts, o.Hosts)
	slices.Sort(hosts)
	return Egress{Mode: EgressList, Hosts: slices.Compact(hosts)}
}

// AllAddons are those of the current version and of the next one.
func (a *App) AllAddons() []string {
	var out []string
	for _, kind := range AddonKinds() {
		_, has := a.Current.Manifest.Addons[kind]
		if a.Next != nil {
			_, next := a.Next.Manifest.Addons[kind]
			has = has || next
		}
		if has {
			out = append(out, kind)
		}
	}
	return out
}
