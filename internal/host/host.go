// Package host says what the whole document means for the host. It is the one place where features meet: that mail opens
// ports is written here, and neither in the firewall nor in the mail server.
//
// Compile is pure: it reads no clock, no file and no kernel. What it needs of them are Facts.
package host

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go4.org/netipx"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/proxy"
)

// Facts are what the host is like, as far as the meaning of the document depends on it.
type Facts struct {
	Now          time.Time
	OwnAddresses []netip.Addr
	// Bans are the sources that are banned now.
	Bans []firewall.Timed
	// Feeds is the union of all feeds, Geo the set of each geo rule by its key (GeoKey). A missing set is empty.
	Feeds firewall.BigSet
	Geo   map[string]firewall.BigSet
	// QUIC is the UDP port of HTTP/3, 0 where the proxy does not listen.
	QUIC uint16
	// Resolver says that apps have a resolver on the host's addresses in their networks, Names what it found for each of
	// them on its list.
	Resolver bool
	Names    map[string][]firewall.Admitted
}

// Desired is what the host should be like, by subsystem.
type Desired struct {
	Firewall *firewall.Ruleset
}

// Compile says what the document means.
func Compile(s *state.State, f Facts) (Desired, error) {
	p := policy(s, f)
	src := firewall.Source{Now: f.Now, Bans: f.Bans, Feeds: f.Feeds, OwnAddresses: f.OwnAddresses, Segments: segments(s, f)}
	for _, g := range p.Geo {
		src.Geo = append(src.Geo, f.Geo[GeoKey(g)])
	}
	rs, err := firewall.Compile(&p, src)
	if err != nil {
		return Desired{}, fmt.Errorf("compile firewall: %w", err)
	}
	return Desired{Firewall: rs}, nil
}

// Proxy is what the proxy is to serve: the document's section with the routes of apps, in which the firewall's
// always-allowed are exempt.
func Proxy(s *state.State) proxy.Config {
	c := s.Proxy
	if routes := appRoutes(s); len(routes) > 0 {
		c.Routes = slices.Concat(c.Routes, routes)
	}
	if len(s.Firewall.Allow) == 0 {
		return c
	}
	c.Exempt = slices.Clone(c.Exempt)
	for _, a := range s.Firewall.Allow {
		for _, p := range netipx.IPRangeFrom(a.Target.From, a.Target.To).Prefixes() {
			c.Exempt = append(c.Exempt, p.String())
		}
	}
	return c
}

// policy is the firewall policy with what other parts of the document ask of it.
func policy(s *state.State, f Facts) firewall.Policy {
	p := s.Firewall
	if f.QUIC != 0 && s.Proxy.HTTP3 != proxy.Off {
		p.Ports = append(slices.Clone(p.Ports), quicPorts(p.Ports, f.QUIC)...)
	}
	if ports := appPorts(s); len(ports) > 0 {
		p.Ports = append(slices.Clone(p.Ports), ports...)
	}
	p.Ports = append(slices.Clone(p.Ports), streamPorts(p.Ports, s.Proxy.Streams)...)
	if s.Mail.Enabled {
		p.Ports = append(slices.Clone(p.Ports), mailPorts()...)
	}
	return p
}

// quicPorts open HTTP/3 to whom HTTPS is open to.
func quicPorts(ports []firewall.Port, quic uint16) []firewall.Port {
	var out []firewall.Port
	for _, p := range ports {
		if p.Protocol == firewall.TCP && slices.ContainsFunc(p.Ports, func(r firewall.PortRange) bool { return r.First <= quic && quic <= r.Last }) {
			p.Name, p.Protocol, p.Ports = p.Name+"-quic", firewall.UDP, []firewall.PortRange{{First: quic, Last: quic}}
			out = append(out, p)
		}
	}
	return out
}

// streamPorts open the ports of streams to everybody. Where the policy has a port it says who may come, and that stays.
func streamPorts(ports []firewall.Port, streams []proxy.Stream) []firewall.Port {
	var out []firewall.Port
	for i := range streams {
		st := &streams[i]
		protocol, number := firewall.TCP, uint16(st.Port)
		if st.UDP() {
			protocol = firewall.UDP
		}
		known := slices.ContainsFunc(ports, func(p firewall.Port) bool {
			return p.Protocol == protocol && slices.ContainsFunc(p.Ports, func(r firewall.PortRange) bool { return r.First <= number && number <= r.Last })
		})
		if st.Firewall == proxy.Off || known {
			continue
		}
		out = append(out, firewall.Port{Name: fmt.Sprintf("stream-%d-%s", number, protocol), Protocol: protocol, Ports: []firewall.PortRange{{First: number, Last: number}}})
	}
	return out
}

// mailPorts are delivery, submission, IMAP over TLS and ManageSieve.
func mailPorts() []firewall.Port {
	var out []firewall.Port
	for _, p := range []struct {
		name string
		port uint16
	}{{"mail-smtp", 25}, {"mail-submission", 587}, {"mail-imaps", 993}, {"mail-sieve", 4190}} {
		out = append(out, firewall.Port{Name: p.name, Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: p.port, Last: p.port}}, Limit: "mail"})
	}
	return out
}

// GeoKey names the set of a geo rule by what the set depends on.
func GeoKey(g firewall.GeoRule) string {
	return fmt.Sprint(g.Action, " ", g.Countries, " ", g.AdmitUnknown)
}
