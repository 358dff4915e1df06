package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"os/user"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/reconcile"
)

// addresses are this host's own, loopback included.
func (d *Daemon) addresses() []netip.Addr { return *d.own.Load() }

func (d *Daemon) readAddresses() error {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list own addresses: %w", err)
	}
	own := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && !d.probes.has(ip.Unmap()) {
			own = append(own, ip.Unmap())
		}
	}
	d.own.Store(&own)
	return nil
}

// watchAddresses keeps them right when interfaces come and go.
func (d *Daemon) watchAddresses(ctx context.Context) error {
	updates := make(chan netlink.AddrUpdate, 64)
	if err := netlink.AddrSubscribe(updates, ctx.Done()); err != nil {
		d.log.Warn("watch own addresses", "error", err)
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u, open := <-updates:
			if !open {
				<-ctx.Done()
				return ctx.Err()
			}
			if a, ok := netip.AddrFromSlice(u.LinkAddress.IP); ok && d.probes.has(a.Unmap()) {
				continue // comes and goes with a probe; no list or policy depends on it
			}
			if err := d.readAddresses(); err != nil {
				d.log.Warn("read own addresses", "error", err)
			}
			d.lists.wake()
			d.loop.Kick(reconcile.Cause{Kind: "retry"})
		}
	}
}

// housekeep keeps the stores within their retention.
func (d *Daemon) housekeep(ctx context.Context) error {
	for {
		s, _ := d.store.Current()
		settings := s.Settings.WithDefaults()
		_, err := d.store.Prune(ctx)
		if err == nil {
			_, err = d.activity.Prune(ctx, d.now().AddDate(0, 0, -settings.ActivityDays))
		}
		if err != nil && ctx.Err() == nil {
			d.health.Set(health.Condition{ID: "retention", Severity: health.Warning, Message: "old records could not be removed: " + err.Error()})
		} else {
			d.health.Clear("retention")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Hour):
		}
	}
}

// groupID is the number of a group, -1 where there is none of that name.
func groupID(name string) int {
	g, err := user.LookupGroup(name)
	if err != nil {
		return -1
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return -1
	}
	return id
}
