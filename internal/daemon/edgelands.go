package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/bans"
	"github.com/platformd/platformd/internal/worker"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/limits"
)

// landed is the country data that a worker was given.
type landed struct {
	to     *worker.WebProcess
	digest string
}

// bringCountries gives the worker the country data in force, where a route or stream needs it and the worker has not got it. Until then
// every country is unknown to it, and routes say what that means.
func (e *edge) bringCountries(ctx context.Context) error {
	c := e.current()
	p := e.worker()
	if p == nil || !slices.ContainsFunc(c.Routes, func(r proxy.Route) bool { return r.Countries != nil }) &&
		!slices.ContainsFunc(c.Streams, func(s proxy.Stream) bool { return s.Countries != nil }) {
		return nil
	}
	data := e.lands()
	if data.Path == "" || e.landed == (landed{p, data.Digest}) {
		return nil
	}
	db, err := os.Open(data.Path)
	if err != nil {
		return fmt.Errorf("read country data: %w", err)
	}
	defer db.Close()
	sealed, err := worker.SealCountries(db)
	if err != nil {
		return err
	}
	defer sealed.Close()
	if err := p.Countries(ctx, sealed, data.Digest); err != nil {
		return err
	}
	e.landed = landed{p, data.Digest}
	return nil
}

// countryData is the country data in force; without a Path there is none.
func (d *Daemon) countryData() ranges.Info {
	d.lists.mu.Lock()
	defer d.lists.mu.Unlock()
	return d.lists.data
}

// webStrike takes what the proxy says of a client.
func (d *Daemon) webStrike(ctx context.Context, x limits.Strike) {
	if err := d.strike(ctx, bans.Strike{Source: x.Client, Reason: x.Reason, Detail: x.Detail, Time: d.now()}); err != nil {
		d.log.Warn("count a strike of the proxy", "error", err)
	}
}
