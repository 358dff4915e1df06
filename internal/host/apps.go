package host

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/compress"
	"github.com/platformd/platformd/proxy/limits"
)

// appRoutes lead to apps: by the address that the plan gives the version that serves, so that nothing has to be looked up.
// A route of the operator's for the same host and path stands instead.
func appRoutes(s *state.State) []proxy.Route {
	var out []proxy.Route
	for i := range s.Apps.Apps {
		a := &s.Apps.Apps[i]
		m := &a.Current.Manifest
		if a.Domain == "" || m.HTTP.Port == 0 {
			continue
		}
		r := appRoute(a, a.Domain, m.HTTP, s.Apps.Address(a, a.Current.Slot))
		if _, taken := s.Proxy.Route(r.Key()); !taken {
			out = append(out, r)
		}
		for _, h := range m.ExtraHTTP {
			r := appRoute(a, h.Name+"."+a.Domain, h, s.Apps.Address(a, a.Current.Slot))
			if _, taken := s.Proxy.Route(r.Key()); !taken {
				out = append(out, r)
			}
		}
	}
	return out
}

func appRoute(a *apps.App, host string, h apps.HTTP, at netip.Addr) proxy.Route {
	wish := a.Current.Manifest.Proxy
	r := proxy.Route{Host: host, Backend: fmt.Sprintf("%s://%v", cmp.Or(h.Scheme, "http"), netip.AddrPortFrom(at, h.Port))}
	r.MaxBody = int64(wish.MaxBody)
	r.ResponseHeaders.Set = wish.Headers
	r.BackendTimeouts.Answer = wish.Answer
	r.Security.ContentSecurityPolicy, r.Security.Robots, r.Security.AppWins = wish.CSP, wish.Robots, wish.AppHeaders
	if len(wish.LoginPaths) > 0 {
		r.Limits.Login = &limits.Login{Paths: wish.LoginPaths}
	}
	if wish.Compression {
		r.Compress = &compress.Config{}
	}
	// Nobody answers there until it is started again, or while its data is copied for an update.
	r.Maintenance = a.Stopped || len(a.Debug) > 0 || a.Next != nil && a.Next.Data != a.Current.Data
	return r
}

// appPorts open what apps publish, by the port of the host.
func appPorts(s *state.State) []firewall.Port {
	var out []firewall.Port
	for i := range s.Apps.Apps {
		a := &s.Apps.Apps[i]
		if a.Stopped {
			continue
		}
		for _, p := range a.Current.Manifest.Ports {
			host := a.PortOf(p)
			if host == 0 {
				continue
			}
			last := host + uint16(max(p.Count, 1)-1)
			out = append(out, firewall.Port{Name: portName(a, p), Protocol: firewall.Protocol(apps.Protocol(p.Protocol)), Ports: []firewall.PortRange{{First: host, Last: last}}, Limit: p.Limit})
		}
	}
	return out
}

// portName is at most 32 bytes, as names of ports are.
func portName(a *apps.App, p apps.Port) string {
	if name := "app-" + a.Name + "-" + p.Name; len(name) <= 32 {
		return name
	}
	name := fmt.Sprintf("app%d-%s", a.Network, p.Name)
	return strings.TrimRight(name[:min(len(name), 32)], "-")
}
