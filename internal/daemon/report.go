package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/reconcile"
	"github.com/platformd/platformd/internal/state"
)

// record writes to the activity log. A record that cannot be written is a condition: the host goes on.
func (d *Daemon) record(ctx context.Context, r activity.Record) {
	if _, err := d.activity.Append(context.WithoutCancel(ctx), r); err != nil {
		d.health.Set(health.Condition{ID: "activity-log", Severity: health.Critical,
			Message: "the activity log cannot be written: " + err.Error(), Remedy: "make room on the disk; what happens meanwhile is in the journal only"})
		d.log.Error("write activity record", "action", r.Action, "object", r.Object, "actor", r.Actor, "message", r.Message, "error", err)
		return
	}
	d.health.Clear("activity-log")
	d.tallies.add("event", string(r.Action), 1)
}

// report turns the outcome of a pass into conditions and records.
func (d *Daemon) report(r reconcile.Result) {
	ctx := context.Background()
	if len(r.Drift) > 0 {
		d.reportDrift(ctx, r)
	}
	if d.drifted && r.Verified {
		d.drifted = false
		_, rev := d.store.Current()
		d.record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.DriftRepaired, Object: "firewall", Revision: rev.ID, Outcome: activity.OK,
			Message: fmt.Sprintf("put back in %v", r.Took.Round(1e6))})
	}
	switch {
	case r.Verified:
		d.health.Clear("firewall-not-in-force")
		if r.Err != nil {
			d.log.Warn("the firewall is in force, though applying it said otherwise", "error", r.Err)
		}
	default:
		message := "the kernel does not hold the policy: " + summarize(r.Left)
		if r.Err != nil {
			message = "the policy could not be put in force: " + r.Err.Error()
		}
		d.health.Set(health.Condition{ID: "firewall-not-in-force", Severity: health.Critical, Message: message,
			Remedy: "it is tried again by itself; platformctl plan and the journal say more"})
		d.log.Error("firewall pass", "error", r.Err, "left", summarize(r.Left))
	}
}

func (d *Daemon) reportDrift(ctx context.Context, r reconcile.Result) {
	who := "an unknown program"
	for _, c := range r.Causes {
		if c.By.Program != "" {
			who = fmt.Sprintf("%s (pid %d)", c.By.Program, c.By.PID)
		}
	}
	_, rev := d.store.Current()
	changes, _ := json.Marshal(r.Drift[:min(len(r.Drift), 50)])
	d.record(ctx, activity.Record{Actor: who, Source: "local", Action: activity.DriftFound, Object: "firewall", Revision: rev.ID, Outcome: activity.OK,
		Message: who + " changed our rules: " + summarize(r.Drift), Before: changes})
	d.drifted = true
}

// summarize names the first few changes.
func summarize(changes []firewall.Change) string {
	const most = 5
	var parts []string
	for i, c := range changes {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(changes)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %s %s", map[firewall.Op]string{firewall.OpAdd: "missing", firewall.OpRemove: "foreign", firewall.OpChange: "changed"}[c.Op], c.Kind, c.Name))
	}
	return strings.Join(parts, ", ")
}

// saveLastGood writes what is in force to where early boot finds it, and removes range files that nobody needs.
func (d *Daemon) saveLastGood(r reconcile.Result) {
	name, rs, _ := d.filter.state()
	if rs == nil || !r.Verified {
		return
	}
	data, err := json.Marshal(rs)
	if err != nil {
		d.log.Error("save ruleset", "error", err)
		return
	}
	sum := sha256.Sum256(data)
	if sum == d.savedSum {
		return
	}
	_, rev := d.store.Current()
	s := saved{Driver: name, Revision: rev.ID, Time: d.now(), Ruleset: rs}
	if err := s.write(lastGoodPath(d.cfg.DataDir)); err != nil {
		d.health.Set(health.Condition{ID: "last-good", Severity: health.Warning, Message: err.Error(), Remedy: "make room on the disk; without it an early boot restores an older policy"})
		return
	}
	d.health.Clear("last-good")
	d.savedSum = sum
	guard, _, _ := readSaved(guardPath(d.cfg.DataDir))
	d.lists.mu.Lock()
	defer d.lists.mu.Unlock()
	if err := sweepSets(d.cfg.DataDir, rs, guard.Ruleset, d.lists.asRuleset()); err != nil {
		d.log.Warn("remove old range files", "error", err)
	}
}

func wireFields(in []state.FieldChange) []api.FieldChange {
	out := make([]api.FieldChange, len(in))
	for i, f := range in {
		out[i] = api.FieldChange{Path: f.Path, Before: f.Before, After: f.After}
	}
	return out
}

// side is one side of the changed fields, as an object by path.
func side(fields []api.FieldChange, after bool) json.RawMessage {
	m := map[string]json.RawMessage{}
	for _, f := range fields {
		v := f.Before
		if after {
			v = f.After
		}
		if len(v) > 0 {
			m[f.Path] = v
		}
	}
	if len(m) == 0 {
		return nil
	}
	out, _ := json.Marshal(m) // raw messages that were marshalled before
	return out
}
