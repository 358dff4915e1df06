//lint:file-ignore SA5001 a Result of a worker is never nil, and closing an empty one is nothing
package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/feeds"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/host"
	"github.com/platformd/platformd/internal/reconcile"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/internal/worker"
)

// workerUser is the user that unprivileged work is done as; nobody is better than root.
func workerUser(name string) (uid, gid int) {
	for _, n := range []string{name, "platform-outbound", "nobody"} {
		u, err := user.Lookup(n)
		if n == "" || err != nil {
			continue
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
		if uid != 0 && gid != 0 && os.Geteuid() == 0 {
			return uid, gid
		}
	}
	return 0, 0
}

// keepLists fetches feeds when they are due, reads country data, and makes the sets that changed.
func (d *Daemon) keepLists(ctx context.Context) error {
	nextGeo := d.now()
	var named []firewall.GeoSource
	for {
		s, _ := d.store.Current()
		if !slices.Equal(named, geoSources(&s.Firewall)) {
			named, nextGeo = geoSources(&s.Firewall), d.now()
		}
		if !d.now().Before(nextGeo) && (len(s.Firewall.Geo) > 0 || len(s.Firewall.GeoData) > 0 || defaultGeoThere()) {
			if err := d.readGeo(ctx, &s.Firewall, false); err != nil && ctx.Err() == nil {
				d.log.Warn("read country data", "error", err)
			}
			nextGeo = d.now().Add(geoEvery)
		}
		wait := d.fetchDue(ctx)
		d.refreshLists(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.lists.wakes:
		case <-time.After(max(time.Second, min(wait, nextGeo.Sub(d.now())))):
		}
	}
}

// refreshLists makes the sets of the policy in force anew, loads them into the kernel beside those in use, and then has
// the rules switched. Only the last of these is done in the loop, so that loading holds up no other change.
func (d *Daemon) refreshLists(ctx context.Context) {
	s, _ := d.store.Current()
	sets, err := d.lists.make(ctx, &s.Firewall)
	if err == nil {
		err = d.stageLists(ctx, &s, sets)
	}
	if err != nil {
		if ctx.Err() == nil {
			d.health.Set(health.Condition{ID: "lists", Severity: health.Warning, Message: "lists are not as the policy wants them: " + err.Error(), Remedy: "what was in force before stays in force"})
		}
		return
	}
	d.health.Clear("lists")
	before, beforeGeo := d.lists.sets(&s.Firewall)
	d.lists.publish(sets)
	after, afterGeo := d.lists.sets(&s.Firewall)
	if before != after || !maps.Equal(beforeGeo, afterGeo) {
		d.loop.Kick(reconcile.Cause{Kind: "request"})
	}
	s, _ = d.store.Current()
	d.lists.forget(&s.Firewall)
}

// stageLists loads sets that are not in the kernel yet.
func (d *Daemon) stageLists(ctx context.Context, s *state.State, sets bigSets) error {
	feedsSet, geoSets := sets.of(&s.Firewall)
	facts := d.facts(&s.Firewall)
	if facts.Feeds == feedsSet && maps.Equal(facts.Geo, geoSets) {
		return nil
	}
	facts.Feeds, facts.Geo = feedsSet, geoSets
	want, err := host.Compile(s, facts)
	if err != nil {
		return err
	}
	return d.filter.stage(ctx, want.Firewall)
}

// fetchDue fetches the feeds whose time has come and says when the next one is due.
func (d *Daemon) fetchDue(ctx context.Context) time.Duration {
	wait := time.Hour
	s, _ := d.store.Current()
	for _, f := range s.Firewall.Feeds {
		if f.Disabled || ctx.Err() != nil {
			continue
		}
		due := d.due(f)
		if !due.After(d.now()) {
			_ = d.fetch(ctx, &s.Firewall, f, false) // is in the feed's own record and condition
			due = d.due(f)
		}
		wait = min(wait, due.Sub(d.now()))
	}
	return wait
}

// due is when a feed is to be fetched. The answer holds until the feed was fetched, because it has a random part.
func (d *Daemon) due(f firewall.Feed) time.Time {
	l := d.lists
	l.mu.Lock()
	t, ok := l.next[copyKey(f)]
	l.mu.Unlock()
	if ok {
		return t
	}
	l.work.Lock()
	m, err := l.feeds.Get(f.Name, f.Source)
	l.work.Unlock()
	if err != nil {
		return d.now()
	}
	t = feeds.Next(d.now(), m, time.Duration(f.Every), rand.Float64)
	l.mu.Lock()
	l.next[copyKey(f)] = t
	l.mu.Unlock()
	return t
}

// fetch gets one feed, in a process without privileges, and keeps what is plausible.
func (d *Daemon) fetch(ctx context.Context, p *firewall.Policy, f firewall.Feed, force bool) error {
	l := d.lists
	l.work.Lock()
	m, err := l.feeds.Get(f.Name, f.Source)
	l.work.Unlock()
	if err != nil {
		return err
	}
	job := worker.Job{Kind: worker.FetchFeed, Source: f.Source, Format: f.Format, ETag: m.ETag, LastModified: m.LastModified}
	if force {
		job.ETag, job.LastModified = "", ""
	}
	res, err := l.pool.Run(ctx, job)
	defer res.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	l.work.Lock()
	defer l.work.Unlock()
	l.mu.Lock()
	delete(l.next, copyKey(f))
	l.mu.Unlock()
	now := d.now()
	changed := false
	switch {
	case err != nil:
		var retry time.Time
		if res.RetryAfter > 0 {
			retry = now.Add(res.RetryAfter)
		}
		_, saveErr := l.feeds.Failed(f.Name, f.Source, err, retry, now)
		err = errors.Join(err, saveErr)
	case res.NotModified:
		_, err = l.feeds.Unchanged(f.Name, f.Source, now)
	default:
		cfg := feeds.VetConfig{Min: f.MinRanges, Max: f.MaxRanges, Own: singles(d.addresses()), Force: force}
		for _, a := range p.Allow {
			cfg.Allow = append(cfg.Allow, a.Target)
		}
		m, changed, err = l.feeds.Put(f.Name, res.Copy(), cfg, now)
	}
	d.reportFetch(ctx, f, m, changed, err)
	return err
}

func singles(in []netip.Addr) []ranges.Range {
	var out []ranges.Range
	for _, a := range in {
		out = append(out, ranges.Single(a))
	}
	return ranges.Normalize(out)
}

func (d *Daemon) reportFetch(ctx context.Context, f firewall.Feed, m feeds.Meta, changed bool, err error) {
	id := "feed-failed:" + f.Name
	if err != nil {
		d.health.Set(health.Condition{ID: id, Severity: health.Warning, Message: err.Error(),
			Remedy: "the last good copy stays in force; where a sudden change of the list is right: platformctl feeds update --force " + f.Name})
		d.record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.FeedRejected, Object: f.Name, Outcome: activity.Failed, Message: err.Error()})
		return
	}
	d.health.Clear(id)
	if changed {
		d.record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.FeedUpdated, Object: f.Name, Outcome: activity.OK,
			Message: fmt.Sprintf("%d ranges, %v dropped", m.Copy.V4+m.Copy.V6, m.Report.Dropped)})
	}
}

