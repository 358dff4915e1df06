package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

// Query is a new flow from Source to a port of this host.
type Query struct {
	Source   netip.Addr
	Protocol Protocol
	// Port is the port that the packet is sent to; zero asks only what holds for every port.
	Port uint16
	// Interface is where the packet comes in; empty is any interface that no service names.
	Interface string
	// App names a segment: then the flow comes from there, and Source is where it goes to. Here says that this is one of the
	// host's own addresses, which a ruleset does not know.
	App  string
	Here bool
}

// Verdict is what happens to the flow, and why.
type Verdict struct {
	Admitted bool `json:"admitted"`
	// Reason is set where the flow is refused.
	Reason Reason `json:"reason,omitempty"`
	// Rule is what decided: "block 1.2.3.0/24", "port ssh", "no service".
	Rule string `json:"rule"`
	// Until is when the refusal ends by itself; zero is never.
	Until time.Time `json:"until,omitzero"`
	// Limit is what the source may do there, where the flow is admitted within a limit.
	Limit string `json:"limit,omitempty"`
	// Meter names the meter of that limit.
	Meter string `json:"-"`
	Steps []Step `json:"steps"`
}

// Step is one question on the way, in the order in which the kernel asks.
type Step struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
	// Set, where a kernel set decides, is its name for Driver.Probe, and In what it should say.
	Set string `json:"set,omitempty"`
	In  bool   `json:"in,omitempty"`
}

// Lookup finds the range of a big set that holds a.
type Lookup func(set BigSet, a netip.Addr) (ranges.Range, bool, error)

// Explain walks the ruleset as a packet would. It is pure, except for what lookup reads.
func Explain(rs *Ruleset, q Query, lookup Lookup) (Verdict, error) {
	e := &explainer{rs: rs, q: q, lookup: lookup}
	e.q.Source = q.Source.Unmap().WithZone("")
	err := e.walk()
	return e.v, err
}

type explainer struct {
	rs     *Ruleset
	q      Query
	lookup Lookup
	v      Verdict
}

func (e *explainer) step(question, answer string) {
	e.v.Steps = append(e.v.Steps, Step{Question: question, Answer: answer})
}

func (e *explainer) inSet(question, set string, in bool, answer string) {
	if !in {
		answer = "no"
	}
	e.v.Steps = append(e.v.Steps, Step{Question: question, Answer: answer, Set: set, In: in})
}

func (e *explainer) refuse(r Reason, rule string, until time.Time) error {
	e.v.Reason, e.v.Rule, e.v.Until = r, rule, until
	return nil
}

func (e *explainer) walk() error {
	rs, a := e.rs, e.q.Source
	if rs.Off {
		e.v.Admitted, e.v.Rule = true, "the firewall is off"
		return nil
	}
	if e.q.App != "" {
		return e.fromSegment()
	}
	if t, ok := holding(rs.Bans, a); ok {
		e.inSet("is the source banned?", "bans", true, "yes, "+t.Range.String())
		return e.refuse(ReasonBan, "ban "+t.Range.String(), t.Until)
	}
	e.inSet("is the source banned?", "bans", false, "")
	if a.IsLoopback() || e.q.Interface == "lo" {
		e.v.Admitted, e.v.Rule = true, "loopback"
		return nil
	}
	i := slices.IndexFunc(rs.Allow, func(r ranges.Range) bool { return r.Contains(a) })
	if i >= 0 {
		e.inSet("is the source always allowed?", "allow", true, "yes, "+rs.Allow[i].String()+": no list or limit concerns it")
		return e.services(true)
	}
	e.inSet("is the source always allowed?", "allow", false, "")
	if t, ok := holding(rs.Blocks, a); ok {
		e.inSet("is the source blocked?", "blocks", true, "yes, "+t.Range.String())
		return e.refuse(ReasonBlock, "block "+t.Range.String(), t.Until)
	}
	e.inSet("is the source blocked?", "blocks", false, "")
	if !e.fromBridge() {
		if done, err := e.lists(); done || err != nil {
			return err
		}
	}
	return e.services(false)
}

