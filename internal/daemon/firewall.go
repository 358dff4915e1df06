package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/host"
)

// Drivers makes a firewall driver by name: "nft" or "iptables".
type Drivers map[string]func() (firewall.Driver, error)

// packetFilter is the firewall as a reconcile.Subsystem.
type packetFilter struct {
	drivers Drivers
	desired func() (*firewall.Ruleset, string, error) // the ruleset, and the driver that the document names
	now     func() time.Time
	cut     func(context.Context, []ranges.Range) (int, error) // ends open flows

	// kernel is held by whoever changes the kernel or compares it with what is wanted.
	kernel  sync.Mutex
	mu      sync.Mutex
	cuts    []*cut
	driver  firewall.Driver
	inForce *firewall.Ruleset // what the last pass that was verified wanted
	applied *firewall.Ruleset // what the last Apply was for
	seen    *firewall.Ruleset // what was last seen in the kernel, until drift from it was found
	since   changing          // what was applied after that
	checked time.Time
}

// Plan implements reconcile.Subsystem.
func (p *packetFilter) Plan(ctx context.Context) ([]firewall.Change, error) {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	rs, name, err := p.desired()
	if err != nil {
		return nil, err
	}
	d, err := p.pick(name)
	if err != nil {
		return nil, err
	}
	return p.check(ctx, d, rs)
}

// Verify implements reconcile.Subsystem.
func (p *packetFilter) Verify(ctx context.Context) ([]firewall.Change, error) {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	p.mu.Lock()
	d, rs := p.driver, p.applied
	p.mu.Unlock()
	if d == nil || rs == nil {
		return nil, errors.New("no ruleset was applied yet")
	}
	return p.check(ctx, d, rs)
}

// check compares the kernel with a ruleset.
func (p *packetFilter) check(ctx context.Context, d firewall.Driver, rs *firewall.Ruleset) ([]firewall.Change, error) {
	changes, err := p.settle(ctx, rs, func() ([]firewall.Change, error) { return compare(ctx, d, rs.Without(p.now())) })
	if err == nil && len(changes) == 0 {
		p.mu.Lock()
		p.inForce, p.checked = rs, p.now()
		p.seen, p.since = rs, changing{}
		p.mu.Unlock()
	}
	return changes, err
}

