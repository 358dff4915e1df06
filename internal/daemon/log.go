package daemon

import (
	"context"
	"path/filepath"

	"github.com/platformd/platformd/internal/activity"
)

func (d *Daemon) openActivity(ctx context.Context) (*activity.Log, error) {
	return activity.Open(ctx, filepath.Join(d.cfg.DataDir, "activity.db"), activity.Config{Clock: d.now, Logger: d.log})
}

// Activity implements api.Host.
func (d *Daemon) Activity(ctx context.Context, f activity.Filter) ([]activity.Record, error) {
	return d.activity.Query(ctx, f)
}

// FollowActivity implements api.Host.
func (d *Daemon) FollowActivity(ctx context.Context, f activity.Filter, send func(activity.Record) error) error {
	for r, err := range d.activity.Follow(ctx, f) {
		if err != nil {
			return err
		}
		if err := send(r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// VerifyActivity implements api.Host.
func (d *Daemon) VerifyActivity(ctx context.Context) (activity.Report, error) {
	return d.verifyActivity(ctx)
}
