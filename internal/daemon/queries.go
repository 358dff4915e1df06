package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/state"
)

// Status implements api.Host.
func (d *Daemon) Status(context.Context) (api.Status, error) {
	s, rev := d.store.Current()
	driver, inForce, checked := d.filter.state()
	feeds, geo := d.lists.sets(&s.Firewall)
	out := api.Status{
		Version: d.cfg.Version, Started: d.started, Revision: rev.ID, Conditions: d.health.List(),
		Firewall: api.FirewallStatus{Enabled: !s.Firewall.Disabled, Driver: driver, Verified: inForce != nil && !d.inTrouble(), Checked: checked},
		Counts: api.Counts{Ports: len(s.Firewall.Ports), Allow: len(s.Firewall.Allow), Blocks: len(s.Firewall.Blocks), Bans: len(d.bans.timed()),
			Feeds: len(s.Firewall.Feeds), FeedRanges: feeds.V4 + feeds.V6, GeoRules: len(s.Firewall.Geo)},
	}
	for _, g := range geo {
		out.Counts.GeoRanges += g.V4 + g.V6
	}
	if rev.Provisional() {
		out.Confirm = &api.Provisional{Revision: rev.ID, Deadline: rev.Deadline, Reason: rev.Summary}
	}
	return out, nil
}

func (d *Daemon) inTrouble() bool {
	for _, c := range d.health.List() {
		if c.ID == "firewall-not-in-force" {
			return true
		}
	}
	return false
}

// Document implements api.Host.
func (d *Daemon) Document(context.Context) (state.State, api.Revision, error) {
	s, rev := d.store.Current()
	return s, wireRevision(rev), nil
}

// DocumentAt implements api.Host.
func (d *Daemon) DocumentAt(ctx context.Context, id int64) (state.State, error) {
	s, _, err := d.store.Get(ctx, id)
	return s, notFound(err)
}

// History implements api.Host.
func (d *Daemon) History(ctx context.Context, limit int, before int64) ([]api.Revision, error) {
	revs, err := d.store.History(ctx, limit, before)
	out := make([]api.Revision, len(revs))
	for i, r := range revs {
		out[i] = wireRevision(r)
	}
	return out, err
}

// Diff implements api.Host.
func (d *Daemon) Diff(ctx context.Context, a, b int64) ([]api.FieldChange, error) {
	fields, err := d.store.Diff(ctx, a, b)
	return wireFields(fields), notFound(err)
}

func notFound(err error) error {
	if errors.Is(err, state.ErrNoRevision) {
		return fmt.Errorf("%w: %w", api.ErrNotFound, err)
	}
	return err
}

func wireRevision(r state.Revision) api.Revision {
	return api.Revision{ID: r.ID, Time: r.Time, Actor: r.Actor, Source: r.Source, Summary: r.Summary, Parent: r.Parent, Deadline: r.Deadline, Settled: string(r.Settled)}
}

// Rollback implements api.Host. It goes through the same gate as any change: an old policy can lock out as well. A change
// that waits for its confirmation is settled by it.
func (d *Daemon) Rollback(ctx context.Context, by api.Caller, o api.Options, id int64) (api.ChangeResult, error) {
	old, _, err := d.store.Get(ctx, id)
	if err != nil {
		return api.ChangeResult{}, notFound(err)
	}
	c := api.Change{Caller: by, Options: o, Action: activity.RevisionRolledBack, Object: fmt.Sprintf("revision %d", id),
		Summary: fmt.Sprintf("roll back to revision %d", id), Edit: func(s *state.State) error { *s = old; return nil }}
	d.changes.Lock()
	defer d.changes.Unlock()
	_, cur := d.store.Current()
	if !cur.Provisional() {
		d.changes.Unlock()
		defer d.changes.Lock()
		return d.Change(ctx, c)
	}
	p, err := d.propose(ctx, c)
	if err != nil {
		return api.ChangeResult{}, d.refused(ctx, c, err)
	}
	if o.DryRun {
		return d.dryRun(ctx, p)
	}
	rev, err := d.store.Rollback(ctx, state.Actor{Name: by.Actor, Source: by.Source}, id)
	if err != nil {
		return api.ChangeResult{}, d.refused(ctx, c, err)
	}
	d.disarmGuard()
	d.wakeGuard()
	return d.enforce(ctx, c, p, rev, api.ChangeResult{Revision: rev.ID, Changed: true, Document: p.fields})
}

