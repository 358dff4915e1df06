package iptables

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/platformd/platformd/firewall"
)

// dockerUser is the chain that Docker keeps for rules of others. It is asked before Docker's own rules admit anything.
const dockerUser = "DOCKER-USER"

// hook is a jump from a chain of the kernel to one of ours.
type hook struct{ from, to string }

func hooks() []hook {
	return []hook{{"INPUT", chainInput}, {"FORWARD", chainForward}, {"OUTPUT", chainOutput}}
}

// object describes the hook as if it were in the kernel's own chain: a Listing does not depend on Docker.
func (h hook) object(family int) firewall.Object {
	text := fmt.Sprintf("-A %s -j %s", h.from, h.to)
	return firewall.Object{Kind: "jump", Name: fmt.Sprintf("v%d %s", 4+2*family, h.from), Text: text, Digest: hash(text)}
}

// inForce reports whether every packet of the hook meets the jump, and whether it is where it belongs.
func (h hook) inForce(t *table) bool {
	want := h.place(t)
	return h.effective(t, want) && len(h.misplaced(t, want)) == 0
}

// effective reports whether the jump in a chain is asked before anything that may admit the packet.
func (h hook) effective(t *table, chain string) bool {
	c := t.chain(chain)
	at := position(c, h.to)
	return at >= 0 && (chain != "FORWARD" || at < engine(c))
}

// place is the chain that the jump belongs in: where it is already, if that is asked before a container engine's rules;
// else Docker's chain for others, if that is asked before them; else the kernel's chain. Docker 20.10 has its chain for
// IPv4 alone.
func (h hook) place(t *table) string {
	if h.from != "FORWARD" || h.effective(t, h.from) || t.chain(dockerUser) == nil {
		return h.from
	}
	c := t.chain(h.from)
	if docker := position(c, dockerUser); docker >= 0 && docker <= engine(c) {
		return dockerUser
	}
	return h.from
}

// engine is the position of the first rule of a container engine, which may admit what we refuse; the number of rules where
// there is none.
func engine(c *chain) int {
	for i, r := range c.rules {
		for _, prefix := range []string{"DOCKER", "NETAVARK", "CNI-"} {
			if strings.HasPrefix(r.target(), prefix) {
				return i
			}
		}
	}
	return len(c.rules)
}

// misplaced lists plain jumps of ours that are not where they belong, as commands that remove them. A second one would
// count packets twice.
func (h hook) misplaced(t *table, want string) []string {
	var out []string
	for _, name := range []string{h.from, dockerUser} {
		c := t.chain(name)
		if c == nil || (name == want && h.effective(t, want)) {
			continue
		}
		for _, r := range c.rules {
			if r.plainJump() && r.target() == h.to {
				out = append(out, "-D "+name+" "+r.String())
			}
		}
	}
	return out
}

// position is the index of the plain jump from c to a chain, -1 where there is none or where packets leave c before it.
func position(c *chain, to string) int {
	if c == nil {
		return -1
	}
	return slices.IndexFunc(c.rules[:reach(c)], func(r rule) bool { return r.plainJump() && r.target() == to })
}

// reach is how many rules of c a packet can meet: rules behind one that takes everything are never asked.
func reach(c *chain) int {
	for i, r := range c.rules {
		if t := r.target(); r.plainJump() && (t == "ACCEPT" || t == "DROP" || t == "RETURN" || t == "REJECT") {
			return i
		}
	}
	return len(c.rules)
}

// hook puts the jumps where they belong, and removes ours from where they do not. What is in place keeps its position. A
// jump that moves does so in one commit.
func (d *Driver) hook(ctx context.Context, family int, t *table) error {
	for _, h := range hooks() {
		want := h.place(t)
		lines := h.misplaced(t, want)
		missing := !h.effective(t, want)
		var err error
		switch {
		case len(lines) > 0 && missing:
			err = d.tools[family].restore(ctx, append(lines, "-I "+want+" 1 -j "+h.to))
		case len(lines) > 0:
			err = d.tools[family].restore(ctx, lines)
		case missing:
			err = d.tools[family].tables.Insert("filter", want, 1, "-j", h.to)
		}
		if err != nil {
			return fmt.Errorf("jump from %s to %s: %w", want, h.to, err)
		}
	}
	return nil
}

// unhook removes every rule of others that leads to a chain of ours, so that the chain can go.
func (d *Driver) unhook(family int, t *table) error {
	for _, c := range t.chains {
		if ours(c.name) {
			continue
		}
		for _, r := range c.rules {
			if !ours(r.target()) {
				continue
			}
			if err := d.tools[family].tables.Delete("filter", c.name, r.args...); err != nil {
				return fmt.Errorf("remove the jump from %s to %s: %w", c.name, r.target(), err)
			}
		}
	}
	return nil
}
