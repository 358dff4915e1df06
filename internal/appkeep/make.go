package appkeep

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/activity"
)

// make does the steps of one app, and waits until it is healthy where it was started.
func (k *Keeper) make(ctx context.Context, a *apps.App, want *apps.Desired, steps []apps.Step) error {
	if err := k.prepare(ctx, a, &a.Current); err != nil {
		return err
	}
	started := false
	for _, s := range steps {
		if err := k.step(ctx, want, s); err != nil {
			return err
		}
		started = started || s.Verb == apps.Start
	}
	if a.Stopped {
		k.noteStop(a.Name)
		k.set(a.Name, Stopped, "")
		return nil
	}
	if !started {
		return nil
	}
	k.noteStart(a.Name)
	k.set(a.Name, Starting, "waiting until it answers")
	err := k.healthy(ctx, a, &a.Current)
	if err != nil && ctx.Err() == nil {
		k.set(a.Name, Unhealthy, err.Error())
		k.scheduleCheck(a, false)
		return nil
	}
	if err == nil {
		k.well(ctx, a)
	}
	return nil
}

// step does one step, and tells of it.
func (k *Keeper) step(ctx context.Context, want *apps.Desired, s apps.Step) error {
	k.news.tell(Event{App: s.App, Text: s.String()})
	if (s.Verb == apps.MakeNetwork || s.Verb == apps.Start) && k.cfg.Ready != nil {
		if err := k.cfg.Ready(ctx, s.App); err != nil {
			return err
		}
	}
	if s.Verb == apps.Remove {
		k.keepWords(ctx, s.App, s.Name)
	}
	if err := apps.Apply(ctx, k.cfg.Engine, want, s); err != nil {
		return fmt.Errorf("%s: %w", s.Verb, err)
	}
	return nil
}

// prepare is what a version needs before its containers: folders of its data, and its profile.
func (k *Keeper) prepare(ctx context.Context, a *apps.App, v *apps.Version) error {
	if err := k.makeFolders(a, v); err != nil {
		return err
	}
	if k.cfg.Profiles == nil {
		return nil
	}
	return k.cfg.Profiles.Load(ctx, a)
}

// noteStop makes the end of a container one that was wanted.
func (k *Keeper) noteStop(app string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.book(app).started = time.Time{}
}

func (k *Keeper) noteStart(app string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.book(app)
	b.started, b.startAt, b.failures = k.cfg.Now(), time.Time{}, 0
}

// well notes that an app answers.
func (k *Keeper) well(ctx context.Context, a *apps.App) {
	k.scheduleCheck(a, true)
	k.mu.Lock()
	b := k.book(a.Name)
	if b.started.IsZero() {
		b.started = k.cfg.Now()
	}
	k.mu.Unlock()
	if k.cfg.Health.Clear("app-failed:" + a.Name) {
		k.record(ctx, activity.AppRecovered, a.Name, activity.OK, "it answers again")
	}
	if len(a.Debug) > 0 {
		k.set(a.Name, Debugging, "its process is replaced; platformctl app start "+a.Name+" ends that")
		return
	}
	k.set(a.Name, Running, "")
}

// clear removes what is left of an app that is not in the document.
func (k *Keeper) clear(ctx context.Context, app string, want *apps.Desired, steps []apps.Step) error {
	var errs []error
	for _, s := range steps {
		if err := k.step(ctx, want, s); err != nil {
			errs = append(errs, err)
		}
	}
	if k.cfg.Profiles != nil {
		errs = append(errs, k.cfg.Profiles.Remove(ctx, app))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	k.cfg.Health.Clear("app-failed:" + app)
	k.news.tell(Event{App: app, State: Stopped, Text: "removed"})
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.apps, app)
	return nil
}

// lines joins what went wrong into one line.
func lines(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Gone waits until the engine holds nothing of an app any more.
func (k *Keeper) Gone(ctx context.Context, app string) error {
	for {
		k.Wake()
		have, err := k.cfg.Engine.Observe(ctx)
		if err != nil {
			return err
		}
		if !have.Has(app) {
			return nil
		}
		pause(ctx, k.cfg.Poll)
		if ctx.Err() != nil {
			return fmt.Errorf("app %q is not gone yet: %w", app, ctx.Err())
		}
	}
}
