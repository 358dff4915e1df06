package nft

import (
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// listing of what is wanted.
func (s *spec) listing() firewall.Listing {
	if len(s.chains) == 0 {
		return nil
	}
	l := firewall.Listing{{Kind: "table", Name: "inet " + tableName, Text: "table inet " + tableName, Digest: "table"}}
	for _, c := range s.chains {
		l = append(l, chainObject(c.name, c.hook))
		for _, r := range c.rules {
			l = append(l, firewall.Object{Kind: "rule", Name: c.name + "/" + r.id, Text: r.text, Digest: canonical(r.exprs)})
		}
	}
	for _, x := range s.sets {
		k := x.kernel(table(), x.name)
		l = append(l, firewall.Object{Kind: "set", Name: x.name, Text: x.text(),
			Digest: digestOf(shape(setFlags(k), k.KeyType.GetNFTMagic(), k.Size, k.Timeout), x.content())})
	}
	for _, c := range s.counters {
		l = append(l, firewall.Object{Kind: "counter", Name: c, Text: "counter " + c, Digest: "counter"})
	}
	l.Sort()
	return l
}

// listing of what is there. A set generation that no rule refers to is an object of its own, so that it shows as one that
// must go.
func (s *snapshot) listing() firewall.Listing {
	if !s.exists {
		return nil
	}
	l := firewall.Listing{{Kind: "table", Name: "inet " + tableName, Text: "table inet " + tableName, Digest: "table"}}
	in := s.inForce()
	for _, c := range s.chains {
		name := logicalName(c.Name)
		if generationOf(c.Name) != in || name == c.Name {
			name = c.Name + " (old)"
		}
		o := observedChain(c)
		o.Name = name
		l = append(l, o)
		l = append(l, s.ruleObjects(c.Name, name)...)
	}
	for _, o := range s.sets {
		if o.staged && !o.inUse {
			continue
		}
		name := o.logical
		if cur := s.current(o.logical); cur != o {
			name = o.name + " (old)"
		}
		l = append(l, firewall.Object{Kind: "set", Name: name, Text: "set " + o.name,
			Digest: digestOf(shape(o.flags, o.keyType, o.size, o.timeout), o.content)})
	}
	for _, c := range s.counters {
		l = append(l, firewall.Object{Kind: "counter", Name: c, Text: "counter " + c, Digest: "counter"})
	}
	l.Sort()
	return l
}

// inForce is the generation of chains that has the most of them.
func (s *snapshot) inForce() string {
	count := map[string]int{}
	for _, c := range s.chains {
		if g := generationOf(c.Name); g != "" {
			count[g]++
		}
	}
	best := ""
	for _, g := range s.generations() {
		if count[g] > count[best] {
			best = g
		}
	}
	return best
}

func (s *snapshot) ruleObjects(kernel, name string) firewall.Listing {
	var l firewall.Listing
	last := ""
	for i, r := range s.rules[kernel] {
		id, ok := userdata.GetString(r.UserData, userdata.TypeComment)
		o := firewall.Object{Kind: "rule", Name: name + "/" + id, Text: "as it is in the kernel", Digest: canonical(r.Exprs)}
		switch {
		case !ok:
			o.Name, o.Text = fmt.Sprintf("%s/foreign %d", name, i), "a rule of somebody else"
		case id <= last:
			o.Name, o.Text = fmt.Sprintf("%s/%s (again or moved, %d)", name, id, i), "a rule out of its place"
		default:
			last = id
		}
		l = append(l, o)
	}
	return l
}

// observedChain is a chain as it is in the kernel, by its logical name.
func observedChain(c *nftables.Chain) firewall.Object {
	var h *hook
	if c.Hooknum != nil && c.Priority != nil {
		h = &hook{hookName(uint32(*c.Hooknum)), uint32(*c.Hooknum), int32(*c.Priority)}
	}
	o := chainObject(logicalName(c.Name), h)
	if h != nil && (c.Policy == nil || *c.Policy != nftables.ChainPolicyAccept) {
		o.Text, o.Digest = o.Text+" policy drop", o.Digest+" policy drop"
	}
	return o
}

func chainObject(name string, h *hook) firewall.Object {
	text := "chain"
	if h != nil {
		text = fmt.Sprintf("type filter hook %s priority %d; policy accept", h.name, h.priority)
	}
	return firewall.Object{Kind: "chain", Name: name, Text: text, Digest: text}
}

func hookName(n uint32) string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting"} // NF_INET_*, linux/netfilter.h
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprint("hook ", n)
}

// shape is what a set is without its members. Only meters and bans have a size of their own choosing.
func shape(flags, keyType, size uint32, timeout time.Duration) string {
	return fmt.Sprintf("flags %#x key %d size %d timeout %v", flags, keyType, size, timeout)
}

func setFlags(k *nftables.Set) uint32 {
	var f uint32
	for _, x := range []struct {
		on  bool
		bit uint32
	}{{k.Interval, unix.NFT_SET_INTERVAL}, {k.IsMap, unix.NFT_SET_MAP}, {k.HasTimeout, unix.NFT_SET_TIMEOUT},
		{k.Dynamic, unix.NFT_SET_EVAL}, {k.Concatenation, nftables.NFT_SET_CONCAT}} {
		if x.on {
			f |= x.bit
		}
	}
	return f
}