// Feeds implements api.Host.
func (d *Daemon) Feeds(context.Context) ([]api.FeedStatus, error) {
	s, _ := d.store.Current()
	d.lists.work.Lock()
	defer d.lists.work.Unlock()
	out := []api.FeedStatus{}
	for _, f := range s.Firewall.Feeds {
		m, err := d.lists.feeds.Get(f.Name, f.Source)
		if err != nil {
			return nil, err
		}
		x := api.FeedStatus{Feed: f, Ranges: m.Copy.V4 + m.Copy.V6, Checked: m.Checked, Changed: m.Changed, LastError: m.Error}
		for _, n := range m.Report.Dropped {
			x.Dropped += n
		}
		d.lists.mu.Lock()
		x.Next = d.lists.next[copyKey(f)]
		d.lists.mu.Unlock()
		out = append(out, x)
	}
	return out, nil
}

// UpdateFeeds implements api.Host.
func (d *Daemon) UpdateFeeds(ctx context.Context, by api.Caller, names []string, force bool) ([]api.FeedStatus, error) {
	s, _ := d.store.Current()
	for _, n := range names {
		if !slices.ContainsFunc(s.Firewall.Feeds, func(f firewall.Feed) bool { return f.Name == n }) {
			return nil, fmt.Errorf("feed %q: %w; platformctl feeds list shows them", n, api.ErrNotFound)
		}
	}
	for _, f := range s.Firewall.Feeds {
		if len(names) == 0 && !f.Disabled || slices.Contains(names, f.Name) {
			_ = d.fetch(ctx, &s.Firewall, f, force) // is in the feed's status
		}
	}
	d.refreshLists(ctx)
	if _, err := d.loop.Sync(ctx); err != nil {
		return nil, err
	}
	return d.Feeds(ctx)
}

// Presets implements api.Host.
func (d *Daemon) Presets() []api.Preset {
	var out []api.Preset
	for _, p := range feeds.Presets() {
		f := firewall.Feed{Name: p.Name, Source: p.Source, Format: p.Format, Every: firewall.Duration(p.Every), MinRanges: p.MinRanges, MaxRanges: p.MaxRanges}
		out = append(out, api.Preset{Feed: f, Title: p.Title, Note: p.Note})
	}
	return out
}
