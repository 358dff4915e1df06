package daemon

import (
	"slices"
	"time"

	"github.com/platformd/platformd/firewall"
)

// changing is what our own passes may have changed since the kernel was last seen to hold what was wanted.
type changing struct {
	passes  int
	objects map[[2]string]bool // by kind and name
}

// drift lists how the kernel, as an Apply for want found it at that time, differs from what was last seen in it. A pass
// that somebody else's change ran into has failed or was not verified, and the next one finds the change: so what was seen
// is kept until then. Drift is told once.
func (p *packetFilter) drift(d firewall.Driver, want *firewall.Ruleset, found firewall.Listing, unread bool, at time.Time) ([]firewall.Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		return nil, nil
	}
	was, err := d.Render(p.seen.Without(at))
	if err != nil {
		return nil, err
	}
	wanted, err := d.Render(want.Without(at))
	if err != nil {
		return nil, err
	}
	if p.since.objects == nil {
		p.since.objects = map[[2]string]bool{}
	}
	for _, c := range firewall.Diff(was, wanted) {
		p.since.objects[[2]string{c.Kind, c.Name}] = true
	}
	p.since.passes++
	if unread {
		return nil, nil
	}
	ending := p.ending(p.seen)
	drift := slices.DeleteFunc(firewall.Diff(was, found), func(c firewall.Change) bool {
		// A pass that did not end well may have left things behind, but it takes away nothing that both rulesets have. And an
		// entry ends in the kernel a moment before or after it ends here.
		return p.since.objects[[2]string{c.Kind, c.Name}] || p.since.passes > 1 && c.Op != firewall.OpAdd || ending && c.Kind == "set" && c.Op == firewall.OpChange
	})
	if len(drift) > 0 {
		p.seen, p.since = nil, changing{}
	}
	return drift, nil
}
