// Package iptables keeps a firewall.Ruleset in the kernel with iptables, ip6tables and ipset. It is for hosts without
// nftables; it works with the nft and the legacy variant of the tools.
//
// The model in words. All rules are in chains of ours in the filter tables, whose names are PLATFORM or begin with
// PLATFORM_; whatever grows is an ipset whose name begins with platform-. Three jumps lead there: from INPUT, from OUTPUT,
// and from DOCKER-USER where there is one, else from FORWARD. Our chains only ever drop: what is admitted RETURNs to the
// chain that jumped, so rules of others before and after keep their meaning. A published container port is matched by
// its original destination port, which Docker's address translation does not change.
//
// An engine that puts its rules before ours (Docker does for IPv6 where it has no DOCKER-USER there, each time it starts)
// goes around the jump until the next Apply moves it to the front; Observe shows the jump as missing meanwhile.
//
// What is admitted changes in one switch for each family: sets are first made stricter (longer block lists, fewer
// always-allowed addresses), then iptables-restore commits all changed chains of the filter table at once, then sets are
// made looser. IPv4 and IPv6 are two commits, one after the other; between them IPv4 obeys the new ruleset and IPv6 the
// old one. Big sets are loaded aside, verified, and enter with the commit; a name tells their content.
//
// It never touches a table, chain, rule or set of others, flushes nothing it does not own, and never dumps a big set.
package iptables

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
)

// Names of ours. Everything with these prefixes belongs to the driver and is removed by Off.
const (
	chainInput  = "PLATFORM"
	chainPrefix = "PLATFORM_"
	setPrefix   = "platform-"
)

// Config is what a Driver needs. The zero value works.
type Config struct {
	// Variant is "nft" or "legacy" for iptables-nft or iptables-legacy; empty is what the host calls iptables.
	Variant string
	// Now is the clock that decides which blocks and bans have ended; nil is time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Driver implements firewall.Driver, firewall.Stager and firewall.Tightener. What it knows is in the kernel, but for which
// sets are there in advance.
type Driver struct {
	loading sync.Mutex // big sets are loaded one at a time, because a set has one name while it is loaded
	mu      sync.Mutex
	staged  map[string]bool // names of sets in the kernel that no rule refers to yet and that are to stay
	tools   [2]*tools       // IPv4, IPv6
	ipset   string
	now     func() time.Time
	log     *slog.Logger
}

var _ firewall.Driver = (*Driver)(nil)

// New finds the programs. The error names every one that is missing and the package to install.
func New(cfg Config) (*Driver, error) {
	d := &Driver{now: cfg.Now, log: cfg.Log, staged: map[string]bool{}}
	if d.now == nil {
		d.now = time.Now
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if err := d.find(cfg.Variant); err != nil {
		return nil, fmt.Errorf("iptables: %w", err)
	}
	return d, nil
}

// Name implements firewall.Driver.
func (*Driver) Name() string { return "iptables" }

// Render implements firewall.Driver. It leaves out blocks and bans that have ended.
func (d *Driver) Render(rs *firewall.Ruleset) (firewall.Listing, error) {
	s, err := newSpec(rs, d.now())
	if err != nil {
		return nil, fmt.Errorf("iptables: render: %w", err)
	}
	return s.listing(), nil
}

// Observe implements firewall.Driver.
func (d *Driver) Observe(ctx context.Context) (firewall.Listing, error) {
	staged := d.stagedNames() // a set that is staged under another name, or not any more, while this reads, is no drift
	k, err := d.read(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("iptables: observe: %w", err)
	}
	maps.Copy(staged, d.stagedNames())
	return k.listing(staged), nil
}

// Counters implements firewall.Driver. The counters of IPv4 and IPv6 are added up. They start again when Off or somebody
// else removes the chain of the reason. Sources that a full memory of connections refuses are not counted.
func (d *Driver) Counters(ctx context.Context) ([]firewall.Counter, error) {
	sums := map[firewall.Reason]*firewall.Counter{}
	var out []firewall.Counter
	for _, t := range d.tools {
		tab, err := t.save(ctx, true)
		if err != nil {
			return nil, fmt.Errorf("iptables: counters: %w", err)
		}
		for _, c := range tab.chains {
			for _, r := range c.rules {
				reason, ok := r.reason()
				if !ok || !ours(c.name) {
					continue
				}
				if sums[reason] == nil {
					sums[reason] = &firewall.Counter{Reason: reason}
				}
				sums[reason].Packets += r.packets
				sums[reason].Bytes += r.bytes
			}
		}
	}
	for _, c := range sums {
		out = append(out, *c)
	}
	sortCounters(out)
	return out, nil
}
