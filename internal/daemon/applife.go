package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/apps/catalog"
	"github.com/platformd/platformd/apps/docker"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/appkeep"
	"github.com/platformd/platformd/internal/document"
	"github.com/platformd/platformd/internal/state"
)

// Catalog implements api.Host.
func (d *Daemon) Catalog(context.Context) ([]wire.CatalogApp, error) {
	var out []wire.CatalogApp
	for _, name := range catalog.Names() {
		text, _ := catalog.Manifest(name)
		var m apps.Manifest
		if err := document.Decode(text, name+".yaml", &m); err != nil {
			return nil, err
		}
		out = append(out, wire.CatalogApp{Name: name, Title: m.Title, Release: m.Release, Description: m.Description, Image: m.Image, Addons: slices.Sorted(maps.Keys(m.Addons)), Manifest: string(text)})
	}
	return out, nil
}

// app is an installed app.
func (d *Daemon) app(name string) (state.State, *apps.App, error) {
	s, _ := d.store.Current()
	a, there := s.Apps.App(name)
	if !there {
		return s, nil, fmt.Errorf("app %q: %w; platformctl app list shows them", name, api.ErrNotFound)
	}
	return s, a, nil
}

// PlanApp implements api.Host.
func (d *Daemon) PlanApp(ctx context.Context, name, domain string, m *apps.Manifest) (wire.AppPlan, error) {
	out := wire.AppPlan{App: name}
	before, _ := d.store.Current()
	after := before
	after.Apps.Apps = slices.Clone(before.Apps.Apps)
	a, there := after.Apps.App(name)
	var secrets func(app, name string) (string, error)
	switch {
	case m == nil && !there:
		return out, fmt.Errorf("app %q: %w; platformctl app list shows them", name, api.ErrNotFound)
	case m == nil:
	case there:
		next := *a
		if err := next.Update(apps.Placeholder(*m)); err != nil {
			return out, fmt.Errorf("%w: %w", api.ErrInvalid, err)
		}
		current := next.Current
		next.Current, next.Next, next.Previous = *next.Next, nil, &current
		*a = next
	default:
		out.Installs = true
		after.Apps.Add(apps.App{Name: name, Domain: domain, Current: apps.Placeholder(*m)})
	}
	if m != nil {
		// Nothing is made for a plan, and so no secrets.
		secrets = func(string, string) (string, error) { return "", nil }
		if err := after.Apps.Validate(); err != nil {
			return out, fmt.Errorf("%w: %w", api.ErrInvalid, err)
		}
	}
	changes, err := state.Compare(&before, &after)
	if err != nil {
		return out, err
	}
	for _, c := range changes {
		out.Document = append(out.Document, wire.FieldChange(c))
	}
	steps, err := d.apps.Plan(ctx, after.Apps, name, secrets)
	if err != nil {
		return out, fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	for _, s := range steps {
		out.Steps = append(out.Steps, s.String())
	}
	return out, nil
}

// RepairApp implements api.Host.
func (d *Daemon) RepairApp(ctx context.Context, name string) error {
	_, a, err := d.app(name)
	if err != nil {
		return err
	}
	if a.Next != nil {
		return fmt.Errorf("app %q: %w: an update to %s is under way; wait until it is over", name, api.ErrInvalid, a.Next.Name())
	}
	return d.apps.Repair(ctx, name)
}

// CloneData implements api.Host.
func (d *Daemon) CloneData(ctx context.Context, name, clone string) (undo func(), err error) {
	_, a, err := d.app(name)
	if err != nil {
		return nil, err
	}
	if err := d.apps.Clone(ctx, a, clone); err != nil {
		return nil, full(err)
	}
	return func() {
		if err := os.RemoveAll(filepath.Join(appsDir(d.cfg.DataDir), clone)); err != nil {
			d.log.Warn("remove the data of a clone that was not made", "app", clone, "error", err)
		}
	}, nil
}

// full marks what is wrong with the disk as something that is needed and not there.
func full(err error) error {
	if errors.Is(err, appkeep.ErrFull) {
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return err
}

// ExecApp implements api.Host.
func (d *Daemon) ExecApp(ctx context.Context, by api.Caller, name string, e api.Exec) (int, error) {
	_, a, err := d.app(name)
	if err != nil {
		return 0, err
	}
	// Arguments may be secrets.
	d.record(ctx, activity.Record{Actor: by.Actor, Source: by.Source, Action: activity.AppExecuted, Object: name, Outcome: activity.OK,
		Message: fmt.Sprintf("%s, with %d arguments", e.Command[0], len(e.Command)-1)})
	code, err := d.apps.engine.Exec(ctx, apps.ContainerName(a.Name, a.Current.Slot), docker.Exec{Command: e.Command, TTY: e.TTY, In: e.In, Out: e.Out, Errors: e.Errors, Resize: e.Resize})
	if errors.Is(err, apps.ErrNotThere) {
		return 0, fmt.Errorf("app %q: it does not run; start it: platformctl app start %s", name, name)
	}
	return code, err
}

// AppStats implements api.Host.
func (d *Daemon) AppStats(_ context.Context, name string) ([]wire.AppSample, error) {
	var out []wire.AppSample
	for _, s := range d.apps.Series(name) {
		out = append(out, wire.AppSample(s))
	}
	return out, nil
}