// settle compares. An entry ends in the kernel a moment before or after it ends here; where that may be the difference, it
// looks again when the moment has passed.
func (p *packetFilter) settle(ctx context.Context, rs *firewall.Ruleset, compare func() ([]firewall.Change, error)) ([]firewall.Change, error) {
	changes, err := compare()
	if err != nil || len(changes) == 0 || !p.ending(rs) {
		return changes, err
	}
	select {
	case <-time.After(2 * endSlack):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return compare()
}

// endSlack is how far the kernel's idea of an entry's end may be from ours.
const endSlack = 500 * time.Millisecond

// ending reports whether an entry's end is so near that the kernel may see it differently.
func (p *packetFilter) ending(rs *firewall.Ruleset) bool {
	now := p.now()
	near := func(t firewall.Timed) bool { return !t.Until.IsZero() && t.Until.Sub(now).Abs() < endSlack }
	for _, x := range rs.Segments.List {
		if slices.ContainsFunc(x.Names, func(a firewall.Admitted) bool { return near(firewall.Timed{Until: a.Until}) }) {
			return true
		}
	}
	return slices.ContainsFunc(rs.Bans, near) || slices.ContainsFunc(rs.Blocks, near)
}

func compare(ctx context.Context, d firewall.Driver, rs *firewall.Ruleset) ([]firewall.Change, error) {
	want, err := d.Render(rs)
	if err != nil {
		return nil, err
	}
	have, err := d.Observe(ctx)
	if err != nil {
		return nil, err
	}
	return firewall.Diff(want, have), nil
}

// Apply implements reconcile.Subsystem. When the driver changes, the new one is in force before the old one goes.
func (p *packetFilter) Apply(ctx context.Context) (drift []firewall.Change, err error) {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	cuts := p.takeCuts()
	rs, name, err := p.desired()
	if err != nil {
		p.putBack(cuts)
		return nil, err
	}
	d, err := p.pick(name)
	if err != nil {
		p.putBack(cuts)
		return nil, err
	}
	p.mu.Lock()
	old := p.driver
	same := old != nil && old.Name() == d.Name()
	if !same {
		p.seen, p.since = nil, changing{}
	}
	p.driver, p.applied = d, rs
	p.mu.Unlock()
	if t, ok := d.(firewall.Tightener); ok && len(cuts) > 0 && same {
		// Flows that come back because rules are missing are ended again below.
		if err := t.Tighten(ctx, rs); err == nil {
			p.grant(ctx, cuts)
		}
	}
	start := p.now()
	found, err := d.Apply(ctx, rs)
	drift, driftErr := p.drift(d, rs, found, err != nil && len(found) == 0, start)
	if err != nil {
		p.putBack(cuts)
		return drift, errors.Join(driftErr, err)
	}
	p.grant(ctx, cuts)
	if old != nil && !same {
		_, err = old.Apply(ctx, &firewall.Ruleset{Off: true})
	}
	return drift, errors.Join(driftErr, err)
}

// admit lets segments reach what names have led to. note remembers it, so that what is wanted has it from now on, and gives all
// that is remembered. It returns when the kernel lets them; a ruleset that is not in force yet admits nothing.
func (p *packetFilter) admit(ctx context.Context, note func() map[string][]firewall.Admitted) error {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	names := note()
	p.mu.Lock()
	d, before := p.driver, p.applied
	p.mu.Unlock()
	a, ok := d.(firewall.Admitter)
	if !ok || before == nil {
		return errors.New("admit what a name led to: the firewall is not in force yet")
	}
	after := before.WithNames(names, p.now())
	if err := a.Admit(ctx, after); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rs := range []**firewall.Ruleset{&p.applied, &p.inForce, &p.seen} {
		if *rs == before {
			*rs = after
		}
	}
	return nil
}

// stage loads the big sets of a ruleset beside those in use, where the driver can. Without it, Apply loads them.
func (p *packetFilter) stage(ctx context.Context, rs *firewall.Ruleset) error {
	s, ok := p.current().(firewall.Stager)
	if !ok {
		return nil
	}
	return s.Stage(ctx, rs)
}

func (p *packetFilter) current() firewall.Driver {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.driver
}

// pick gives the driver of that name; without one it is nft, or iptables where the kernel has no nftables.
func (p *packetFilter) pick(name string) (firewall.Driver, error) {
	names := []string{name}
	if name == "" || name == "auto" {
		names = []string{"nft", "iptables"}
	}
	cur := p.current()
	var errs []error
	for _, n := range names {
		if cur != nil && cur.Name() == n {
			return cur, nil
		}
		open, ok := p.drivers[n]
		if !ok {
			errs = append(errs, fmt.Errorf("firewall driver %q: is not part of this program", n))
			continue
		}
		d, err := open()
		if err == nil {
			return d, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// state is what Status shows.
func (p *packetFilter) state() (driver string, inForce *firewall.Ruleset, checked time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.driver != nil {
		driver = p.driver.Name()
	}
	return driver, p.inForce, p.checked
}

// compile is the ruleset for a document with the facts of the moment.
func (d *Daemon) compile() (*firewall.Ruleset, string, error) {
	s, _ := d.store.Current()
	want, err := host.Compile(&s, d.facts(&s.Firewall))
	if err != nil {
		return nil, "", err
	}
	return want.Firewall, d.driverName(s.Firewall.Driver), nil
}

func (d *Daemon) driverName(configured string) string {
	if d.cfg.Driver != "" {
		return d.cfg.Driver
	}
	return configured
}
