package appkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/sqlite"
)

// hold waits until nobody works on an app and keeps others from it; the caller lets go by what it returns.
func (k *Keeper) hold(ctx context.Context, app string) (release func(), err error) {
	for {
		k.mu.Lock()
		b := k.book(app)
		if !b.busy {
			b.busy = true
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				b.busy = false
				k.mu.Unlock()
				k.Wake()
			}, nil
		}
		k.mu.Unlock()
		pause(ctx, k.cfg.Poll)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("app %q: something else is being done to it: %w", app, ctx.Err())
		}
	}
}

// Repair removes everything of an app that the engine has. The next pass makes it anew, on the data that stayed.
func (k *Keeper) Repair(ctx context.Context, app string) error {
	release, err := k.hold(ctx, app)
	if err != nil {
		return err
	}
	defer release()
	have, err := k.cfg.Engine.Observe(ctx)
	if err != nil {
		return err
	}
	var nothing apps.Desired
	for _, s := range apps.Diff(&nothing, &have) {
		if s.App != app {
			continue
		}
		if err := k.step(ctx, &nothing, s); err != nil {
			return err
		}
	}
	k.noteStop(app)
	return nil
}

// Plan is what the engine would be asked to do for an app as it stands here, in whatever document. secrets is nil for those
// of the keeper.
func (k *Keeper) Plan(ctx context.Context, c apps.Config, app string, secrets func(app, name string) (string, error)) ([]apps.Step, error) {
	have, err := k.cfg.Engine.Observe(ctx)
	if err != nil {
		return nil, err
	}
	f := k.facts(ctx)
	if secrets != nil {
		f.Secret = secrets
	}
	want := c.Compile(f)
	if err := want.Broken[app]; err != nil {
		return nil, err
	}
	var out []apps.Step
	for _, s := range apps.Diff(&want, &have) {
		if s.App == app {
			out = append(out, s)
		}
	}
	return out, nil
}

// Clone copies the data of an app for another one, whole or not at all. The app is stopped meanwhile, so that the copy is one
// of a moment.
func (k *Keeper) Clone(ctx context.Context, a *apps.App, clone string) error {
	to := filepath.Join(k.cfg.Folder, apps.DataFolder(clone, 1))
	if _, err := os.Lstat(filepath.Join(k.cfg.Folder, clone, "data")); err == nil {
		return fmt.Errorf("app %q: data of an earlier app of this name is still there (%s); choose another name, or remove it", clone, filepath.Dir(to))
	}
	from := filepath.Join(k.cfg.Folder, apps.DataFolder(a.Name, a.Current.Data))
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil // it keeps no data
	}
	if err := k.fits(from); err != nil {
		return fmt.Errorf("app %q: %w", clone, err)
	}
	release, err := k.hold(ctx, a.Name)
	if err != nil {
		return err
	}
	defer release()
	k.Tell(Event{App: clone, Text: "stopping " + a.Name + " while its data is copied"})
	k.noteStop(a.Name)
	if err := k.cfg.Engine.Stop(ctx, apps.ContainerName(a.Name, a.Current.Slot)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o711); err != nil {
		return fmt.Errorf("copy the data of app %q: %w", a.Name, err)
	}
	k.Tell(Event{App: clone, Text: "copying the data of " + a.Name})
	partial := to + ".partial"
	if err := copyTree(ctx, from, partial); err != nil {
		return errors.Join(fmt.Errorf("copy the data of app %q: %w", a.Name, err), os.RemoveAll(filepath.Join(k.cfg.Folder, clone)))
	}
	if err := os.Rename(partial, to); err != nil {
		return fmt.Errorf("copy the data of app %q: %w", a.Name, err)
	}
	return sqlite.SyncDir(filepath.Dir(to))
}
