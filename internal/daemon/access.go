package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/platformd/platformd/internal/accesslog"
	"github.com/platformd/platformd/internal/api/wire"
)

// ProxyLog implements api.Host.
func (d *Daemon) ProxyLog(_ context.Context, f wire.AccessFilter, limit int) ([]wire.Access, error) {
	var out []wire.Access
	for _, e := range d.access.Newest(-1) {
		if f.Passes(&e.Access) {
			out = append(out, wire.Access(e))
		}
	}
	return out[max(0, len(out)-limit):], nil
}

// FollowProxyLog implements api.Host.
func (d *Daemon) FollowProxyLog(ctx context.Context, f wire.AccessFilter, after uint64, send func(wire.Access) error) error {
	for e := range d.access.Follow(ctx, after) {
		if f.Passes(&e.Access) {
			if err := send(wire.Access(e)); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// ProxyTop implements api.Host.
func (d *Daemon) ProxyTop(context.Context) (wire.ProxyTop, error) {
	records := d.access.Newest(-1)
	lost, _ := d.access.State()
	out := wire.ProxyTop{Requests: len(records), Lost: lost}
	if len(records) > 0 {
		out.Since = records[0].Time
	}
	out.Routes = topRows(records, func(e *accesslog.Entry) string { return cmp.Or(e.Route, e.Stream, "none") })
	out.Clients = topRows(records, func(e *accesslog.Entry) string { return e.Client.String() })
	return out, nil
}

// topRows sums records up by key, most requests first.
func topRows(records []accesslog.Entry, key func(*accesslog.Entry) string) []wire.ProxyRow {
	rows := map[string]*wire.ProxyRow{}
	times := map[string][]float64{}
	for i := range records {
		e := &records[i]
		k := key(e)
		if rows[k] == nil {
			rows[k] = &wire.ProxyRow{Key: k}
		}
		r := rows[k]
		r.Requests++
		r.Sent += e.Sent
		if e.Status >= 500 {
			r.Errors++
		}
		if e.Reason != "" {
			r.Refused++
		}
		times[k] = append(times[k], float64(e.Took)/float64(time.Millisecond))
	}
	var out []wire.ProxyRow
	for k, r := range rows {
		t := times[k]
		slices.Sort(t)
		r.P50, r.P95, r.P99 = quantile(t, 50), quantile(t, 95), quantile(t, 99)
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b wire.ProxyRow) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Key, b.Key))
	})
	return out[:min(len(out), topLength)]
}

// quantile is the value below which percent of sorted lie (nearest rank).
func quantile(sorted []float64, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*percent+99)/100-1]
}
