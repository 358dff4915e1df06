//lint:file-ignore SA5001 a Result of a worker is never nil, and closing an empty one is nothing
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/host"
	"github.com/platformd/platformd/internal/worker"
)

// geoEvery is how often the files of country data are looked at; one that did not change costs nothing.
const geoEvery = 6 * time.Hour

// defaultGeo are the files that the package tor-geoipdb installs.
func defaultGeo() []firewall.GeoSource {
	return []firewall.GeoSource{{Path: "/usr/share/tor/geoip", Format: "tor"}, {Path: "/usr/share/tor/geoip6", Format: "tor"}}
}

func defaultGeoThere() bool { return fileExists(defaultGeo()[0].Path) }

// geoSources are the files that a policy names, or the default ones.
func geoSources(p *firewall.Policy) []firewall.GeoSource {
	if len(p.GeoData) == 0 {
		return defaultGeo()
	}
	return p.GeoData
}

// readGeo reads the files of country data that changed, in a process without privileges.
func (d *Daemon) readGeo(ctx context.Context, p *firewall.Policy, force bool) error {
	l := d.lists
	l.reading.Lock() // reading takes long; what was asked for later must not be overwritten by what was asked for first
	defer l.reading.Unlock()
	l.work.Lock()
	m, err := l.geo.Get()
	l.work.Unlock()
	if err != nil {
		return err
	}
	sources := geoSources(p)
	var read []geo.Source
	fresh := len(m.Sources) != len(sources) || m.DB.Digest == ""
	for i, s := range sources {
		res, err := l.pool.Run(ctx, worker.Job{Kind: worker.ParseGeo, Source: s.Path, Format: s.Format})
		defer res.Close()
		if err != nil {
			l.work.Lock()
			_, saveErr := l.geo.Failed(err, d.now())
			l.work.Unlock()
			return d.reportGeo(ctx, m, false, errors.Join(err, saveErr))
		}
		read = append(read, res.Geo())
		fresh = fresh || i >= len(m.Sources) || m.Sources[i].Stamp != read[i].Stamp || m.Sources[i].Path != s.Path
	}
	if !fresh && !force {
		return d.reportGeo(ctx, m, false, nil)
	}
	if s, _ := d.store.Current(); !slices.Equal(geoSources(&s.Firewall), sources) {
		return nil // the policy names other files meanwhile; they are read next
	}
	l.work.Lock()
	defer l.work.Unlock()
	m, changed, err := l.geo.Put(read, force, d.now())
	if err == nil {
		l.mu.Lock()
		l.data = m.DB
		l.mu.Unlock()
	}
	return d.reportGeo(ctx, m, changed, err)
}

func (d *Daemon) reportGeo(ctx context.Context, m geo.Meta, changed bool, err error) error {
	if err != nil {
		d.health.Set(health.Condition{ID: "geo-data", Severity: health.Warning, Message: "country data: " + err.Error(),
			Remedy: "the last good data stays in force; install the package tor-geoipdb, or correct firewall.geo_data, then: platformctl geo update"})
		d.record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.GeoDataRejected, Object: "geo", Outcome: activity.Failed, Message: err.Error()})
		return err
	}
	d.health.Clear("geo-data")
	if changed {
		d.edge.kick()
		d.record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.GeoDataUpdated, Object: "geo", Outcome: activity.OK,
			Message: fmt.Sprintf("%d IPv4 and %d IPv6 records", m.DB.V4, m.DB.V6)})
	}
	return nil
}

// Geo implements api.Host.
func (d *Daemon) Geo(context.Context) (api.GeoStatus, error) {
	s, _ := d.store.Current()
	_, sets := d.lists.sets(&s.Firewall)
	out := api.GeoStatus{Rules: []api.GeoRuleStatus{}}
	for _, g := range s.Firewall.Geo {
		set := sets[host.GeoKey(g)]
		out.Rules = append(out.Rules, api.GeoRuleStatus{GeoRule: g, Ranges: set.V4 + set.V6})
	}
	d.lists.work.Lock()
	defer d.lists.work.Unlock()
	m, err := d.lists.geo.Get()
	if err != nil {
		return out, err
	}
	for _, src := range m.Sources {
		out.Sources = append(out.Sources, src.Path)
	}
	out.Loaded, out.RangesV4, out.RangesV6, out.LastError = m.Changed, m.DB.V4, m.DB.V6, m.Error
	if m.DB.Path != "" {
		db, err := geo.Open(m.DB.Path)
		if err != nil {
			return out, err
		}
		defer db.Close()
		countries, err := db.Countries()
		if err != nil {
			return out, err
		}
		out.Countries = len(countries)
	}
	return out, nil
}

// UpdateGeo implements api.Host.
func (d *Daemon) UpdateGeo(ctx context.Context, _ api.Caller) (api.GeoStatus, error) {
	s, _ := d.store.Current()
	if err := d.readGeo(ctx, &s.Firewall, true); err != nil {
		return api.GeoStatus{}, err
	}
	d.refreshLists(ctx)
	if _, err := d.loop.Sync(ctx); err != nil {
		return api.GeoStatus{}, err
	}
	return d.Geo(ctx)
}

// Countries implements api.Host.
func (d *Daemon) Countries() []api.Country {
	var out []api.Country
	for _, c := range geo.Countries() {
		out = append(out, api.Country{Code: c.Code.String(), Name: c.Name})
	}
	return out
}

// LookupGeo implements api.Host.
func (d *Daemon) LookupGeo(_ context.Context, a netip.Addr) (api.GeoLookup, error) {
	cc, r, ok, err := d.lists.country(a)
	out := api.GeoLookup{Address: a.String()}
	if err == nil && ok {
		out.Country, out.Name, out.Range = cc, geo.Name(cc), r.String()
	}
	return out, err
}