func (e *explainer) fromBridge() bool {
	return e.q.Interface != "" && slices.ContainsFunc(e.rs.Forward.Bridges, func(b string) bool { return matchInterface(b, e.q.Interface) })
}

func matchInterface(pattern, name string) bool {
	if p, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, p)
	}
	return pattern == name
}

func (e *explainer) lists() (done bool, err error) {
	rs, a := e.rs, e.q.Source
	r, in, err := e.find(rs.Feeds)
	if err != nil {
		return true, err
	}
	if rs.Feeds.V4+rs.Feeds.V6 > 0 {
		e.inSet("is the source in a feed?", "feeds", in, "yes, "+r.String())
	}
	if in {
		return true, e.refuse(ReasonFeed, "feed entry "+r.String(), time.Time{})
	}
	for _, g := range rs.Geo {
		if !g.concerns(e.q) {
			continue
		}
		_, in, err := e.find(g.Set)
		if err != nil {
			return true, err
		}
		e.inSet(fmt.Sprintf("is %v in the countries of rule %s?", a, g.Name), g.Name, in, "yes")
		if in == (g.Refuse == "in") {
			return true, e.refuse(ReasonGeo.Of(g.Name), "geo rule "+g.Name, time.Time{})
		}
	}
	return false, nil
}

func (e *explainer) find(set BigSet) (ranges.Range, bool, error) {
	if set.Path == "" || e.lookup == nil {
		return ranges.Range{}, false, nil
	}
	return e.lookup(set, e.q.Source)
}

func (g *GeoScope) concerns(q Query) bool {
	if len(g.Ports) == 0 {
		return true
	}
	return (g.Protocol == "" || g.Protocol == q.Protocol) && inPorts(g.Ports, q.Port)
}

func inPorts(in []PortRange, p uint16) bool {
	return slices.ContainsFunc(in, func(r PortRange) bool { return r.First <= p && p <= r.Last })
}

func (e *explainer) services(allowed bool) error {
	if e.q.Port == 0 {
		e.v.Admitted, e.v.Rule = true, "no list refuses the source; name a port to ask what admits it"
		return nil
	}
	for _, s := range unmeteredFirst(e.rs.Services) {
		if s.Protocol != e.q.Protocol || !inPorts(s.Ports, e.q.Port) {
			continue
		}
		question := fmt.Sprintf("does port %q admit it?", s.Name)
		if len(s.Interfaces) > 0 && !slices.ContainsFunc(s.Interfaces, func(p string) bool { return matchInterface(p, e.q.Interface) }) {
			e.step(question, "no, only on "+strings.Join(s.Interfaces, ", "))
			continue
		}
		if len(s.Sources) > 0 && !slices.ContainsFunc(s.Sources, func(r ranges.Range) bool { return r.Contains(e.q.Source) }) {
			e.step(question, "no, only from certain sources")
			continue
		}
		e.v.Admitted, e.v.Rule = true, "port "+s.Name
		if m := e.rs.MeterOf(s.Meter); m != nil && !allowed {
			e.v.Meter = m.Name
			e.v.Limit = m.Name + " " + m.Limit.String()
			e.step(question, "yes, within "+e.v.Limit)
			return nil
		}
		e.step(question, "yes")
		return nil
	}
	e.step(fmt.Sprintf("does a service admit %s port %d?", e.q.Protocol, e.q.Port), "no")
	return e.refuse(ReasonClosed, "no port is open for it", time.Time{})
}

// holding finds the entry that contains a; in must be disjoint.
func holding(in []Timed, a netip.Addr) (Timed, bool) {
	i := slices.IndexFunc(in, func(t Timed) bool { return t.Range.Contains(a) })
	if i < 0 {
		return Timed{}, false
	}
	return in[i], true
}

// unmeteredFirst is the order in which services are asked: what one of them admits is not refused by the limit of another.
func unmeteredFirst(in []Service) []Service {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b Service) int { return boolInt(a.Meter != "") - boolInt(b.Meter != "") })
	return out
}
