package firewall

import (
	"context"
	"net/netip"
)

// Driver keeps a Ruleset in one kernel facility. Its methods are for one goroutine at a time, except that Probe and
// Counters may be called beside any other. The two drivers pass the same suite, firewall/conformance.
type Driver interface {
	// Name is "nft" or "iptables".
	Name() string
	// Render says what Apply would put there; it reads nothing. An Off ruleset renders to the empty listing.
	Render(rs *Ruleset) (Listing, error)
	// Observe reads what is there now. It never reads the elements of a big set.
	Observe(ctx context.Context) (Listing, error)
	// Apply makes the kernel agree with rs and may be called any number of times with the same. At no moment does a
	// packet pass that neither the old nor the new ruleset admits. An error does not mean that nothing changed: Observe
	// tells. Off removes every trace of ours. Foreign tables, chains and rules are never touched; hooks that are already
	// in place keep their position. found is what Apply went by, read before it changed anything: nothing can happen between
	// the two that is in neither. It is empty, beside the error, where it could not be read.
	Apply(ctx context.Context, rs *Ruleset) (found Listing, err error)
	// Probe reports whether the kernel holds a in the set, by the name it has in a Listing without its family digit:
	// "allow", "bans", "blocks", "feeds", "geo0". A set that is not there holds nothing; that is no error.
	Probe(ctx context.Context, set string, a netip.Addr) (bool, error)
	// Counters reads the counters of refused packets.
	Counters(ctx context.Context) ([]Counter, error)
}

// Watcher is a driver that can say at once that somebody else may have changed the kernel.
type Watcher interface {
	// Watch calls report for each change by another program until ctx ends, and returns ctx's error then. Changes by the
	// driver itself are not reported. It also calls report once when it begins to see changes, because there may have been
	// one before.
	Watch(ctx context.Context, report func(ChangedBy)) error
}

// ChangedBy names the program that changed the kernel's tables, as far as the kernel says; the zero value is unknown.
type ChangedBy struct {
	PID     uint32 `json:"pid,omitempty"`
	Program string `json:"program,omitempty"`
}

// Tightener is a driver whose Apply takes long beside what makes it stricter.
type Tightener interface {
	// Tighten refuses what the ruleset newly blocks or bans, as far as rules for it are in the kernel, and admits nothing.
	// It is no part of Apply, which does all of it again.
	Tighten(ctx context.Context, rs *Ruleset) error
}

// Stager is a driver that can put the big sets of a ruleset into the kernel before they are wanted. That takes long, and
// Apply, which then finds them there, must not.
type Stager interface {
	// Stage may be called beside Apply. What was staged before and is not in rs is forgotten.
	Stage(ctx context.Context, rs *Ruleset) error
}
