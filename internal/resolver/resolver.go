// Package resolver answers the name questions of apps, so that a name is all that an app's list of destinations has to say.
//
// The model in words. Each app asks on an address of its own, the host's in the app's network, by UDP and TCP. Whether the
// question may be asked is decided by the app's mode: everything, nothing, or the names on its list. It is then asked anew, with
// another number and from another port, of the host's own name servers. Of the answer only what belongs to the question is passed
// on, and of addresses only public ones: a name that leads into the host's own network leads nowhere. What a name of a list led to
// is admitted by the firewall before the answer is sent (Admit), and the answer does not live longer than that.
//
// It keeps nothing, so that what it says is as old as what the host's servers say. Everything is bounded: how many questions are
// under way for each app, how long they take, how large they are, how many connections there are. It runs in a process without
// privileges (internal/worker), because it parses what anybody on the internet may write.
package resolver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/platformd/platformd/firewall/ranges"
)

// App is who asks.
type App struct {
	Name string `json:"name"`
	// Mode is "internet", "none" or "list"; anything else is as "none".
	Mode  string `json:"mode"`
	Names []Name `json:"names,omitempty"`
}

// Name is one entry of a list: "example.org", or "*.example.org" for everything below it; port 0 is every port.
type Name struct {
	Name string `json:"name"`
	Port uint16 `json:"port,omitempty"`
}

// Found is what a name of a list led to.
type Found struct {
	App   string       `json:"app"`
	Addrs []netip.Addr `json:"addrs"`
	Ports []uint16     `json:"ports"`
	// TTL is in seconds.
	TTL uint32 `json:"ttl"`
}

// Config of a Resolver.
type Config struct {
	Upstreams []netip.AddrPort
	// Admit returns when the firewall lets the app reach what was found.
	Admit func(ctx context.Context, f Found) error
	// Refused is told of a name that an app may not ask for. It must not block.
	Refused func(app, name string)
}

// Resolver answers. Its methods are safe for concurrent use.
type Resolver struct {
	cfg     Config
	special []ranges.Range
}

// Bounds.
const (
	patience   = 2 * time.Second // for one server
	within     = 8 * time.Second // for one question
	maxTTL     = 3600
	maxAddrs   = 64
	maxAliases = 16
	wireSize   = 1232 // of a datagram that is not fragmented on the way (dnsflagday.net/2020)
)

// New makes a Resolver that has not asked anybody yet.
func New(cfg Config) (*Resolver, error) {
	if len(cfg.Upstreams) == 0 {
		return nil, errors.New("resolver: there is no name server to ask; name one in /etc/resolv.conf, or in apps.resolvers")
	}
	return &Resolver{cfg: cfg, special: ranges.Reserved()}, nil
}

// answer is the reply to a query of an app. It is never nil, and ready to be packed.
func (r *Resolver) answer(ctx context.Context, app *App, q *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	fail := func(code int) *dns.Msg { return reply.SetRcode(q, code) }
	if q.Response || q.Opcode != dns.OpcodeQuery || len(q.Question) != 1 || q.Question[0].Qclass != dns.ClassINET {
		return fail(dns.RcodeNotImplemented)
	}
	question := q.Question[0]
	name := strings.ToLower(question.Name)
	ports, may := app.may(name)
	switch question.Qtype {
	case dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR:
		may = false
	}
	if !may {
		r.cfg.Refused(app.Name, strings.TrimSuffix(name, "."))
		return fail(dns.RcodeRefused)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	up, err := r.ask(ctx, dns.Question{Name: name, Qtype: question.Qtype, Qclass: dns.ClassINET})
	if err != nil {
		return fail(dns.RcodeServerFailure)
	}
	reply.SetReply(q)
	reply.RecursionAvailable = true
	reply.Rcode = up.Rcode
	addrs, ttl := r.take(reply, up, name, question.Qtype)
	if app.Mode == ModeList && len(addrs) > 0 {
		if err := r.cfg.Admit(ctx, Found{App: app.Name, Addrs: addrs, Ports: ports, TTL: ttl}); err != nil {
			return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		}
	}
	return reply
}

// Modes of an App.
const (
	ModeInternet = "internet"
	ModeList     = "list"
)

// may reports whether the app may ask for a name, in lower case, and for which ports.
func (a *App) may(name string) (ports []uint16, ok bool) {
	if a.Mode == ModeInternet {
		return nil, true
	}
	if a.Mode != ModeList {
		return nil, false
	}
	for _, n := range a.Names {
		want := dns.Fqdn(strings.ToLower(n.Name))
		below, wild := strings.CutPrefix(want, "*.")
		if name == want && !wild || wild && strings.HasSuffix(name, "."+below) {
			ports = append(ports, n.Port)
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports), len(ports) > 0
}

// ask asks the servers in turn, twice.
func (r *Resolver) ask(ctx context.Context, q dns.Question) (*dns.Msg, error) {
	last := errors.New("no server was asked")
	for range 2 {
		for _, server := range r.cfg.Upstreams {
			m, err := r.askOne(ctx, server, q)
			if err == nil {
				return m, nil
			}
			if last = err; ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return nil, last
}

// askOne asks one server, by TCP where the answer does not fit. Every question has a number and a port of its own.
func (r *Resolver) askOne(ctx context.Context, server netip.AddrPort, q dns.Question) (*dns.Msg, error) {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: dns.Id(), RecursionDesired: true}, Question: []dns.Question{q}}
	m.SetEdns0(wireSize, false)
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, Timeout: patience, UDPSize: wireSize}
		up, _, err := c.ExchangeContext(ctx, m, server.String())
		if err != nil {
			return nil, err
		}
		if up.Id != m.Id || !up.Response || len(up.Question) != 1 || !strings.EqualFold(up.Question[0].Name, q.Name) || up.Question[0].Qtype != q.Qtype {
			return nil, errors.New("the answer is to another question")
		}
		if up.Truncated && network == "udp" {
			continue
		}
		if up.Rcode != dns.RcodeSuccess && up.Rcode != dns.RcodeNameError {
			return nil, errors.New("the server says " + dns.RcodeToString[up.Rcode])
		}
		return up, nil
	}
	return nil, errors.New("the answer does not fit")
}
