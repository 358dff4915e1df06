package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/state"
)

// The lock-out guard. A change that would cut off its author is stored with a deadline and put in force; without a
// confirmation the content of its predecessor comes back. While the daemon lives, watchGuard does that. Before the change
// is made, the ruleset to go back to is written to guard.json and a process outside of the daemon is told the deadline, so
// that killing the daemon does not leave anybody outside; a daemon that starts again honours the deadline before it looks
// at anything else.

// guardGrace is how much longer than the daemon the outside process waits.
const guardGrace = 3 * time.Second

func (d *Daemon) guardTime(s state.State) time.Duration {
	return time.Duration(s.Settings.WithDefaults().Guard)
}

// armGuard saves the way back and starts the process that takes it if nobody is here to.
func (d *Daemon) armGuard(p *proposal, deadline time.Time) error {
	driver, inForce, _ := d.filter.state()
	back := inForce
	if back == nil {
		back = p.rulesets[0]
	}
	s := saved{Driver: driver, Revision: p.rev.ID, Time: deadline, Ruleset: back}
	if err := s.write(guardPath(d.cfg.DataDir)); err != nil {
		return fmt.Errorf("arm the lock-out guard: %w", err)
	}
	if d.cfg.StartGuard == nil {
		return nil
	}
	if err := d.cfg.StartGuard(d.cfg.DataDir, deadline.Add(guardGrace)); err != nil {
		d.disarmGuard()
		return fmt.Errorf("arm the lock-out guard: %w", err)
	}
	return nil
}

func (d *Daemon) disarmGuard() {
	if err := os.Remove(guardPath(d.cfg.DataDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Error("disarm the lock-out guard", "error", err)
	}
}

// wakeGuard tells watchGuard that a deadline was set or settled.
func (d *Daemon) wakeGuard() {
	select {
	case d.guardWake <- struct{}{}:
	default:
	}
}

// watchGuard reverts provisional revisions when their deadline comes.
func (d *Daemon) watchGuard(ctx context.Context) error {
	for {
		_, rev := d.store.Current()
		var due <-chan time.Time
		if rev.Provisional() {
			t := time.NewTimer(max(rev.Deadline.Sub(d.now()), time.Millisecond))
			defer t.Stop()
			due = t.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.guardWake:
		case <-due:
			if err := d.revertExpired(ctx); err != nil {
				d.health.Set(health.Condition{ID: "guard-revert", Severity: health.Critical,
					Message: "a change that was not confirmed could not be reverted: " + err.Error(), Remedy: "platformctl rollback, or platformctl confirm to keep it"})
				d.log.Error("revert an unconfirmed change", "error", err)
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		}
	}
}

// revertExpired goes back where a deadline has passed. It is called first of all after a start.
func (d *Daemon) revertExpired(ctx context.Context) error {
	_, was := d.store.Current()
	rev, reverted, err := d.store.RevertExpired(ctx, d.now())
	if err != nil || !reverted {
		return err
	}
	d.health.Clear("guard-revert")
	if d.loopRuns.Load() {
		if r, err := d.loop.Sync(ctx); err != nil || !r.Verified {
			d.log.Error("put the reverted policy in force", "error", errors.Join(err, r.Err))
		}
	}
	d.disarmGuard()
	d.record(ctx, activity.Record{Actor: "platformd", Source: "local", Action: activity.ChangeReverted, Object: fmt.Sprintf("revision %d", was.ID),
		Revision: rev.ID, Outcome: activity.OK, Message: "not confirmed in time: " + was.Summary})
	return nil
}

// TakeWayBack applies the ruleset of guard.json once its deadline has passed, where it is still there then. It is the
// outside process, and it is what restore-firewall asks first.
func TakeWayBack(ctx context.Context, dataDir string, drivers Drivers, now func() time.Time) error {
	for {
		s, ok, err := readSaved(guardPath(dataDir))
		if err != nil || !ok {
			return err
		}
		wait := s.Time.Add(guardGrace).Sub(now())
		if wait <= 0 {
			return s.apply(ctx, drivers)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(wait, time.Second)): // looks again: a confirmation removes the file
		}
	}
}

func (s saved) apply(ctx context.Context, drivers Drivers) error {
	open, ok := drivers[s.Driver]
	if !ok {
		open = drivers["nft"]
	}
	driver, err := open()
	if err != nil {
		return err
	}
	rs := *s.Ruleset
	_, err = driver.Apply(ctx, &rs)
	return err
}

// Restore puts the last ruleset that was in force back, without the database or the network: at early boot, before any
// interface is up. A change whose confirmation did not come before the reboot is left out.
func Restore(ctx context.Context, dataDir string, drivers Drivers, now time.Time) (string, error) {
	if s, ok, err := readSaved(guardPath(dataDir)); err == nil && ok && now.After(s.Time) {
		return "the policy from before an unconfirmed change", s.apply(ctx, drivers)
	}
	s, ok, err := readSaved(lastGoodPath(dataDir))
	switch {
	case err == nil && ok:
		s.Ruleset.DropMissing(fileExists)
		return fmt.Sprintf("revision %d", s.Revision), s.apply(ctx, drivers)
	case err == nil:
		return "", fmt.Errorf("restore firewall: %s: %w; start platformd once", lastGoodPath(dataDir), fs.ErrNotExist)
	}
	// What cannot be read must not leave the host open: nothing but SSH until the daemon is up.
	closed, compileErr := firewall.Compile(onlySSH(), firewall.Source{Now: now})
	if compileErr != nil {
		return "", errors.Join(err, compileErr)
	}
	fallback := saved{Driver: "nft", Ruleset: closed}
	return "only SSH, because the saved ruleset is damaged", errors.Join(fallback.apply(ctx, drivers), err)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func onlySSH() *firewall.Policy {
	s := state.Default()
	s.Firewall.Ports = s.Firewall.Ports[:2]
	return &s.Firewall
}
