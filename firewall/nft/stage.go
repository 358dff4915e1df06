package nft

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"github.com/platformd/platformd/firewall"
)

func (d *Driver) stagedNames() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.staged)
}

// Stage implements firewall.Stager.
func (d *Driver) Stage(ctx context.Context, rs *firewall.Ruleset) error {
	return connected(func(c *netlink.Conn, nc *nftables.Conn) error { return d.stage(ctx, c, nc, rs) })
}

func (d *Driver) stage(ctx context.Context, c *netlink.Conn, nc *nftables.Conn, rs *firewall.Ruleset) error {
	have, err := observe(c, nc, d.stagedNames)
	if err != nil || !have.exists || rs.Off {
		return err
	}
	a := &application{wire: c, nc: nc, have: have, want: newSpec(rs), names: map[string]string{}, watch: &d.watch, made: d.remember}
	wanted := map[string]bool{}
	for _, x := range a.want.sets {
		if x.big == nil && x.kind != kindPages {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !a.reuse(x, time.Now()) {
			if err := a.create(x, time.Now()); err != nil {
				return errors.Join(err, a.abandon(), d.forget(nc, wanted))
			}
		}
		wanted[a.names[x.name]] = true
	}
	return d.forget(nc, wanted)
}

// remember protects a set that is being filled from Apply, which removes what it does not know.
func (d *Driver) remember(kernelName string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.staged[kernelName] = true
}

// forget removes what was staged and is not wanted any more. Sets that rules refer to meanwhile are not staged any more.
func (d *Driver) forget(nc *nftables.Conn, wanted map[string]bool) error {
	var gone []string
	for name := range d.stagedNames() {
		if !wanted[name] {
			nc.DelSet(&nftables.Set{Table: table(), Name: name})
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	err := nc.Flush()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range gone {
		delete(d.staged, name)
	}
	return err
}
