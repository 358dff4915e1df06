package state

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/platformd/platformd/firewall"
)

// Confirm keeps a provisional revision. id is that revision, one of those that added blocks to it, or 0 for whatever
// waits. It makes no revision: the content stays. A confirmation that comes after the deadline, but before the revert,
// counts, because it shows that its author still has access.
func (s *Store) Confirm(ctx context.Context, actor Actor, id int64) (Revision, error) {
	release, err := s.takeTurn(ctx)
	if err != nil {
		return Revision{}, err
	}
	defer release()
	cur := s.cur.Load()
	rev := cur.rev
	if !rev.Provisional() {
		return Revision{}, fmt.Errorf("confirm: %w; the current revision is %d", ErrNotProvisional, rev.ID)
	}
	if id != 0 && (id < rev.First || id > rev.ID) {
		return Revision{}, fmt.Errorf("confirm revision %d: %w; it is revision %d that waits", id, ErrNotProvisional, rev.ID)
	}
	err = s.transaction(ctx, 0, func(tx *sql.Tx) error { return settleRows(ctx, tx, rev.First, Confirmed, actor.Name) })
	if err != nil {
		return Revision{}, err
	}
	rev.Settled, rev.SettledBy = Confirmed, actor.Name
	s.cur.Store(&current{state: cur.state, rev: rev, enc: cur.enc})
	s.export()
	s.notify(rev)
	return rev, nil
}

// RevertExpired makes a new revision with the content from before a provisional one whose deadline has passed at now, and
// reports whether it did. The daemon calls it first of all after Open, and when a deadline comes.
func (s *Store) RevertExpired(ctx context.Context, now time.Time) (Revision, bool, error) {
	release, err := s.takeTurn(ctx)
	if err != nil {
		return Revision{}, false, err
	}
	defer release()
	cur := s.cur.Load()
	if !cur.rev.expired(now) {
		return cur.rev, false, nil
	}
	old, err := s.fallback(ctx, cur)
	if err != nil {
		return Revision{}, false, fmt.Errorf("revert revision %d: %w", cur.rev.ID, err)
	}
	rev, err := s.updateInTurn(ctx, change{
		actor:   Actor{Name: "platformd", Source: "local"},
		summary: fmt.Sprintf("back to revision %d: revision %d was not confirmed in time", cur.rev.Predecessor, cur.rev.First),
		settle:  Reverted, trusted: true,
		fn: func(st *State) error { *st = *old; return nil },
	})
	return rev, err == nil, err
}

// fallback is what a provisional revision goes back to: its predecessor with the blocks that were added since.
func (s *Store) fallback(ctx context.Context, cur *current) (*State, error) {
	_, old, err := s.get(ctx, s.db.Write, cur.rev.Predecessor)
	if err != nil {
		return nil, err
	}
	if cur.rev.First == cur.rev.ID {
		return old, nil
	}
	_, first, err := s.get(ctx, s.db.Write, cur.rev.First)
	if err != nil {
		return nil, err
	}
	added := without(cur.state.Firewall.Blocks, first.Firewall.Blocks)
	old.Firewall.Blocks = append(old.Firewall.Blocks, without(added, old.Firewall.Blocks)...)
	return old, nil
}

// settleRows ends all revisions that belong to the provisional one that began with first.
func settleRows(ctx context.Context, tx *sql.Tx, first int64, how Settlement, by string) error {
	_, err := tx.ExecContext(ctx, "UPDATE revisions SET settled = ?, settled_by = ? WHERE first = ? AND settled = ''", string(how), by, first)
	return err
}

type blockEntry = firewall.Block

// without are the blocks of a that are not in b, by target, end and reason.
func without(a, b []blockEntry) []blockEntry {
	type key struct {
		target any
		until  int64
		reason string
	}
	of := func(x blockEntry) key { return key{x.Target, toNano(x.Until), x.Reason} }
	have := make(map[key]bool, len(b))
	for _, x := range b {
		have[of(x)] = true
	}
	var out []blockEntry
	for _, x := range a {
		if !have[of(x)] {
			out = append(out, x)
		}
	}
	return out
}
