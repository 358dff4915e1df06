package iptables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/platformd/platformd/firewall"
)

// kernel is what is there.
type kernel struct {
	tables [2]*table
	sets   map[string]*kernelSet // of ours, by name
}

// read reads the filter tables and the sets; see readSets for counting.
func (d *Driver) read(ctx context.Context, counting bool) (*kernel, error) {
	k := &kernel{}
	var errs [2]error
	var wg sync.WaitGroup
	for i, t := range d.tools {
		wg.Go(func() { k.tables[i], errs[i] = t.save(ctx, false) })
	}
	c, err := dialIPSet()
	if err == nil {
		k.sets, err = readSets(c, counting)
		c.Close()
	}
	wg.Wait()
	return k, errors.Join(errs[0], errs[1], err)
}

// isSmall reports whether a set's members are read.
func isSmall(kernel string) bool {
	name, _, _, big := splitName(kernel)
	return !big && !strings.HasPrefix(name, "m_") && !strings.HasPrefix(name, "load")
}

// listing is what Render returns.
func (s *spec) listing() firewall.Listing {
	var l firewall.Listing
	if s.off {
		return l
	}
	for i, t := range s.tables {
		l = append(l, t.objects(i)...)
		for _, h := range hooks() {
			l = append(l, h.object(i))
		}
	}
	for _, x := range s.sets {
		l = append(l, x.object())
	}
	l.Sort()
	return l
}

// listing is what Observe returns. Staged sets are not part of it before a rule refers to them.
func (k *kernel) listing(staged map[string]bool) firewall.Listing {
	var l firewall.Listing
	used := map[string]bool{}
	for i, t := range k.tables {
		l = append(l, t.objects(i)...)
		for _, h := range hooks() {
			if h.inForce(t) {
				l = append(l, h.object(i))
			}
		}
		for _, c := range t.chains {
			for _, r := range c.rules {
				for _, name := range r.sets() {
					used[name] = true
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.sets)) {
		if used[name] || !staged[name] {
			l = append(l, k.sets[name].object(used[name]))
		}
	}
	l.Sort()
	return l
}

// objects lists the chains and rules of ours.
func (t *table) objects(family int) firewall.Listing {
	var l firewall.Listing
	for _, c := range t.chains {
		if !ours(c.name) {
			continue
		}
		name := fmt.Sprintf("v%d %s", 4+2*family, c.name)
		seen := map[string]int{}
		var order []string
		for _, r := range c.rules {
			id := cmp.Or(r.id, "foreign")
			if seen[id]++; seen[id] > 1 {
				id += fmt.Sprintf(" (%d)", seen[id])
			}
			order = append(order, id)
			text := "-A " + c.name + " " + r.logical().String()
			l = append(l, firewall.Object{Kind: "rule", Name: name + "/" + id, Text: text, Digest: hash(text)})
		}
		l = append(l, firewall.Object{Kind: "chain", Name: name, Text: ":" + c.name + " -", Digest: hash(order...)})
	}
	return l
}

// sets are the names of the sets that a rule mentions, as the rule has them.
func (r rule) sets() []string {
	var out []string
	for i := 0; i+1 < len(r.args); i++ {
		if r.args[i] == "--match-set" || r.args[i] == "--add-set" {
			out = append(out, r.args[i+1])
		}
	}
	return out
}

// withSets replaces the names of sets.
func (r rule) withSets(rename func(string) string) rule {
	args := slices.Clone(r.args)
	for i := 0; i+1 < len(args); i++ {
		if args[i] == "--match-set" || args[i] == "--add-set" {
			args[i+1] = rename(args[i+1])
		}
	}
	r.args = args
	return r
}

// logical gives sets the names that stay the same when their content changes.
func (r rule) logical() rule {
	return r.withSets(func(kernel string) string {
		if name, _, _, big := splitName(kernel); big {
			return setPrefix + name
		}
		return kernel
	})
}

func (s *set) object() firewall.Object {
	o := firewall.Object{Kind: "set", Name: s.name}
	netmask := uint8(0)
	if s.kind == kindMeter && s.v6 {
		netmask = 64
	}
	if s.kind == kindBig {
		return describeBig(o, s.typ(), s.v6, s.content)
	}
	return describe(o, s.typ(), s.v6, s.max, s.timed(), s.timeout, netmask, slices.Collect(maps.Keys(s.members)), slices.Sorted(maps.Keys(s.tuples)))
}

func (s *kernelSet) object(used bool) firewall.Object {
	name, content, elements, big := splitName(s.name)
	o := firewall.Object{Kind: "set", Name: name}
	if big {
		if !used {
			o.Name = strings.TrimPrefix(s.name, setPrefix)
		}
		if s.elements != uint32(elements) {
			content += fmt.Sprintf(" with %d instead of %d elements", s.elements, elements)
		}
		return describeBig(o, s.typ, s.v6, content)
	}
	return describe(o, s.typ, s.v6, s.max, s.timed, s.timeout, s.netmask, slices.Collect(maps.Keys(s.members)), slices.Sorted(maps.Keys(s.tuples)))
}

func describeBig(o firewall.Object, typ string, v6 bool, content string) firewall.Object {
	o.Text = fmt.Sprintf("create %s%s %s family %s content %s", setPrefix, o.Name, typ, familyName(v6), content)
	o.Digest = hash(o.Text)
	return o
}

func describe(o firewall.Object, typ string, v6 bool, most uint32, timed bool, timeout uint32, netmask uint8, members []netip.Prefix, tuples []string) firewall.Object {
	o.Text = fmt.Sprintf("create %s%s %s family %s maxelem %d", setPrefix, o.Name, typ, familyName(v6), most)
	if netmask != 0 {
		o.Text += fmt.Sprintf(" netmask %d", netmask)
	}
	if timed {
		o.Text += fmt.Sprintf(" timeout %d", timeout)
	}
	slices.SortFunc(members, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	parts := []string{o.Text}
	for _, p := range members {
		parts = append(parts, p.String())
	}
	o.Digest = hash(append(parts, tuples...)...)
	if len(tuples) > 0 {
		o.Text += fmt.Sprintf(" # %d elements, first %s", len(tuples), tuples[0])
	}
	if len(members) > 0 {
		o.Text += fmt.Sprintf(" # %d elements, first %v", len(members), members[0])
	}
	return o
}

func familyName(v6 bool) string {
	if v6 {
		return "inet6"
	}
	return "inet"
}
