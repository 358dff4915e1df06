package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/host"
	"github.com/platformd/platformd/internal/state"
)

// applyTimeout bounds how long a request waits for the kernel. A change that takes longer is still made.
const applyTimeout = 30 * time.Second

// Change implements api.Host: every wish goes through here.
func (d *Daemon) Change(ctx context.Context, c api.Change) (api.ChangeResult, error) {
	if err := d.prepareLists(ctx, c); err != nil {
		return api.ChangeResult{}, d.refused(ctx, c, err)
	}
	d.changes.Lock()
	defer d.changes.Unlock()
	p, err := d.propose(ctx, c)
	if err != nil {
		return api.ChangeResult{}, d.refused(ctx, c, err)
	}
	if c.Options.DryRun {
		return d.dryRun(ctx, p)
	}
	deadline := time.Time{}
	if p.lockout != "" {
		deadline = d.now().Add(d.guardTime(p.before))
	}
	return d.commit(ctx, c, p, deadline)
}

// prepareLists makes and loads the sets that only this change needs, before it takes its turn: that may take a second.
func (d *Daemon) prepareLists(ctx context.Context, c api.Change) error {
	before, _ := d.store.Current()
	after, _ := d.store.Current()
	if c.Edit(&after) != nil || after.Validate() != nil {
		return nil // propose says what is wrong
	}
	if err := d.lists.prepare(ctx, &after.Firewall); err != nil {
		return err
	}
	have, haveGeo := d.lists.sets(&before.Firewall)
	want, wantGeo := d.lists.sets(&after.Firewall)
	if c.Options.DryRun || (have == want && maps.Equal(haveGeo, wantGeo)) {
		return nil
	}
	desired, err := host.Compile(&after, d.facts(&after.Firewall))
	if err != nil {
		return err
	}
	return d.filter.stage(ctx, desired.Firewall)
}

// proposal is a change that could be made.
type proposal struct {
	before, after state.State
	rev           state.Revision
	fields        []api.FieldChange
	rulesets      [2]*firewall.Ruleset // before, after
	lockout       string               // why the change needs a confirmation
	warnings      []string
}

func (d *Daemon) propose(ctx context.Context, c api.Change) (*proposal, error) {
	p := &proposal{}
	p.before, p.rev = d.store.Current()
	p.after, _ = d.store.Current()
	if c.Options.Base != 0 && c.Options.Base != p.rev.ID {
		return nil, &state.ConflictError{Base: c.Options.Base, Current: p.rev}
	}
	if err := d.edit(c)(&p.after); err != nil {
		return nil, err
	}
	if err := p.after.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	fields, err := state.Compare(&p.before, &p.after)
	if err != nil {
		return nil, err
	}
	p.fields = wireFields(fields)
	if err := d.lists.prepare(ctx, &p.after.Firewall); err != nil {
		return nil, err
	}
	if after := host.Proxy(&p.after); !reflect.DeepEqual(host.Proxy(&p.before), after) {
		if err := d.TestProxy(ctx, after); err != nil {
			return nil, err
		}
	}
	for i, s := range []*state.State{&p.before, &p.after} {
		want, err := host.Compile(s, d.facts(&s.Firewall))
		if err != nil {
			return nil, err
		}
		p.rulesets[i] = want.Firewall
	}
	if c.Options.Force {
		return p, nil
	}
	asker := d.asker(c.Caller)
	if err := d.ownAddresses(p, asker); err != nil {
		return nil, err
	}
	p.lockout, err = d.lockedOut(p, asker)
	return p, err
}

// edit is the caller's edit; blocks that have ended go with it.
func (d *Daemon) edit(c api.Change) func(*state.State) error {
	return func(s *state.State) error {
		if err := c.Edit(s); err != nil {
			return err
		}
		s.Firewall.DropEnded(d.now())
		return nil
	}
}

// ownAddresses refuses new blocks of this host's addresses, of loopback, and of where the asker is.
func (d *Daemon) ownAddresses(p *proposal, asker Asker) error {
	var errs []error
	for _, b := range p.after.Firewall.Blocks {
		if slices.ContainsFunc(p.before.Firewall.Blocks, func(o firewall.Block) bool { return o.Target == b.Target }) {
			continue
		}
		for _, own := range d.addresses() {
			if b.Target.Contains(own) {
				errs = append(errs, fmt.Errorf("block %v: %w: it holds this host's own address %v; leave that out, or use --force", b.Target, api.ErrLockout, own))
				break
			}
		}
		allowed := slices.ContainsFunc(p.after.Firewall.Allow, func(a firewall.Allow) bool { return a.Target.Contains(asker.Address) })
		if asker.Address.IsValid() && b.Target.Contains(asker.Address) && !allowed {
			errs = append(errs, fmt.Errorf("block %v: %w: it holds %v, where you are logged in from; allow that address first, or use --force", b.Target, api.ErrLockout, asker.Address))
		}
	}
	return errors.Join(errs...)
}

