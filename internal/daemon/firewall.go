package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/host"
)

// Drivers makes a firewall driver by name: "nft" or "iptables".
type Drivers map[string]func() (firewall.Driver, error)

// packetFilter is the firewall as a reconcile.Subsystem.
type packetFilter struct {
	drivers Drivers
	desired func() (*firewall.Ruleset, string, error) // the ruleset, and the driver that the document names
	now     func() time.Time

	mu      sync.Mutex
	driver  firewall.Driver
	inForce *firewall.Ruleset // what the last pass that was verified wanted
	wanted  *firewall.Ruleset // what the last pass wanted
	checked time.Time
}

// Plan implements reconcile.Subsystem.
func (p *packetFilter) Plan(ctx context.Context) ([]firewall.Change, error) {
	rs, d, err := p.prepare()
	if err != nil {
		return nil, err
	}
	changes, err := compare(ctx, d, rs)
	if err == nil && len(changes) > 0 && p.ending(rs) {
		// An entry ends in the kernel a moment before or after it ends here. Look again when the moment has passed.
		select {
		case <-time.After(2 * endSlack):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if rs, d, err = p.prepare(); err != nil {
			return nil, err
		}
		changes, err = compare(ctx, d, rs)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = rs
	if err == nil && len(changes) == 0 {
		p.inForce, p.checked = rs, p.now()
	}
	return changes, err
}

// endSlack is how far the kernel's idea of an entry's end may be from ours.
const endSlack = 500 * time.Millisecond

// ending reports whether an entry's end is so near that the kernel may see it differently.
func (p *packetFilter) ending(rs *firewall.Ruleset) bool {
	now := p.now()
	near := func(t firewall.Timed) bool { return !t.Until.IsZero() && t.Until.Sub(now).Abs() < endSlack }
	p.mu.Lock()
	before := p.wanted
	p.mu.Unlock()
	for _, r := range []*firewall.Ruleset{rs, before} {
		if r != nil && (slices.ContainsFunc(r.Bans, near) || slices.ContainsFunc(r.Blocks, near)) {
			return true
		}
	}
	return false
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
func (p *packetFilter) Apply(ctx context.Context) error {
	rs, name, err := p.desired()
	if err != nil {
		return err
	}
	old := p.current()
	d, err := p.pick(name)
	if err != nil {
		return err
	}
	if err := d.Apply(ctx, rs); err != nil {
		return err
	}
	p.mu.Lock()
	p.driver, p.wanted = d, rs
	p.mu.Unlock()
	if old != nil && old.Name() != d.Name() {
		return old.Apply(ctx, &firewall.Ruleset{Off: true})
	}
	return nil
}

func (p *packetFilter) prepare() (*firewall.Ruleset, firewall.Driver, error) {
	rs, name, err := p.desired()
	if err != nil {
		return nil, nil, err
	}
	d, err := p.pick(name)
	return rs, d, err
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
	if d := p.current(); d != nil && slices.Contains(names, d.Name()) {
		return d, nil
	}
	var errs []error
	for _, n := range names {
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
