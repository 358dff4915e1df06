package iptables

import (
	"fmt"
	"slices"

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
	if h.from != "FORWARD" {
		return position(t.chain(want), h.to) >= 0
	}
	// A jump in both places would count packets twice.
	return position(t.chain(want), h.to) >= 0 && (want == h.from || position(t.chain(h.from), h.to) < 0)
}

// place is the chain that the jump belongs in: where it is already, if that is asked before Docker's rules; else Docker's
// chain for others, if the kernel's chain jumps there; else the kernel's chain.
func (h hook) place(t *table) string {
	if h.from != "FORWARD" {
		return h.from
	}
	docker := position(t.chain(h.from), dockerUser)
	if docker < 0 || t.chain(dockerUser) == nil {
		return h.from
	}
	if own := position(t.chain(h.from), h.to); own >= 0 && own < docker {
		return h.from
	}
	return dockerUser
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

// hook puts the jumps where they belong, and removes ours from where they do not. What is there keeps its position.
func (d *Driver) hook(family int, t *table) error {
	ipt := d.tools[family].tables
	for _, h := range hooks() {
		want := h.place(t)
		if position(t.chain(want), h.to) < 0 {
			if c := t.chain(want); c != nil { // behind a rule that takes everything
				for _, r := range c.rules {
					if r.plainJump() && r.target() == h.to {
						if err := ipt.Delete("filter", want, r.args...); err != nil {
							return fmt.Errorf("move the jump from %s to %s: %w", want, h.to, err)
						}
					}
				}
			}
			if err := ipt.Insert("filter", want, 1, "-j", h.to); err != nil {
				return fmt.Errorf("insert the jump from %s to %s: %w", want, h.to, err)
			}
		}
		for _, other := range []string{h.from, dockerUser} {
			if c := t.chain(other); c != nil && other != want {
				for _, r := range c.rules {
					if r.plainJump() && r.target() == h.to {
						if err := ipt.Delete("filter", other, r.args...); err != nil {
							return fmt.Errorf("remove the jump from %s to %s: %w", other, h.to, err)
						}
					}
				}
			}
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
