package main

import (
	"context"
	"fmt"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
)

// appProgress prints the events of an app while something else waits for it.
type appProgress struct{ done chan struct{} }

func (p appProgress) wait() { <-p.done }

// watchApp prints what happens to an app from now on to the error output, until ctx ends.
func (a *app) watchApp(ctx context.Context, name string) appProgress {
	p := appProgress{make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		defer close(p.done)
		close(ready)
		out := eventPrinter{a: a}
		defer out.end()
		for e, err := range a.client().FollowApp(ctx, name, -1) {
			if err != nil {
				return // the change itself says what is wrong
			}
			out.print(e)
		}
	}()
	<-ready
	return p
}

// settled waits until an app is in a state that lasts.
func (a *app) settled(ctx context.Context, name string) (wire.App, error) {
	for {
		p, err := a.client().App(ctx, name)
		if err != nil {
			return p, err
		}
		switch p.State {
		case "running", "unhealthy", "failed", "stopped", "debugging":
			if p.Settled {
				return p, nil
			}
		}
		select {
		case <-ctx.Done():
			return p, fmt.Errorf("app %q is still %s: %s; follow it with: platformctl app events %s", name, p.State, p.Reason, name)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
