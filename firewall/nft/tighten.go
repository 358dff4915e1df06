package nft

import (
	"context"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"github.com/platformd/platformd/firewall"
)

var (
	_ firewall.Tightener = (*Driver)(nil)
	_ firewall.Admitter  = (*Driver)(nil)
)

// Tighten implements firewall.Tightener: it adds what is missing in the sets of bans and blocks, and compares no rule.
func (d *Driver) Tighten(_ context.Context, rs *firewall.Ruleset) error {
	return connected(func(c *netlink.Conn, nc *nftables.Conn) error { return d.tighten(c, nc, rs) })
}

func (d *Driver) tighten(c *netlink.Conn, nc *nftables.Conn, rs *firewall.Ruleset) error {
	have, err := d.recall(c, nc)
	if err != nil || !have.exists || rs.Off {
		return err
	}
	now := time.Now()
	a := &application{wire: c, nc: nc, have: have, want: &spec{}}
	lists := &spec{}
	lists.listSets(rs)
	for _, x := range lists.sets {
		cur := have.current(x.name)
		if (x.kind != kindBans && x.kind != kindTimed) || cur == nil {
			continue
		}
		remove, _, add := difference(cur.members, x.small, now)
		if len(add) > 0 && (x.kind == kindBans || !overlap(remove, add)) {
			a.deltas = append(a.deltas, delta{set: x.kernel(table(), cur.name), intervals: x.kind == kindTimed, add: add})
		}
	}
	if len(a.deltas) == 0 {
		return nil
	}
	return a.switchOver()
}

// Admit implements firewall.Admitter: it adds what is missing in the sets of names, and compares no rule.
func (d *Driver) Admit(_ context.Context, rs *firewall.Ruleset) error {
	return connected(func(c *netlink.Conn, nc *nftables.Conn) error {
		have, err := d.recall(c, nc)
		if err != nil || !have.exists || rs.Off || len(rs.Segments.Bridges) == 0 {
			return err
		}
		a := &application{wire: c, nc: nc, have: have, want: &spec{}}
		lists := &spec{}
		lists.segmentSets(rs)
		for _, x := range lists.sets {
			if cur := have.current(x.name); x.kind == kindNames && cur != nil {
				add := delta{set: x.kernel(table(), cur.name)}
				_, add.tuples.renew, add.tuples.add = tupleDifference(cur.tuples, x.tuples, time.Now())
				if !add.empty() {
					a.deltas = append(a.deltas, add)
				}
			}
		}
		if len(a.deltas) == 0 {
			return nil
		}
		return a.switchOver()
	})
}