// Confirm implements api.Host.
func (d *Daemon) Confirm(ctx context.Context, by api.Caller) (api.Revision, error) {
	rev, err := d.store.Confirm(ctx, state.Actor{Name: by.Actor, Source: by.Source}, 0)
	if err != nil {
		if errors.Is(err, state.ErrNotProvisional) {
			err = fmt.Errorf("%w: %w", api.ErrNotFound, err)
		}
		return api.Revision{}, err
	}
	d.disarmGuard()
	d.wakeGuard()
	d.record(ctx, activity.Record{Actor: by.Actor, Source: by.Source, Action: activity.ChangeConfirmed, Object: fmt.Sprintf("revision %d", rev.ID),
		Revision: rev.ID, Outcome: activity.OK, Message: rev.Summary})
	return wireRevision(rev), nil
}

// Limits implements api.Host.
func (d *Daemon) Limits(context.Context) ([]api.LimitStatus, error) {
	s, _ := d.store.Current()
	defaults := map[string]string{}
	for _, c := range firewall.DefaultLimits() {
		defaults[c.Name] = c.Limit.String()
	}
	var out []api.LimitStatus
	for _, c := range s.Firewall.LimitClasses() {
		full := "refuse"
		if c.AdmitWhenFull {
			full = "admit"
		}
		out = append(out, api.LimitStatus{Name: c.Name, Limit: c.Limit.String(), Default: defaults[c.Name], Description: c.Description, PerApp: c.PerApp, WhenFull: full})
	}
	out = append(out, api.LimitStatus{Name: "syn", Limit: s.Firewall.SYN.String(), Default: "off", Description: "new TCP connections per source, to all ports together", WhenFull: "admit"})
	return out, nil
}

// Explain implements api.Host.
func (d *Daemon) Explain(ctx context.Context, q firewall.Query) (api.Explanation, error) {
	rs, _, err := d.compile()
	if err != nil {
		return api.Explanation{}, err
	}
	if q.App != "" {
		if s, _ := d.store.Current(); !hasApp(&s.Apps, q.App) {
			return api.Explanation{}, fmt.Errorf("app %q: %w; platformctl app list shows them", q.App, api.ErrNotFound)
		}
		q.Here = slices.Contains(d.addresses(), q.Source.Unmap())
	}
	v, err := firewall.Explain(rs, q, d.lists.lookup)
	if err != nil {
		return api.Explanation{}, err
	}
	out := api.Explanation{Address: q.Source.String(), Verdict: v, Behind: d.behind(q), Kernel: "agrees"}
	driver := d.filter.current()
	if driver == nil || rs.Off {
		out.Kernel = "not checked"
		return out, nil
	}
	for _, step := range v.Steps {
		if step.Set == "" {
			continue
		}
		in, err := driver.Probe(ctx, step.Set, q.Source)
		if err != nil {
			return out, err
		}
		if in != step.In {
			out.Kernel = "disagrees"
			out.Disagree = append(out.Disagree, fmt.Sprintf("set %s: the policy says %s, the kernel %s", step.Set, inOut(step.In), inOut(in)))
		}
	}
	return out, nil
}

func inOut(in bool) string {
	if in {
		return "in"
	}
	return "not in"
}

// behind says what put an address onto lists.
func (d *Daemon) behind(q firewall.Query) []string {
	s, _ := d.store.Current()
	var out []string
	for _, b := range s.Firewall.Blocks {
		if b.Target.Contains(q.Source) && (b.Until.IsZero() || b.Until.After(d.now())) {
			text := fmt.Sprintf("block %v by %s since %s", b.Target, b.By, b.Since.Format("2006-01-02 15:04:05"))
			if b.Reason != "" {
				text += ": " + b.Reason
			}
			out = append(out, text)
		}
	}
	for _, a := range s.Firewall.Allow {
		if a.Target.Contains(q.Source) {
			out = append(out, fmt.Sprintf("always allowed: %v %s", a.Target, a.Comment))
		}
	}
	out = append(out, d.bans.behind(q.Source)...)
	out = append(out, d.lists.behind(&s.Firewall, q.Source)...)
	return slices.Compact(out)
}
