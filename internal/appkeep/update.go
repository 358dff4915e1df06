package appkeep

import (
	"context"
	"fmt"
	"time"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/activity"
)

// update brings the next version of an app to its place, or takes it out of the document.
func (k *Keeper) update(ctx context.Context, a *apps.App) error {
	k.noteUpdate(a.Name, "")
	k.set(a.Name, Updating, "to "+a.Next.Name())
	err := k.tryNext(ctx, a)
	if ctx.Err() != nil {
		return ctx.Err() // it begins anew with the next daemon
	}
	next := *a.Next
	if err != nil {
		return k.takeBack(ctx, a, next, err)
	}
	summary := fmt.Sprintf("update app %s to %s", a.Name, next.Name())
	err = k.cfg.Settle(ctx, activity.AppUpdated, a.Name, summary, func(c *apps.Config) error {
		now, there := c.App(a.Name)
		if !there || now.Next == nil || now.Next.Slot != next.Slot || now.Next.Data != next.Data {
			return errMoved
		}
		before := now.Current
		now.Current, now.Next, now.Previous = *now.Next, nil, &before
		return nil
	})
	if err != nil {
		return fmt.Errorf("finish the update: %w", err)
	}
	if next.Data == a.Current.Data && !a.Stopped {
		k.news.tell(Event{App: a.Name, Text: "letting requests to the old version end"})
		pause(ctx, k.cfg.Drain)
	}
	k.setPhase(a.Name, apps.PhaseCurrent)
	k.noteStart(a.Name)
	if a.Stopped {
		k.set(a.Name, Stopped, "")
	} else {
		k.well(ctx, a)
	}
	return nil
}

// errMoved: the document wants something else by now.
var errMoved = fmt.Errorf("the document changed meanwhile")

// tryNext runs the next version until it is healthy.
func (k *Keeper) tryNext(ctx context.Context, a *apps.App) error {
	k.setPhase(a.Name, apps.PhaseCopy)
	if err := k.converge(ctx, a); err != nil {
		return err
	}
	if err := k.copyData(ctx, a, a.Next); err != nil {
		return err
	}
	if err := k.prepare(ctx, a, a.Next); err != nil {
		return err
	}
	k.setPhase(a.Name, apps.PhaseNext)
	if err := k.converge(ctx, a); err != nil {
		return err
	}
	if a.Stopped {
		return nil
	}
	k.noteStart(a.Name)
	k.news.tell(Event{App: a.Name, Text: "waiting until the new version answers"})
	return k.healthy(ctx, a, a.Next)
}

// takeBack gives an update up.
func (k *Keeper) takeBack(ctx context.Context, a *apps.App, next apps.Version, why error) error {
	text := fmt.Sprintf("the update to %s was taken back: %s", next.Name(), lines(why))
	k.news.tell(Event{App: a.Name, Text: text})
	k.noteUpdate(a.Name, text)
	err := k.cfg.Settle(ctx, activity.AppUpdateFailed, a.Name, text, func(c *apps.Config) error {
		now, there := c.App(a.Name)
		if !there || now.Next == nil || now.Next.Data != next.Data {
			return errMoved
		}
		now.Next = nil
		return nil
	})
	k.setPhase(a.Name, apps.PhaseCurrent)
	if err != nil {
		return fmt.Errorf("take the update back: %w", err)
	}
	back := *a
	back.Next = nil
	if err := k.converge(ctx, &back); err != nil {
		return err
	}
	if back.Stopped {
		k.set(a.Name, Stopped, text)
		return nil
	}
	k.noteStart(a.Name)
	if err := k.healthy(ctx, &back, &back.Current); err != nil {
		k.set(a.Name, Unhealthy, text+"; the version before does not answer: "+lines(err))
		k.scheduleCheck(a, false)
		return nil
	}
	k.well(ctx, &back)
	return nil
}

// converge makes the engine hold what the app means in its phase.
func (k *Keeper) converge(ctx context.Context, a *apps.App) error {
	have, err := k.cfg.Engine.Observe(ctx)
	if err != nil {
		return err
	}
	// The number in the address plan is the app's own, so others need not be there.
	c := k.cfg.Current()
	c.Apps = []apps.App{*a}
	want := c.Compile(k.facts(ctx))
	if err := want.Broken[a.Name]; err != nil {
		return err
	}
	for _, s := range apps.Diff(&want, &have) {
		if s.App != a.Name {
			continue
		}
		if err := k.step(ctx, &want, s); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) noteUpdate(app, failed string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.book(app).status.UpdateFailed = failed
}

func (k *Keeper) setPhase(app string, p apps.Phase) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.book(app).phase = p
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
