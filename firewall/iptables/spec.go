package iptables

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall"
)

// spec is the kernel as it should be: the same decisions as in the ruleset, spelled in chains, rules and sets. In rules,
// sets have the names they have in a Listing after setPrefix; see set.kernelName.
type spec struct {
	off    bool
	tables [2]*table
	sets   []*set
}

// newSpec spells the ruleset, without what has ended at now.
func newSpec(rs *firewall.Ruleset, now time.Time) (*spec, error) {
	s := &spec{off: rs.Off, tables: [2]*table{{}, {}}}
	if rs.Off {
		return s, nil
	}
	if err := s.listSets(rs, now); err != nil {
		return nil, err
	}
	for i, t := range s.tables {
		b := &builder{spec: s, rs: rs, t: t, v6: i == 1, digit: []string{"4", "6"}[i]}
		b.segments()
		b.input()
		b.lists()
		b.services()
		b.rateLimit()
		b.destinations()
		b.forward()
		b.output()
		if b.err != nil {
			return nil, b.err
		}
	}
	return s, nil
}

// builder spells one family.
type builder struct {
	*spec
	rs    *firewall.Ruleset
	t     *table
	v6    bool
	digit string
	err   error
}

// chain adds a chain.
func (b *builder) chain(name string) *chain {
	c := &chain{name: name}
	b.t.chains = append(b.t.chains, c)
	return c
}

// add appends a rule. match and target are in the order and the spelling in which iptables-save prints them.
func (c *chain) add(id string, match []string, target ...string) {
	args := append([]string{}, match...)
	args = append(args, "-m", "comment", "--comment", id)
	c.rules = append(c.rules, rule{id: id, args: append(args, target...)})
}

// m splits words; no word of ours has a blank in it.
func m(s string, a ...any) []string { return strings.Fields(fmt.Sprintf(s, a...)) }

// set matches the source or destination of a packet with a set of this family.
func (b *builder) set(name, dir string) []string {
	return m("-m set --match-set %s%s%s %s", setPrefix, name, b.digit, dir)
}

func (b *builder) notSet(name, dir string) []string {
	return m("-m set ! --match-set %s%s%s %s", setPrefix, name, b.digit, dir)
}

// has reports whether the spec has the set in this family.
func (b *builder) has(name string) bool {
	for _, x := range b.sets {
		if x.name == name+b.digit {
			return true
		}
	}
	return false
}

// refuse makes the chain that ends packets for a reason, once, and gives its name. It is a chain of its own so that its
// counters stay when other chains change. A ban is an event already and its drops must cost little, so it is not logged.
func (b *builder) refuse(reason firewall.Reason) string {
	name := chainName(dropPrefix, string(reason))
	if b.t.chain(name) != nil {
		return name
	}
	c := b.chain(name)
	if reason != firewall.ReasonBan {
		c.add("log", m("-m limit --limit %d/sec --limit-burst %d", firewall.LogRate, firewall.LogBurst),
			m("-j NFLOG --nflog-prefix %s%s --nflog-group %d --nflog-size %d", firewall.LogPrefix, reason, firewall.LogGroup, firewall.LogSnapLen)...)
	}
	c.add(firewall.LogPrefix+string(reason), nil, "-j", "DROP")
	return name
}

// chainName fits a name into the 28 characters that iptables allows. What is too long becomes a dot and a hash; no name
// of a ruleset begins with a dot.
func chainName(prefix, name string) string {
	if len(prefix)+len(name) <= 28 {
		return prefix + name
	}
	return prefix + "." + hash(name)
}

// hash is 40 bits of SHA-256 in eight letters and digits.
func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}
