package nft

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// Chains have generations too, and all chains of a generation are made and removed together. For a moment the kernel has
// two of them: a packet then passes the base chains of both, and what either of them drops is dropped. So between two
// policies there is always one that admits only what both do, whichever hooks a packet has behind it and before it.

// generationSuffix makes a name for a generation.
func generationSuffix() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// kernelChain is the name of a chain in a generation.
func kernelChain(logical, generation string) string { return logical + "_" + generation }

// generationOf is the generation in the kernel name of a chain or set; empty where there is none.
func generationOf(kernel string) string {
	l := logicalName(kernel)
	if l == kernel {
		return ""
	}
	return kernel[len(l)+1:]
}

// generations lists those that have chains.
func (s *snapshot) generations() []string {
	var out []string
	for _, c := range s.chains {
		if g := generationOf(c.Name); !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out
}

// find looks for a generation whose chains and map of services are what is wanted, and whose rules refer to the set
// generations that are wanted.
func (a *application) find() (generation string, ok bool) {
	for _, g := range a.have.generations() {
		if g != "" && a.complete(g) {
			return g, true
		}
	}
	return "", false
}

func (a *application) complete(g string) bool {
	n := 0
	for _, c := range a.have.chains {
		if generationOf(c.Name) == g {
			n++
		}
	}
	if n != len(a.want.chains) {
		return false
	}
	m, content := a.servicesOf(g)
	if want := a.want.set("services"); m == "" || want == nil || content != want.content() {
		return false
	}
	a.names["services"] = m
	for _, c := range a.want.chains {
		if !a.sameChain(c, g) {
			return false
		}
	}
	return true
}

// servicesOf is the map of services that a generation's rules refer to, and what is in it.
func (a *application) servicesOf(g string) (name, content string) {
	for chain, rules := range a.have.rules {
		if generationOf(chain) != g {
			continue
		}
		for _, r := range rules {
			for _, n := range setsOf(r.Exprs) {
				if logicalName(n) == "services" {
					name = n
				}
			}
		}
	}
	for _, o := range a.have.sets {
		if o.name == name {
			content = o.content
		}
	}
	return name, content
}

// sameChain reports whether a chain of a generation has the wanted hook and rules.
func (a *application) sameChain(c *chain, g string) bool {
	name := kernelChain(c.name, g)
	i := slices.IndexFunc(a.have.chains, func(k *nftables.Chain) bool { return k.Name == name })
	if i < 0 || chainObject(c.name, c.hook) != observedChain(a.have.chains[i]) {
		return false
	}
	have := a.have.rules[name]
	if len(have) != len(c.rules) {
		return false
	}
	for i, r := range c.rules {
		id, _ := userdata.GetString(have[i].UserData, userdata.TypeComment)
		if id != r.id || canonical(have[i].Exprs) != canonical(r.exprs) || !slices.Equal(setsOf(have[i].Exprs), setsOf(a.bind(r.exprs))) {
			return false
		}
	}
	return true
}

// addRegular queues the chains that are only jumped to; they are empty, and nothing jumps to them yet.
func (a *application) addRegular() {
	for _, c := range a.want.chains {
		if c.hook == nil {
			a.nc.AddChain(&nftables.Chain{Name: kernelChain(c.name, a.generation), Table: table()})
		}
	}
}

// addRules queues the base chains and all rules of the new generation.
func (a *application) addRules() error {
	before, err := banned(a.nc)
	if err != nil {
		return err
	}
	for _, c := range a.want.chains {
		k := &nftables.Chain{Name: kernelChain(c.name, a.generation), Table: table()}
		if c.hook != nil {
			policy := nftables.ChainPolicyAccept // so that a chain emptied by somebody does not lock the owner out
			k.Type, k.Policy = nftables.ChainTypeFilter, &policy
			k.Hooknum, k.Priority = nftables.ChainHookRef(nftables.ChainHook(c.hook.number)), nftables.ChainPriorityRef(nftables.ChainPriority(c.hook.priority))
			a.nc.AddChain(k)
		}
		for _, r := range c.rules {
			a.nc.AddRule(&nftables.Rule{Table: table(), Chain: k, Exprs: goOn(a.bind(r.exprs), before),
				UserData: userdata.AppendString(nil, userdata.TypeComment, r.id)})
		}
	}
	return nil
}

// goOn lets the counter of a rule begin with what those of former generations counted. What they count until they are
// removed, some milliseconds later, is lost.
func goOn(exprs []expr.Any, before expr.Counter) []expr.Any {
	for i, e := range exprs {
		if _, ok := e.(*expr.Counter); ok {
			exprs[i] = &before
		}
	}
	return exprs
}

// banned is what the rule with a counter of its own has counted. For a moment there are two generations of it, of which one
// began with what the other had.
func banned(nc *nftables.Conn) (sum expr.Counter, err error) {
	chains, err := nc.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return sum, fmt.Errorf("list chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name != tableName || logicalName(ch.Name) != rawChain {
			continue
		}
		rules, err := nc.GetRules(table(), ch)
		if err != nil {
			return sum, fmt.Errorf("list rules of chain %s: %w", ch.Name, err)
		}
		for _, r := range rules {
			for _, e := range r.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					sum.Packets, sum.Bytes = max(sum.Packets, c.Packets), max(sum.Bytes, c.Bytes)
				}
			}
		}
	}
	return sum, nil
}

// bind names the generations of sets and chains in expressions.
func (a *application) bind(exprs []expr.Any) []expr.Any {
	out := slices.Clone(exprs)
	for i, e := range out {
		switch x := e.(type) {
		case *expr.Lookup:
			y := *x
			y.SetName = a.names[x.SetName]
			out[i] = &y
		case *expr.Dynset:
			y := *x
			y.SetName = a.names[x.SetName]
			out[i] = &y
		case *expr.Verdict:
			out[i] = a.bindVerdict(x)
		}
	}
	return out
}

func (a *application) bindVerdict(v *expr.Verdict) *expr.Verdict {
	y := *v
	if y.Chain != "" {
		y.Chain = kernelChain(y.Chain, a.generation)
	}
	return &y
}
