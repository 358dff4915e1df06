package appkeep

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/health"
)

// Pauses before a container that ended by itself is started again: they double, and begin anew once it has run for calm.
const (
	firstRestart = time.Second
	lastRestart  = 5 * time.Minute
	calm         = 10 * time.Minute
	// loopAfter is how often a container may end in a row until the app counts as failed.
	loopAfter = 5
)

// pass looks at the engine once and hands each app that differs to a worker.
func (k *Keeper) pass(ctx context.Context, workers *sync.WaitGroup) {
	c := k.cfg.Current()
	have, err := k.cfg.Engine.Observe(ctx)
	if ctx.Err() != nil {
		return
	}
	k.engineSays(err, len(c.Apps))
	if err != nil {
		for i := range c.Apps {
			k.set(c.Apps[i].Name, Waiting, "the container engine does not answer")
		}
		return
	}
	steps := map[string][]apps.Step{}
	want := c.Compile(k.facts(ctx))
	for _, s := range apps.Diff(&want, &have) {
		steps[s.App] = append(steps[s.App], s)
	}
	for i := range c.Apps {
		a := &c.Apps[i]
		if err := want.Broken[a.Name]; err != nil {
			k.set(a.Name, Failed, err.Error())
			k.saw(a)
			delete(steps, a.Name)
			continue
		}
		k.look(ctx, workers, a, &want, steps[a.Name])
		delete(steps, a.Name)
	}
	for app, left := range steps { // of apps that are not in the document any more
		k.start(ctx, workers, app, "", func(ctx context.Context) error { return k.clear(ctx, app, &want, left) })
	}
}

func (k *Keeper) facts(ctx context.Context) apps.Facts {
	f := apps.Facts{AppArmor: k.cfg.Profiles != nil, Phase: map[string]apps.Phase{}, Secret: func(app, name string) (string, error) {
		return k.cfg.Secret(ctx, app, name)
	}}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, b := range k.apps {
		f.Phase[name] = b.phase
	}
	return f
}

// engineSays keeps the condition about the engine.
func (k *Keeper) engineSays(err error, wanted int) {
	k.mu.Lock()
	k.err, k.ready = err, err == nil
	k.mu.Unlock()
	if err != nil && wanted > 0 {
		k.cfg.Health.Set(health.Condition{ID: "apps-engine", Severity: health.Critical, Message: "apps cannot be looked after: " + err.Error(),
			Remedy: "start Docker (systemctl start docker), or name another engine with --docker-host"})
		return
	}
	k.cfg.Health.Clear("apps-engine")
}

// look decides what is to be done about one app now.
func (k *Keeper) look(ctx context.Context, workers *sync.WaitGroup, a *apps.App, want *apps.Desired, steps []apps.Step) {
	k.mu.Lock()
	b := k.book(a.Name)
	if asked := want.Digest(a.Name); b.asked != asked { // what was counted is of another container
		b.asked, b.ends, b.retry, b.startAt, b.status.Restarts = asked, 0, 0, time.Time{}, 0
	}
	busy, now := b.busy, k.cfg.Now()
	wait := b.startAt.After(now)
	checkDue := !b.checkAt.After(now)
	k.mu.Unlock()
	switch {
	case busy:
	case a.Next != nil:
		k.start(ctx, workers, a.Name, "", func(ctx context.Context) error { return k.update(ctx, a) })
	case len(steps) > 0:
		ended := slices.ContainsFunc(steps, func(s apps.Step) bool { return s.Verb == apps.Start && s.Why == "exited" })
		if ended && !wait && k.ended(ctx, a, steps) || wait {
			return
		}
		k.start(ctx, workers, a.Name, wish(a), func(ctx context.Context) error { return k.make(ctx, a, want, steps) })
	case a.Stopped:
		k.set(a.Name, Stopped, "")
		k.saw(a)
	default:
		if checkDue {
			k.check(ctx, workers, a)
		}
		if st := k.Status(a).State; st == Running || st == Unhealthy || st == Debugging {
			k.saw(a)
		}
	}
}

// saw notes that what the document wants of an app is there, and removes what only an earlier wish needed.
func (k *Keeper) saw(a *apps.App) {
	w := wish(a)
	k.mu.Lock()
	before := k.book(a.Name).seen
	k.mu.Unlock()
	if before == w {
		return
	}
	k.prune(a)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.book(a.Name).seen = w
}

// ended notes that a container ended by itself, and says whether it has to wait before it is started again.
func (k *Keeper) ended(ctx context.Context, a *apps.App, steps []apps.Step) bool {
	k.mu.Lock()
	b := k.book(a.Name)
	if b.started.IsZero() { // not by itself: this daemon never saw it run
		k.mu.Unlock()
		return false
	}
	now := k.cfg.Now()
	if now.Sub(b.started) > calm {
		b.ends = 0
	}
	b.ends++
	b.status.Restarts++
	pause := min(firstRestart<<min(b.ends-1, 20), lastRestart)
	b.startAt, b.started = now.Add(pause), time.Time{}
	ends := b.ends
	k.mu.Unlock()
	name := apps.ContainerName(a.Name, a.Current.Slot)
	code, oom, err := k.cfg.Engine.Ended(ctx, name)
	text, action := fmt.Sprintf("its container ended with status %d", code), activity.AppCrashed
	switch {
	case err != nil:
		text = "its container ended"
	case oom:
		text, action = fmt.Sprintf("it needed more memory than its limit of %v and was ended", a.Limits.WithDefaults().Memory), activity.AppOutOfMemory
	}
	k.record(ctx, action, a.Name, activity.Failed, text)
	state := Starting
	if ends >= loopAfter {
		state = Failed
		k.cfg.Health.Set(health.Condition{ID: "app-failed:" + a.Name, Severity: health.Warning, Message: fmt.Sprintf("app %q: %s, %d times in a row", a.Name, text, ends),
			Remedy: "platformctl app logs " + a.Name + " says more; platformctl app rollback " + a.Name + " goes back to the version before"})
	}
	k.set(a.Name, state, fmt.Sprintf("%s; it is started again in %v", text, pause))
	return true
}

// start runs a worker for an app, unless there is one.
func (k *Keeper) start(ctx context.Context, workers *sync.WaitGroup, app string, want string, work func(context.Context) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.book(app)
	if b.busy || b.startAt.After(k.cfg.Now()) {
		return
	}
	b.busy = true
	workers.Go(func() {
		err := work(ctx)
		k.mu.Lock()
		b.busy = false
		if err != nil {
			b.retry = min(max(2*b.retry, time.Second), 30*time.Second)
			b.startAt, b.seen = k.cfg.Now().Add(b.retry), want
		} else {
			b.retry = 0
		}
		k.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			k.set(app, Failed, err.Error())
			k.cfg.Log.Error("work on an app", "app", app, "error", err)
		}
		k.Wake()
	})
}

func (k *Keeper) record(ctx context.Context, action activity.Action, app string, outcome activity.Outcome, text string) {
	k.cfg.Record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: action, Object: app, Outcome: outcome, Message: text})
}
