package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/worker/link"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/upstream"
)

// Proxy implements api.Host.
func (d *Daemon) Proxy(ctx context.Context) (wire.ProxyStatus, error) {
	s, _ := d.store.Current()
	out := wire.ProxyStatus{HTTP: d.cfg.HTTP, HTTPS: d.cfg.HTTPS, Routes: len(s.Proxy.Routes)}
	p := d.edge.worker()
	if p == nil {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	st, err := p.Status(ctx)
	if err != nil {
		return out, nil // it is gone, or about to be: then it serves nothing
	}
	out.Serving, out.Connections, out.Dropped, out.DroppedStrikes, out.Weak, out.Stats = st.Serving, st.Connections, st.Dropped, st.DroppedStrikes, st.Weak, st.Stats
	for _, x := range st.Streams { // of a worker, which may say anything
		if _, there := s.Proxy.Stream(x.Stream); there && len(out.Streams) < len(s.Proxy.Streams) {
			out.Streams = append(out.Streams, x)
		}
	}
	out.Upstreams, _ = p.Upstreams(ctx, "") // the same
	return out, nil
}

// Upstreams implements api.Host.
func (d *Daemon) Upstreams(ctx context.Context, group string) ([]upstream.Status, error) {
	p := d.edge.worker()
	if p == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := p.Upstreams(ctx, group)
	if err != nil {
		d.log.Warn("ask the proxy for its back ends", "error", err) // the document is worth something without it
	}
	return out, nil
}

// PurgeProxy implements api.Host.
func (d *Daemon) PurgeProxy(ctx context.Context, by api.Caller, what string) (int, error) {
	p := d.edge.worker()
	if p == nil {
		return 0, fmt.Errorf("purge: %w: the proxy does not run; see platformctl proxy status", api.ErrUnavailable)
	}
	n, err := p.Purge(ctx, what)
	if said, ok := errors.AsType[*link.RemoteError](err); ok {
		return 0, fmt.Errorf("%w: purge %q: %s", api.ErrInvalid, what, said.Text)
	}
	if err == nil {
		d.record(ctx, activity.Record{Actor: by.Actor, Source: by.Source, Action: activity.CachePurged, Object: cmp.Or(what, "everything"), Outcome: activity.OK, Message: fmt.Sprintf("dropped %d stored answers", n)})
	}
	return n, err
}

// TestProxy implements api.Host.
func (d *Daemon) TestProxy(ctx context.Context, c proxy.Config) error {
	if d.edge.enabled() {
		select {
		case <-d.edge.begun:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p := d.edge.worker()
	if p == nil {
		return nil // what can be known without a worker was looked at
	}
	err := p.Test(ctx, c)
	if said, ok := errors.AsType[*link.RemoteError](err); ok {
		return fmt.Errorf("%w: %s", api.ErrInvalid, said.Text)
	}
	return err
}