func (d *Daemon) lockedOut(p *proposal, asker Asker) (string, error) {
	ways := d.sshd.ports(d.now())
	if asker.Port != 0 {
		ways = []uint16{asker.Port}
	}
	if len(ways) == 0 {
		ways = []uint16{22, 202}
	}
	return host.LockedOut(p.rulesets[0], p.rulesets[1], host.Way{From: asker.Address, Ports: ways}, d.lists.lookup)
}

func (d *Daemon) dryRun(ctx context.Context, p *proposal) (api.ChangeResult, error) {
	driver, err := d.filter.pick(d.driverName(p.after.Firewall.Driver))
	if err != nil {
		return api.ChangeResult{}, err
	}
	kernel, err := compare(ctx, driver, p.rulesets[1])
	r := api.ChangeResult{Revision: p.rev.ID, Changed: len(p.fields) > 0, DryRun: true, Document: p.fields, Kernel: kernel, Warnings: p.warnings}
	if p.lockout != "" {
		r.Confirm = &api.Provisional{Reason: p.lockout}
	}
	return r, err
}

// commit stores the change, puts it in force, and writes down what came of it.
func (d *Daemon) commit(ctx context.Context, c api.Change, p *proposal, deadline time.Time) (api.ChangeResult, error) {
	r := api.ChangeResult{Changed: len(p.fields) > 0, Document: p.fields, Warnings: p.warnings}
	actor := state.Actor{Name: c.Caller.Actor, Source: c.Caller.Source}
	var rev state.Revision
	var err error
	if !deadline.IsZero() && p.rev.Provisional() {
		// Arming the guard for this one would take it away from the one that waits.
		return api.ChangeResult{}, d.refused(ctx, c, &state.ProvisionalError{Revision: p.rev})
	}
	if deadline.IsZero() {
		rev, err = d.store.Update(ctx, actor, c.Options.Base, c.Summary, d.edit(c))
	} else if err = d.armGuard(p, deadline); err == nil {
		rev, err = d.store.UpdateProvisional(ctx, actor, c.Options.Base, c.Summary, deadline, d.edit(c))
	}
	if err != nil {
		if !deadline.IsZero() {
			d.disarmGuard()
		}
		return api.ChangeResult{}, d.refused(ctx, c, err)
	}
	r.Revision, r.Changed = rev.ID, !rev.Unchanged
	if rev.Provisional() && !deadline.IsZero() {
		r.Confirm = &api.Provisional{Revision: rev.ID, Deadline: rev.Deadline, Reason: p.lockout}
		d.wakeGuard()
	}
	return d.enforce(ctx, c, p, rev, r)
}

func (d *Daemon) enforce(ctx context.Context, c api.Change, p *proposal, rev state.Revision, r api.ChangeResult) (api.ChangeResult, error) {
	// The change is made; a caller who leaves does not undo it, nor its record.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyTimeout)
	defer cancel()
	flows := d.filter.endFlows(c.Cut)
	result, err := d.loop.Sync(ctx)
	r.Verified = err == nil && result.Verified
	outcome := activity.OK
	if r.Confirm != nil {
		outcome = activity.Pending
	}
	if !r.Verified {
		outcome = activity.Pending
		r.Warnings = append(r.Warnings, fmt.Sprintf("the change is stored, but the kernel does not agree yet (%v); it is tried again, see platformctl status", errors.Join(err, result.Err)))
	}
	if !slices.Equal(p.before.Firewall.Feeds, p.after.Firewall.Feeds) || !slices.Equal(p.before.Firewall.GeoData, p.after.Firewall.GeoData) {
		d.lists.wake() // what is new is fetched now
	}
	if !reflect.DeepEqual(host.Proxy(&p.before), host.Proxy(&p.after)) {
		if err := d.edge.sync(ctx); err != nil {
			r.Verified, outcome = false, activity.Pending
			r.Warnings = append(r.Warnings, "the change is stored, but the proxy does not serve it: "+err.Error())
		}
	}
	if r.Closed, err = flows.result(); err != nil {
		r.Warnings = append(r.Warnings, err.Error())
	}
	if r.Changed {
		d.record(ctx, activity.Record{Actor: c.Caller.Actor, Source: c.Caller.Source, Action: c.Action, Object: c.Object,
			Revision: rev.ID, Outcome: outcome, Message: c.Summary, Before: side(r.Document, false), After: side(r.Document, true)})
	}
	return r, nil
}

// refused writes down that a change was refused, and gives the error back.
func (d *Daemon) refused(ctx context.Context, c api.Change, err error) error {
	if !c.Options.DryRun {
		d.record(ctx, activity.Record{Actor: c.Caller.Actor, Source: c.Caller.Source, Action: c.Action, Object: c.Object,
			Outcome: activity.Refused, Message: err.Error()})
	}
	return err
}
