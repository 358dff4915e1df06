package docker

import (
	"context"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/platformd/platformd/apps"
)

func ours() filters.Args { return filters.NewArgs(filters.Arg("label", labelApp)) }

// Observe lists what of ours there is: three requests, however many apps.
func (e *Engine) Observe(ctx context.Context) (apps.Observed, error) {
	out := apps.Observed{Networks: map[string]string{}, Volumes: map[string]string{}}
	containers, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: ours()})
	if err != nil {
		return out, failed("list containers", err)
	}
	for _, c := range containers {
		s := apps.Seen{ID: c.ID, App: c.Labels[labelApp], Role: c.Labels[labelRole], Digest: c.Labels[labelDigest], Running: c.State == "running", Status: c.State}
		if len(c.Names) > 0 {
			s.Name = strings.TrimPrefix(c.Names[0], "/")
		}
		out.Containers = append(out.Containers, s)
	}
	networks, err := e.api.NetworkList(ctx, network.ListOptions{Filters: ours()})
	if err != nil {
		return out, failed("list networks", err)
	}
	for _, n := range networks {
		out.Networks[n.Name] = n.Labels[labelApp]
	}
	volumes, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: ours()})
	if err != nil {
		return out, failed("list volumes", err)
	}
	for _, v := range volumes.Volumes {
		out.Volumes[v.Name] = v.Labels[labelApp]
	}
	return out, nil
}

// Watch calls changed for every event of a container of ours, until ctx ends or the engine goes away.
func (e *Engine) Watch(ctx context.Context, changed func(app, event string)) error {
	f := ours()
	f.Add("type", string(events.ContainerEventType))
	for _, a := range []events.Action{events.ActionDie, events.ActionOOM, events.ActionStart, events.ActionDestroy, events.ActionCreate} {
		f.Add("event", string(a))
	}
	messages, errs := e.api.Events(ctx, events.ListOptions{Filters: f})
	for {
		select {
		case m := <-messages:
			changed(m.Actor.Attributes[labelApp], string(m.Action))
		case err := <-errs:
			return failed("watch the engine", err)
		}
	}
}

// Ended says how a container ended: its exit code, and whether the kernel ended it for want of memory.
func (e *Engine) Ended(ctx context.Context, name string) (code int, oom bool, err error) {
	c, err := e.api.ContainerInspect(ctx, name)
	if err != nil {
		return 0, false, failed("inspect container "+name, err)
	}
	return c.State.ExitCode, c.State.OOMKilled, nil
}
