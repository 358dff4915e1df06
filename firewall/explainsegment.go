package firewall

import (
	"fmt"
	"slices"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

// fromSegment walks the ruleset as a packet of an app would.
func (e *explainer) fromSegment() error {
	a := e.q.Source
	x := e.rs.Segments.Named(e.q.App)
	if x == nil {
		e.step("which network has the app?", "none that the firewall knows")
		return e.refuse(ReasonSpoof, "app "+e.q.App+" has no network", time.Time{})
	}
	e.step("which network has the app?", fmt.Sprintf("%v and %v on %s", x.V4, x.V6, x.Bridge))
	if x.Holds(a) {
		return e.peer(x)
	}
	e.step("is it within that network?", "no")
	if e.q.Here {
		e.step("is it an address of this host?", "yes: apps reach no service of the host")
		return e.refuse(ReasonEgress, "an address of this host", time.Time{})
	}
	e.step("is it an address of this host?", "no")
	if other := e.rs.Segments.Of(a); other != nil {
		e.step("is it in the network of another app?", "yes, "+other.Name)
		return e.refuse(ReasonEgress, "the network of app "+other.Name, time.Time{})
	}
	specials := ranges.Specials()
	if i := slices.IndexFunc(specials, func(s ranges.Special) bool { return s.Contains(a) }); i >= 0 {
		e.inSet("is it public?", "special", true, fmt.Sprintf("no, %s (%v)", specials[i].Name, specials[i].Range))
		return e.refuse(ReasonEgress, "not a public address: "+specials[i].Name, time.Time{})
	}
	e.v.Steps = append(e.v.Steps, Step{Question: "is it public?", Answer: "yes", Set: "special"})
	if done, err := e.destination(); done || err != nil {
		return err
	}
	return e.egress(x)
}

// peer: within its own network an app reaches what is declared.
func (e *explainer) peer(x *Segment) error {
	e.step("is it within that network?", "yes")
	i := slices.IndexFunc(x.Peers, func(p Peer) bool {
		return p.Addr == e.q.Source && (e.q.Port == 0 || p.Protocol == e.q.Protocol && p.Port == e.q.Port)
	})
	if i < 0 {
		e.step("is it declared, as an addon is?", "no")
		return e.refuse(ReasonEgress, "not declared as a peer", time.Time{})
	}
	p := x.Peers[i]
	e.v.Admitted, e.v.Rule = true, fmt.Sprintf("peer %v %s port %d", p.Addr, p.Protocol, p.Port)
	if m := e.rs.MeterOf(p.Meter); m != nil {
		e.v.Meter, e.v.Limit = m.Name, m.Name+" "+m.Limit.String()
	}
	e.step("is it declared, as an addon is?", "yes")
	return nil
}

// destination asks the lists that hold for what goes out.
func (e *explainer) destination() (done bool, err error) {
	rs, a := e.rs, e.q.Source
	if i := slices.IndexFunc(rs.Allow, func(r ranges.Range) bool { return r.Contains(a) }); i >= 0 {
		e.inSet("is it always allowed?", "allow", true, "yes, "+rs.Allow[i].String()+": no list concerns it")
		return false, nil
	}
	e.inSet("is it always allowed?", "allow", false, "")
	for _, l := range []struct {
		question, set, word string
		in                  []Timed
		reason              Reason
	}{{"is it banned?", "bans", "ban ", rs.Bans, ReasonBan}, {"is it blocked?", "blocks", "block ", rs.Blocks, ReasonBlock}} {
		t, in := holding(l.in, a)
		e.inSet(l.question, l.set, in, "yes, "+t.Range.String())
		if in {
			return true, e.refuse(l.reason, l.word+t.Range.String(), t.Until)
		}
	}
	r, in, err := e.find(rs.Feeds)
	if err == nil && rs.Feeds.V4+rs.Feeds.V6 > 0 {
		e.inSet("is it in a feed?", "feeds", in, "yes, "+r.String())
	}
	if in {
		return true, e.refuse(ReasonFeed, "feed entry "+r.String(), time.Time{})
	}
	return false, err
}

func (e *explainer) egress(x *Segment) error {
	a, port := e.q.Source, e.q.Port
	question := "does the app's egress admit it?"
	switch x.Egress {
	case EgressInternet:
		e.v.Admitted, e.v.Rule = true, "egress internet of app "+x.Name
		e.step(question, "yes, every public address")
		return nil
	case EgressNone:
		e.step(question, "no, it reaches nobody")
		return e.refuse(ReasonEgress, "egress none of app "+x.Name, time.Time{})
	}
	fits := func(p uint16) bool { return p == 0 || port == 0 || p == port }
	if i := slices.IndexFunc(x.Reach, func(r Reach) bool { return r.Range.Contains(a) && fits(r.Port) }); i >= 0 {
		e.v.Admitted, e.v.Rule = true, "egress list of app "+x.Name+": "+x.Reach[i].Range.String()
		e.step(question, "yes, its list has "+x.Reach[i].Range.String())
		return nil
	}
	if i := slices.IndexFunc(x.Names, func(n Admitted) bool { return n.Addr == a && fits(n.Port) }); i >= 0 {
		e.v.Admitted, e.v.Rule = true, "egress list of app "+x.Name+": found by a name of the list"
		e.v.Until = x.Names[i].Until
		e.step(question, "yes, a name of its list led there")
		return nil
	}
	e.step(question, "no, it is not on its list, and no name of the list has led there lately")
	return e.refuse(ReasonEgress, "egress list of app "+x.Name, time.Time{})
}
