package apps

import (
	"context"
	"errors"
)

// ErrNotThere: what was named is not in the engine.
var ErrNotThere = errors.New("is not there")

// Engine runs containers. Each method may be called again after it failed, and removing what is not there is no error. A
// method that makes something never takes over what is there under the same name.
type Engine interface {
	// Observe lists everything of ours, and nothing else.
	Observe(ctx context.Context) (Observed, error)

	MakeNetwork(ctx context.Context, n *Network) error
	RemoveNetwork(ctx context.Context, name string) error
	MakeVolume(ctx context.Context, v *Volume) error
	RemoveVolume(ctx context.Context, name string) error
	Create(ctx context.Context, c *Container) error
	Start(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
	Remove(ctx context.Context, name string) error
}

// Apply does one step of a plan.
func Apply(ctx context.Context, e Engine, d *Desired, s Step) error {
	switch s.Verb {
	case Stop:
		return e.Stop(ctx, s.Name)
	case Remove:
		return e.Remove(ctx, s.Name)
	case RemoveNetwork:
		return e.RemoveNetwork(ctx, s.Name)
	case RemoveVolume:
		return e.RemoveVolume(ctx, s.Name)
	case Start:
		return e.Start(ctx, s.Name)
	case MakeNetwork:
		for i := range d.Networks {
			if d.Networks[i].Name == s.Name {
				return e.MakeNetwork(ctx, &d.Networks[i])
			}
		}
	case MakeVolume:
		for i := range d.Volumes {
			if d.Volumes[i].Name == s.Name {
				return e.MakeVolume(ctx, &d.Volumes[i])
			}
		}
	case Create:
		for i := range d.Containers {
			if d.Containers[i].Name == s.Name {
				return e.Create(ctx, &d.Containers[i])
			}
		}
	}
	return errors.New("step " + s.String() + ": is not part of what is wanted")
}
