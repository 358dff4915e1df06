package host

import (
	"net/netip"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/state"
)

// dnsPort is where the resolver answers apps, on the host's addresses in their networks.
const dnsPort = 53

// server is what an addon listens on, and what limits an app there.
type server struct {
	port  uint16
	class string
}

// servers are the addons that are servers.
func servers() map[string]server {
	return map[string]server{"postgresql": {5432, "database"}, "mariadb": {3306, "database"}, "redis": {6379, "database"}}
}

// segments are the networks of apps. A bridge of an app that is not in the document belongs to no segment, and so reaches
// nothing.
func segments(s *state.State, f Facts) firewall.Segments {
	out := firewall.Segments{Bridges: []string{apps.Bridges}}
	for i := range s.Apps.Apps {
		a := &s.Apps.Apps[i]
		g := a.EffectiveEgress()
		x := firewall.Segment{Name: a.Name, Bridge: a.Bridge(), Egress: firewall.Egress(g.Mode), Names: f.Names[a.Name]}
		x.V4, x.V6 = s.Apps.Subnets(a.Network)
		for _, h := range g.Hosts {
			if d, why := apps.ParseDestination(h); why == "" && d.Name == "" {
				x.Reach = append(x.Reach, firewall.Reach{Range: ranges.Of(d.Prefix), Port: d.Port})
			}
		}
		x.Peers = peers(s, a, f)
		out.List = append(out.List, x)
	}
	return out
}

// peers are what an app may talk to in its own network: the resolver, and servers of its addons.
func peers(s *state.State, a *apps.App, f Facts) []firewall.Peer {
	var out []firewall.Peer
	add := func(v4, v6 netip.Addr, p firewall.Protocol, port uint16, class string) {
		for _, at := range []netip.Addr{v4, v6} {
			out = append(out, firewall.Peer{Addr: at, Protocol: p, Port: port, Meter: class})
		}
	}
	if v4, v6 := s.Apps.Gateways(a); f.Resolver {
		add(v4, v6, firewall.UDP, dnsPort, "")
		add(v4, v6, firewall.TCP, dnsPort, "")
	}
	known := servers()
	for _, kind := range a.AllAddons() {
		if x, ok := known[kind]; ok {
			v4, v6 := s.Apps.AddonAddresses(a, kind)
			add(v4, v6, firewall.TCP, x.port, x.class)
		}
	}
	return out
}
