package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/bans"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/sqlite"
)

// banBook is the book of bans with what the daemon asks of it.
type banBook struct {
	*bans.Book
	// fresh wakes keepBans when somebody was banned; bans that come close together are put in force together.
	fresh chan bans.Ban
}

// banBatch is how many bans are put in force at once, and banWait how long the first of them waits for others.
const (
	banBatch = 1024
	banWait  = 50 * time.Millisecond
)

func (d *Daemon) openBans(ctx context.Context) (*banBook, error) {
	path := filepath.Join(d.cfg.DataDir, "bans.db")
	cfg := bans.Config{Now: d.now, Exempt: d.exempt, Policy: func(reason string) bans.Policy {
		s, _ := d.store.Current()
		p := s.Bans.For(reason)
		return bans.Policy{Disabled: p.Disabled, Strikes: p.Strikes, Window: time.Duration(p.Window), Duration: p.Duration}
	}}
	book, err := bans.Open(ctx, path, cfg)
	if corruptDatabase(err) {
		aside, moveErr := sqlite.MoveAside(path, d.now())
		if moveErr != nil {
			return nil, moveErr
		}
		d.health.Set(health.Condition{ID: "bans-lost", Severity: health.Warning, Message: "the database of bans was damaged and is now " + aside + "; bans begin anew", Remedy: "look at the disk"})
		book, err = bans.Open(ctx, path, cfg)
	}
	if err != nil {
		return nil, err
	}
	return &banBook{Book: book, fresh: make(chan bans.Ban, banBatch)}, nil
}

// exempt sources are never banned: the host itself, and with it the /64 that it is in, because a ban would cover that;
// those always allowed; and doctor's probe.
func (d *Daemon) exempt(a netip.Addr) bool {
	target := bans.Target(a)
	if a.IsLinkLocalUnicast() || d.probes.has(a) || slices.ContainsFunc(d.addresses(), target.Contains) {
		return true
	}
	s, _ := d.store.Current()
	return slices.ContainsFunc(s.Firewall.Allow, func(x firewall.Allow) bool { return x.Target.Overlaps(target) })
}

// timed is the bans as the ruleset has them.
func (b *banBook) timed() []firewall.Timed {
	list := b.List()
	out := make([]firewall.Timed, len(list))
	for i, x := range list {
		out[i] = firewall.Timed{Range: x.Target, Until: x.Until}
	}
	return out
}

func (b *banBook) behind(a netip.Addr) []string {
	x, ok := b.Of(a)
	if !ok {
		return nil
	}
	return []string{fmt.Sprintf("ban %v for %s since %s until %s (number %d): %s", x.Target, x.Reason,
		x.Since.Format(time.DateTime), x.Until.Format(time.DateTime), x.Count, x.Detail)}
}

// strike counts one misbehaviour.
func (d *Daemon) strike(ctx context.Context, s bans.Strike) error {
	d.tallies.add("strike", s.Reason, max(s.Weight, 1))
	x, banned, err := d.bans.Add(ctx, s)
	if err != nil || !banned {
		return err
	}
	select {
	case d.bans.fresh <- x:
	case <-ctx.Done():
	}
	return nil
}

// Strike implements api.Host.
func (d *Daemon) Strike(ctx context.Context, by api.Caller, source netip.Addr, reason, detail string) error {
	return d.strike(ctx, bans.Strike{Source: source, Reason: reason, Detail: by.Actor + ": " + detail, Time: d.now()})
}

// keepBans puts new bans in force, in batches, and follows the logs of sshd.
func (d *Daemon) keepBans(ctx context.Context) error {
	go d.followLogs(ctx)
	for {
		var batch []bans.Ban
		select {
		case <-ctx.Done():
			return ctx.Err()
		case x := <-d.bans.fresh:
			batch = append(batch, x)
		}
		wait := time.After(banWait)
	collect:
		for len(batch) < banBatch {
			select {
			case x := <-d.bans.fresh:
				batch = append(batch, x)
			case <-wait:
				break collect
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		d.enforceBans(ctx, batch)
	}
}

func (d *Daemon) enforceBans(ctx context.Context, batch []bans.Ban) {
	var targets []ranges.Range
	for _, x := range batch {
		targets = append(targets, x.Target)
	}
	flows := d.filter.endFlows(targets)
	outcome := activity.OK
	if r, err := d.loop.Sync(ctx); err != nil || !r.Verified {
		outcome = activity.Pending
	}
	if _, err := flows.result(); err != nil {
		d.log.Warn("end connections of banned sources", "error", err)
	}
	for _, x := range batch {
		d.record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.BanAdded, Object: x.Target.String(), Outcome: outcome,
			Message: fmt.Sprintf("%s, until %s (number %d): %s", x.Reason, x.Until.UTC().Format(time.RFC3339), x.Count, x.Detail)})
	}
}

// Bans implements api.Host.
func (d *Daemon) Bans(context.Context) ([]api.Ban, error) {
	out := []api.Ban{}
	for _, x := range d.bans.List() {
		out = append(out, api.Ban{Target: x.Target.String(), Reason: x.Reason, Since: x.Since, Until: x.Until, Count: x.Count, Detail: x.Detail})
	}
	return out, nil
}

// Unban implements api.Host.
func (d *Daemon) Unban(ctx context.Context, by api.Caller, target string) error {
	r, err := ranges.Parse(target)
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	lifted, err := d.bans.Lift(ctx, r)
	if err != nil {
		return err
	}
	if len(lifted) == 0 {
		return fmt.Errorf("ban %v: %w; platformctl bans list shows who is banned", r, api.ErrNotFound)
	}
	result, err := d.loop.Sync(ctx)
	if err != nil {
		return err
	}
	for _, x := range lifted {
		d.record(ctx, activity.Record{Actor: by.Actor, Source: by.Source, Action: activity.BanRemoved, Object: x.Target.String(), Outcome: activity.OK,
			Message: "was banned for " + x.Reason + ": " + x.Detail})
	}
	if !result.Verified {
		return fmt.Errorf("ban %v: is lifted, but the kernel does not agree yet: %w", r, result.Err)
	}
	return nil
}
