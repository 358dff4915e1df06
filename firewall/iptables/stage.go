package iptables

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/platformd/platformd/firewall"
)

var (
	_ firewall.Stager    = (*Driver)(nil)
	_ firewall.Tightener = (*Driver)(nil)
	_ firewall.Admitter  = (*Driver)(nil)
)

// Stage implements firewall.Stager: big sets are loaded under the names that the rules of rs will mention. Apply keeps
// them, and finds them there.
func (d *Driver) Stage(ctx context.Context, rs *firewall.Ruleset) error {
	s, err := newSpec(rs, d.now())
	if err != nil || s.off {
		return err
	}
	k, err := readOnlySets(false)
	if err != nil {
		return fmt.Errorf("iptables: stage: %w", err)
	}
	wanted := map[string]bool{}
	for _, x := range s.sets {
		if x.kind != kindBig {
			continue
		}
		name, err := d.resolve(ctx, x, k, true)
		if err != nil {
			return errors.Join(fmt.Errorf("iptables: stage: %w", err), d.forget(ctx, wanted))
		}
		wanted[name] = true
	}
	return d.forget(ctx, wanted)
}

// forget removes what was staged and is not wanted any more. What rules refer to meanwhile is not staged any more.
func (d *Driver) forget(ctx context.Context, wanted map[string]bool) error {
	d.loading.Lock()
	defer d.loading.Unlock()
	var gone []string
	for name := range d.stagedNames() {
		if !wanted[name] && name != loadName(false) && name != loadName(true) {
			gone = append(gone, name)
		}
	}
	err := d.destroy(ctx, gone)
	d.drop(gone...)
	return err
}

func (d *Driver) keep(names ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range names {
		d.staged[n] = true
	}
}

func (d *Driver) drop(names ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range names {
		delete(d.staged, n)
	}
}

func (d *Driver) stagedNames() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.staged)
}

// Tighten implements firewall.Tightener: no program is run, because it looks at no rules.
func (d *Driver) Tighten(ctx context.Context, rs *firewall.Ruleset) error {
	s, err := newSpec(rs, d.now())
	if err != nil || s.off {
		return err
	}
	k, err := readOnlySets(false)
	if err != nil {
		return fmt.Errorf("iptables: tighten: %w", err)
	}
	var stricter []memberChange
	for _, x := range s.sets {
		have := k.sets[setPrefix+x.name]
		if x.kind == kindBig || have == nil || !x.fits(have) {
			continue
		}
		more, _ := x.delta(setPrefix+x.name, have)
		stricter = append(stricter, more...)
	}
	if err := d.alter(ctx, stricter); err != nil {
		return fmt.Errorf("iptables: tighten: %w", err)
	}
	return nil
}

// Admit implements firewall.Admitter: it adds what is missing in the sets of names, and looks at no rules.
func (d *Driver) Admit(ctx context.Context, rs *firewall.Ruleset) error {
	s, err := newSpec(rs, d.now())
	if err != nil || s.off {
		return err
	}
	k, err := readOnlySets(false)
	if err != nil {
		return fmt.Errorf("iptables: admit: %w", err)
	}
	var add []memberChange
	for _, x := range s.sets {
		if have := k.sets[setPrefix+x.name]; x.kind == kindNames && have != nil && x.fits(have) {
			_, looser := x.delta(setPrefix+x.name, have)
			add = append(add, looser...)
		}
	}
	if err := d.alter(ctx, add); err != nil {
		return fmt.Errorf("iptables: admit: %w", err)
	}
	return nil
}

// readOnlySets reads the sets without the tables; see readSets for counting.
func readOnlySets(counting bool) (*kernel, error) {
	c, err := dialIPSet()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	sets, err := readSets(c, counting)
	return &kernel{sets: sets}, err
}

// find gives the name of the kernel's set with the content of a big one, empty where there is none.
func (k *kernel) find(s *set) string {
	for name, have := range k.sets {
		n, content, elements, big := splitName(name)
		if big && n == s.name && content == s.content && have.elements == uint32(elements) {
			return name
		}
	}
	return ""
}
