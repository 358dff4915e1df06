package state

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// History lists revisions, the newest first: at most limit of those before the revision before, 0 for the newest.
func (s *Store) History(ctx context.Context, limit int, before int64) ([]Revision, error) {
	rows, err := s.db.Read.QueryContext(ctx, "SELECT "+columns+" FROM revisions WHERE ?1 = 0 OR id < ?1 ORDER BY id DESC LIMIT ?2", before, max(limit, 0))
	if err != nil {
		return nil, s.db.Explain("read", err)
	}
	defer rows.Close()
	var out []Revision
	for rows.Next() {
		var r Revision
		if err := scan(rows, &r); err != nil {
			return nil, s.db.Explain("read", err)
		}
		out = append(out, r)
	}
	return out, s.db.Explain("read", rows.Err())
}

// Get is one revision with its content. The error is ErrNoRevision where it is not there, or not any more.
func (s *Store) Get(ctx context.Context, id int64) (State, Revision, error) {
	rev, st, err := s.get(ctx, s.db.Read, id)
	if err != nil {
		return State{}, Revision{}, err
	}
	return *st, rev, nil
}

func (s *Store) get(ctx context.Context, q querier, id int64) (Revision, *State, error) {
	doc, rev, err := s.document(ctx, q, id)
	if err != nil {
		return Revision{}, nil, err
	}
	st, err := decode(doc)
	if err != nil {
		return Revision{}, nil, fmt.Errorf("revision %d: %w", id, err)
	}
	return rev, &st, nil
}

// Diff is what changed from revision a to revision b.
func (s *Store) Diff(ctx context.Context, a, b int64) ([]FieldChange, error) {
	before, _, err := s.Get(ctx, a)
	if err != nil {
		return nil, err
	}
	after, _, err := s.Get(ctx, b)
	if err != nil {
		return nil, err
	}
	return Compare(&before, &after)
}

// Rollback makes a new revision with the content of an old one. It settles a provisional revision as reverted. Content that
// this version of the program finds invalid is refused.
func (s *Store) Rollback(ctx context.Context, actor Actor, id int64) (Revision, error) {
	return s.rollback(ctx, actor, id, time.Time{})
}

// RollbackProvisional is Rollback with a deadline, as for UpdateProvisional.
func (s *Store) RollbackProvisional(ctx context.Context, actor Actor, id int64, deadline time.Time) (Revision, error) {
	return s.rollback(ctx, actor, id, deadline)
}

func (s *Store) rollback(ctx context.Context, actor Actor, id int64, deadline time.Time) (Revision, error) {
	old, _, err := s.Get(ctx, id)
	if err != nil {
		return Revision{}, fmt.Errorf("roll back: %w", err)
	}
	release, err := s.takeTurn(ctx)
	if err != nil {
		return Revision{}, err
	}
	defer release()
	c := change{
		actor: actor, summary: fmt.Sprintf("rolled back to revision %d", id), deadline: deadline,
		fn: func(st *State) error { *st = old; return nil },
	}
	if s.cur.Load().rev.Provisional() && deadline.IsZero() {
		c.settle = Reverted
	}
	return s.updateInTurn(ctx, c)
}

// Prune removes old revisions as the settings of the current document say, and returns how many. The store does the same
// by itself whenever it writes a full copy.
func (s *Store) Prune(ctx context.Context) (int, error) {
	release, err := s.takeTurn(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	cur, n := s.cur.Load(), 0
	err = s.transaction(ctx, 0, func(tx *sql.Tx) error {
		n, err = prune(ctx, tx, cur.rev, cur.state.Settings, s.clock())
		return err
	})
	return n, err
}

// prune keeps the newest revisions by number and by age, what a provisional one needs, and whatever lies between those and
// the full copy they are patches of.
func prune(ctx context.Context, tx *sql.Tx, cur Revision, settings Settings, now time.Time) (int, error) {
	settings = settings.WithDefaults()
	keep := cur.ID - int64(settings.HistoryKeep) + 1
	if cur.Provisional() {
		keep = min(keep, cur.Predecessor)
	}
	young := now.AddDate(0, 0, -settings.HistoryDays)
	res, err := tx.ExecContext(ctx, `DELETE FROM revisions WHERE id < (
		SELECT max(id) FROM revisions WHERE full = 1 AND id <= min(?1, coalesce((SELECT min(id) FROM revisions WHERE time >= ?2), ?1)))`, keep, toNano(young))
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
