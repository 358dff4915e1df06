package firewall

import (
	"cmp"
	"fmt"
	"slices"
)

// Object is one thing in the kernel that belongs to us, as a driver wants it or reads it back.
type Object struct {
	// Kind is "table", "chain", "rule", "set", "counter" or "jump".
	Kind string `json:"kind"`
	// Name is unique within its kind and stable over generations: "pre/040 blocks", "feeds4".
	Name string `json:"name"`
	// Text is one line for people, in the syntax of the driver's tool (nft(8), iptables-save(8)).
	Text string `json:"text"`
	// Digest is equal exactly where the meaning is equal. A set's digest covers its type, flags and, for a small set, its
	// members without their expiry; for a big one the digest of its file and its element count.
	Digest string `json:"digest"`
}

// Listing is everything of ours in the kernel, sorted by kind and name: what a driver renders from a Ruleset, and what it
// reads back. The two compare directly.
type Listing []Object

// Sort puts l into the order that Diff needs.
func (l Listing) Sort() {
	slices.SortFunc(l, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// Op is what a Change does to an object.
type Op string

// The operations of a Change.
const (
	OpAdd    Op = "add"
	OpRemove Op = "remove"
	OpChange Op = "change"
)

// Change is one difference between what is there and what is wanted.
type Change struct {
	Op     Op     `json:"op"`
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Before string `json:"before,omitempty"` // Text of what is there
	After  string `json:"after,omitempty"`  // Text of what is wanted
}

// String is one line for people.
func (c Change) String() string {
	switch c.Op {
	case OpAdd:
		return fmt.Sprintf("+ %s %s: %s", c.Kind, c.Name, c.After)
	case OpRemove:
		return fmt.Sprintf("- %s %s: %s", c.Kind, c.Name, c.Before)
	}
	return fmt.Sprintf("~ %s %s: %s -> %s", c.Kind, c.Name, c.Before, c.After)
}

// Diff lists what must change for have to become want, sorted by kind and name. Both must be sorted. An empty result
// means that they agree.
func Diff(want, have Listing) []Change {
	var out []Change
	i, j := 0, 0
	for i < len(want) || j < len(have) {
		c := 0
		switch {
		case i == len(want):
			c = 1
		case j == len(have):
			c = -1
		default:
			c = cmp.Or(cmp.Compare(want[i].Kind, have[j].Kind), cmp.Compare(want[i].Name, have[j].Name))
		}
		switch {
		case c < 0:
			out = append(out, Change{Op: OpAdd, Kind: want[i].Kind, Name: want[i].Name, After: want[i].Text})
			i++
		case c > 0:
			out = append(out, Change{Op: OpRemove, Kind: have[j].Kind, Name: have[j].Name, Before: have[j].Text})
			j++
		default:
			if want[i].Digest != have[j].Digest {
				out = append(out, Change{Op: OpChange, Kind: want[i].Kind, Name: want[i].Name, Before: have[j].Text, After: want[i].Text})
			}
			i, j = i+1, j+1
		}
	}
	return out
}
