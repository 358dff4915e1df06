package iptables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall"
)

// Apply implements firewall.Driver. The order is: make sets stricter, commit IPv4's chains, commit IPv6's chains, make sets
// looser, remove what nothing uses. Where it is interrupted, what is in force is no looser than both rulesets; the next
// Apply goes on from there.
func (d *Driver) Apply(ctx context.Context, rs *firewall.Ruleset) (found firewall.Listing, err error) {
	s, err := newSpec(rs, d.now())
	if err != nil {
		return nil, fmt.Errorf("iptables: apply: %w", err)
	}
	staged := d.stagedNames()
	// First without counting the elements of big sets, which takes longer than all the rest and is hardly ever news; so a
	// block is in force before it.
	k, err := d.read(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("iptables: apply: %w", err)
	}
	maps.Copy(staged, d.stagedNames())
	if s.off {
		err = d.remove(ctx, k)
	} else if err = d.converge(ctx, s, k); err == nil {
		err = d.repairBig(ctx, s, k)
	}
	if err != nil {
		err = fmt.Errorf("iptables: apply: %w", err)
	}
	return k.listing(staged), err
}

// repairBig loads big sets again that another program has changed, and notes in found how many elements they had.
func (d *Driver) repairBig(ctx context.Context, s *spec, found *kernel) error {
	if !slices.ContainsFunc(s.sets, func(x *set) bool { return x.kind == kindBig }) {
		return nil
	}
	c, err := dialIPSet()
	if err != nil {
		return err
	}
	defer c.Close()
	sets, err := readSets(c, true)
	if err != nil || !(&kernel{sets: sets}).damaged() {
		return err
	}
	for name, x := range sets {
		if _, _, _, big := splitName(name); big && found.sets[name] != nil {
			found.sets[name] = x
		}
	}
	k, err := d.read(ctx, true)
	if err != nil {
		return err
	}
	return d.converge(ctx, s, k)
}

// damaged reports whether a big set has another number of elements than its name says.
func (k *kernel) damaged() bool {
	for name, s := range k.sets {
		if _, _, elements, big := splitName(name); big && s.elements != uint32(elements) {
			return true
		}
	}
	return false
}

func (d *Driver) converge(ctx context.Context, s *spec, k *kernel) error {
	names := map[string]string{} // as in the spec -> in the kernel
	var create []string
	var stricter, looser []memberChange
	var replaced [][2]string
	keep := map[string]bool{}
	for _, x := range s.sets {
		name := setPrefix + x.name
		if x.kind == kindBig {
			kernel, err := d.resolve(ctx, x, k, false)
			if err != nil {
				return err
			}
			names[name], keep[kernel] = kernel, true
			continue
		}
		keep[name] = true
		have := k.sets[name]
		switch {
		case have == nil:
			create = append(create, x.create(name, 1024))
			create = append(create, x.fill(name)...)
		case !x.fits(have):
			// Another program made a set of this name with other parameters: build the right one aside and swap.
			temp := name + "~"
			create = append(create, x.create(temp, 1024))
			create = append(create, x.fill(temp)...)
			replaced = append(replaced, [2]string{temp, name})
		default:
			more, less := x.delta(name, have)
			stricter, looser = append(stricter, more...), append(looser, less...)
		}
	}
	if err := d.ipsetRestore(ctx, create); err != nil {
		return fmt.Errorf("create sets: %w", err)
	}
	if err := d.alter(ctx, stricter); err != nil {
		return fmt.Errorf("make sets stricter: %w", err)
	}
	for _, r := range replaced {
		if err := d.ipsetRun(ctx, "swap", r[0], r[1]); err != nil {
			return err
		}
		if err := d.ipsetRun(ctx, "destroy", r[0]); err != nil {
			return err
		}
	}
	for i := range s.tables {
		if err := d.commit(ctx, i, s.tables[i], k.tables[i], names); err != nil {
			return fmt.Errorf("IPv%d: %w", 4+2*i, err)
		}
	}
	if err := d.alter(ctx, looser); err != nil {
		return fmt.Errorf("make sets looser: %w", err)
	}
	d.drop(slices.Collect(maps.Keys(keep))...) // rules refer to them now
	var stale []string
	staged := d.stagedNames()
	for name := range k.sets {
		if !keep[name] && !staged[name] {
			stale = append(stale, name)
		}
	}
	return d.destroy(ctx, stale)
}

// commit replaces the chains of one family that differ, in one go, and then sees to the jumps.
func (d *Driver) commit(ctx context.Context, family int, want, have *table, names map[string]string) error {
	var announce, rules, remove []string
	rename := func(name string) string {
		if k, ok := names[name]; ok {
			return k
		}
		return name
	}
	for _, c := range want.chains {
		var lines, old []string
		for _, r := range c.rules {
			lines = append(lines, "-A "+c.name+" "+r.withSets(rename).String())
		}
		h := have.chain(c.name)
		if h != nil {
			for _, r := range h.rules {
				old = append(old, "-A "+c.name+" "+r.String())
			}
		}
		if h != nil && slices.Equal(lines, old) {
			continue
		}
		announce = append(announce, ":"+c.name+" - [0:0]")
		rules = append(rules, lines...)
	}
	for _, c := range have.chains {
		if ours(c.name) && want.chain(c.name) == nil {
			announce = append(announce, ":"+c.name+" - [0:0]")
			remove = append(remove, "-X "+c.name)
		}
	}
	if len(announce) > 0 {
		if err := d.tools[family].restore(ctx, slices.Concat(announce, rules, remove)); err != nil {
			return err
		}
	}
	return d.hook(ctx, family, have)
}

// remove takes everything of ours away: jumps, chains, sets, in this order.
func (d *Driver) remove(ctx context.Context, k *kernel) error {
	for i, t := range k.tables {
		if err := d.unhook(i, t); err != nil {
			return err
		}
		var flush, del []string
		for _, c := range t.chains {
			if ours(c.name) {
				flush = append(flush, ":"+c.name+" - [0:0]")
				del = append(del, "-X "+c.name)
			}
		}
		if len(flush) > 0 {
			if err := d.tools[i].restore(ctx, append(flush, del...)); err != nil {
				return err
			}
		}
	}
	return d.destroy(ctx, slices.Collect(maps.Keys(k.sets)))
}

// destroy removes sets. The kernel lets go of a set some time after the last rule that mentioned it: it is asked again
// for up to two seconds.
func (d *Driver) destroy(ctx context.Context, names []string) error {
	slices.Sort(names)
	deadline := time.NewTimer(2 * time.Second)
	defer deadline.Stop()
	for _, name := range names {
		for {
			err := d.ipsetRun(ctx, "destroy", name)
			if err == nil || strings.Contains(err.Error(), "does not exist") {
				break
			}
			select {
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			case <-deadline.C:
				return fmt.Errorf("remove set %s: %w", name, err)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}

func (d *Driver) ipsetRestore(ctx context.Context, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	_, err := run(ctx, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
		return err
	}, d.ipset, "restore", "-exist")
	return err
}

// fits reports whether the kernel's set has the parameters of s.
func (s *set) fits(have *kernelSet) bool {
	return have.typ == s.typ() && have.v6 == s.v6 && have.max == s.max && have.timed == s.timed() &&
		(!s.timed() || have.timeout == s.timeout) && (s.kind == kindMeter && s.v6) == (have.netmask == 64)
}
