package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/doctor"
	"github.com/platformd/platformd/internal/doctor/probe"
)

// probes is what the rest of the daemon needs to know of probes: their addresses come and go, are not the host's own,
// their refused packets are no news, and what they do to sshd is no strike.
type probes struct {
	now func() time.Time
	one sync.Mutex // held while a probe runs

	mu    sync.Mutex
	wires []pastWire
}

type pastWire struct {
	probe.Wire
	at time.Time
}

// remembered is how long a probe's addresses are known: sshd may write about them up to two minutes later (LoginGraceTime),
// and logs are read late after a restart.
const remembered = 15 * time.Minute

func (p *probes) add(w probe.Wire) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.wires = slices.DeleteFunc(p.wires, func(x pastWire) bool { return now.Sub(x.at) > remembered })
	p.wires = append(p.wires, pastWire{w, now})
}

// has reports whether a is, or was a while ago, an address of a probe.
func (p *probes) has(a netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.wires, func(w pastWire) bool { return w.Contains(a) })
}

// probe knocks at the host from outside and says what disagrees with the policy.
func (d *Daemon) probe(ctx context.Context, listening []doctor.Listener) []doctor.Finding {
	d.probes.one.Lock()
	defer d.probes.one.Unlock()
	r, err := probe.Run(ctx, probe.Config{
		Ruleset: func() (*firewall.Ruleset, error) {
			rs, _, err := d.compile()
			return rs, err
		},
		Lookup: d.lists.lookup, Addresses: d.addresses(), Starting: d.probes.add, Now: d.now,
		TCP: doctor.Ports(listening, firewall.TCP), UDP: doctor.Ports(listening, firewall.UDP),
	})
	return judgeProbe(r, err)
}

func judgeProbe(r probe.Report, err error) []doctor.Finding {
	const check = "probe"
	switch {
	case errors.Is(err, probe.ErrOff):
		return []doctor.Finding{{Check: check, State: doctor.Skipped, Detail: "the firewall is off: there is nothing to compare with"}}
	case errors.Is(err, probe.ErrNoAddress):
		return []doctor.Finding{{Check: check, State: doctor.Skipped, Detail: "the host has no address that others could reach"}}
	case err != nil:
		return []doctor.Finding{{Check: check, State: doctor.Failed, Detail: "could not be done: " + err.Error(), Remedy: "it needs root, and network namespaces in the kernel"}}
	}
	tried := 0
	for _, n := range r.Knocks {
		tried += n
	}
	sum := doctor.Finding{Check: check, State: doctor.OK, Detail: fmt.Sprintf("%d ports of %d addresses knocked at from outside in %v: %d open, %d let through without a listener, %d silent",
		tried, len(r.Addresses), r.Took.Round(100*time.Millisecond), r.Knocks[probe.Open], r.Knocks[probe.Refused], r.Knocks[probe.Silent])}
	if n := r.Knocks[probe.Rejected]; n > 0 {
		sum.Detail += fmt.Sprintf(", %d rejected by another filter", n)
	}
	if r.Unjudged > 0 {
		sum.Detail += fmt.Sprintf("; %d open UDP ports do not say whether they are", r.Unjudged)
	}
	if !r.Wire.V4.Host.IsValid() || !r.Wire.V6.Host.IsValid() {
		sum.Detail += "; " + map[bool]string{true: "IPv4", false: "IPv6"}[r.Wire.V6.Host.IsValid()] + " is not in use"
	}
	if r.Left+r.Skipped > 0 {
		sum.State, sum.Remedy = doctor.Warning, "try again when the host has less to do; limits in the policy make it slow"
		sum.Detail += fmt.Sprintf("; no time for %d ports and %d addresses", r.Left, r.Skipped)
	}
	if len(r.Disagreements) == 0 {
		sum.Detail += "; all as the policy says"
	}
	out := []doctor.Finding{sum}
	for _, x := range r.Disagreements {
		out = append(out, judgeDisagreement(x))
	}
	if r.More > 0 {
		out = append(out, doctor.Finding{Check: "probe-disagrees", State: doctor.Failed, Detail: fmt.Sprintf("and %d more", r.More)})
	}
	return out
}

func judgeDisagreement(x probe.Disagreement) doctor.Finding {
	f := doctor.Finding{Check: "probe-disagrees", State: doctor.Failed}
	where := fmt.Sprintf("%d/%s of %v", x.To.Port(), x.Protocol, x.To.Addr())
	switch {
	case x.Admitted:
		f.Detail = fmt.Sprintf("%s is %s, but the policy opens it (%s)", where, x.Got, x.Rule)
		f.Remedy = "another filter keeps it closed: look at other-firewalls, nft list ruleset and iptables-save"
	case x.Got == probe.Open:
		f.Detail = fmt.Sprintf("%s is open, but the policy closes it (%s)", where, x.Rule)
		f.Remedy = "platformctl status says whether the policy is in force; close it with: platformctl firewall off, then on; stop what listens there"
	default:
		f.Detail = fmt.Sprintf("%s answers that nothing listens, but the policy closes it (%s)", where, x.Rule)
		f.Remedy = "the packet is let through, or another filter rejects it before ours: nft list ruleset and iptables-save"
	}
	return f
}
