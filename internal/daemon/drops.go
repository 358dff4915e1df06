package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/nflog"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/doctor/probe"
	"github.com/platformd/platformd/internal/health"
)

// Bounds of what is remembered of refused packets.
const (
	dropsKept  = 10_000
	talliesMax = 20_000
	topLength  = 20
)

// drops remembers refused packets: the newest of them, and tallies by source and by port.
type drops struct {
	ring  *activity.Ring[nflog.Packet]
	mu    sync.Mutex
	since time.Time
	lost  uint64
	by    map[tallyKey]uint64
	ports map[string]uint64
}

type tallyKey struct {
	source netip.Addr
	reason firewall.Reason
}

func newDrops() *drops {
	return &drops{ring: activity.NewRing[nflog.Packet](dropsKept), since: time.Now(), by: map[tallyKey]uint64{}, ports: map[string]uint64{}}
}

// add remembers a packet. It is put down to peer, the end that is not this host.
func (x *drops) add(p nflog.Packet, peer netip.Addr) {
	x.ring.Add(p)
	x.mu.Lock()
	defer x.mu.Unlock()
	tally(x.by, tallyKey{peer, p.Reason})
	if p.Port != 0 {
		tally(x.ports, fmt.Sprintf("%d/%s", p.Port, p.Protocol))
	}
}

// tally counts, and when there is no room drops what was seen once.
func tally[K comparable](m map[K]uint64, k K) {
	if _, ok := m[k]; !ok && len(m) >= talliesMax {
		for old, n := range m {
			if n <= 1 || len(m) >= talliesMax {
				delete(m, old)
			}
		}
	}
	m[k]++
}

// dropped remembers a refused packet, unless doctor's probe sent it to see that it is refused.
func (d *Daemon) dropped(p nflog.Packet) {
	if p.Interface != probe.Link && !d.probes.has(p.Source) {
		peer := p.Source
		if slices.Contains(d.addresses(), peer) {
			peer = p.Destination
		}
		d.drops.add(p, peer)
	}
}

// readDrops reads the packet log until ctx ends, and again after an error.
func (d *Daemon) readDrops(ctx context.Context) error {
	for ctx.Err() == nil {
		err := nflog.Read(ctx, firewall.LogGroup, d.dropped, func() {
			d.drops.mu.Lock()
			d.drops.lost++
			d.drops.mu.Unlock()
		})
		if ctx.Err() != nil {
			break
		}
		d.health.Set(health.Condition{ID: "packet-log", Severity: health.Warning, Message: "refused packets cannot be shown: " + err.Error(),
			Remedy: "the firewall works without it; look whether another program reads NFLOG group " + fmt.Sprint(firewall.LogGroup)})
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
		d.health.Clear("packet-log")
	}
	return ctx.Err()
}

// Drops implements api.Host.
func (d *Daemon) Drops(_ context.Context, after uint64, limit int) ([]api.Drop, error) {
	var out []api.Drop
	for _, e := range d.drops.ring.Newest(limit) {
		if e.Seq > after {
			out = append(out, d.wireDrop(e))
		}
	}
	return out, nil
}

// FollowDrops implements api.Host.
func (d *Daemon) FollowDrops(ctx context.Context, after uint64, send func(api.Drop) error) error {
	for e := range d.drops.ring.Follow(ctx, after) {
		if err := send(d.wireDrop(e)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (d *Daemon) wireDrop(e activity.Entry[nflog.Packet]) api.Drop {
	p := e.Value
	return api.Drop{Seq: e.Seq, Time: p.Time, Reason: d.reasonOf(p), Protocol: p.Protocol, Source: p.Source.String(), SourcePort: p.SourcePort,
		Destination: p.Destination.String(), Port: p.Port, Interface: p.Interface}
}

// Top implements api.Host.
func (d *Daemon) Top(ctx context.Context) (api.Top, error) {
	d.drops.mu.Lock()
	out := api.Top{Since: d.drops.since, Lost: d.drops.lost}
	for k, n := range d.drops.by {
		out.Sources = append(out.Sources, api.TopEntry{Key: k.source.String(), Reason: string(k.reason), Packets: n})
	}
	for k, n := range d.drops.ports {
		out.Ports = append(out.Ports, api.TopEntry{Key: k, Packets: n})
	}
	d.drops.mu.Unlock()
	for _, list := range []*[]api.TopEntry{&out.Sources, &out.Ports} {
		slices.SortFunc(*list, func(a, b api.TopEntry) int {
			return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(a.Key, b.Key))
		})
		*list = (*list)[:min(len(*list), topLength)]
	}
	for i, e := range out.Sources {
		if a, err := netip.ParseAddr(e.Key); err == nil {
			if l, err := d.LookupGeo(ctx, a); err == nil {
				out.Sources[i].Country = l.Country
			}
		}
	}
	if driver := d.filter.current(); driver != nil {
		counters, err := driver.Counters(ctx)
		if err != nil {
			return out, err
		}
		out.Counters = counters
	}
	return out, nil
}
