package activity

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Prune removes the records before a moment from the front of the log and returns how many. It stops at the first record
// that is younger, even where later ones are older because a clock was set. The newest record always stays, and a record
// says what was done.
func (l *Log) Prune(ctx context.Context, before time.Time) (int64, error) {
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return 0, fmt.Errorf("prune activity log: %w", context.Cause(ctx))
	}
	old := l.head.Load()
	var keep int64
	err := l.db.Write.QueryRowContext(ctx, "SELECT coalesce(min(seq), ?2) FROM records WHERE time >= ?1", before.UnixNano(), old.seq).Scan(&keep)
	if err != nil {
		return 0, l.db.Explain("prune", err)
	}
	var (
		last int64
		hash []byte
		n    int64
	)
	err = l.db.Write.QueryRowContext(ctx, "SELECT seq, hash FROM records WHERE seq < ? ORDER BY seq DESC LIMIT 1", keep).Scan(&last, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, l.db.Explain("prune", err)
	}
	if err := l.db.Write.QueryRowContext(ctx, "SELECT count(*) FROM records WHERE seq < ?", keep).Scan(&n); err != nil {
		return 0, l.db.Explain("prune", err)
	}
	r := Record{Actor: "platformd", Source: "local", Action: ActivityPruned, Message: fmt.Sprintf("%d records up to number %d, from before %s, were removed", n, last, before.UTC().Format(time.RFC3339))}
	if err := r.prepare(l.clock()); err != nil {
		return 0, err
	}
	err = l.commit(ctx, []*Record{&r}, func(tx *sql.Tx, h *head) error {
		for _, q := range []string{"DELETE FROM records_text WHERE rowid IN (SELECT seq FROM records WHERE seq < ?)", "DELETE FROM records WHERE seq < ?"} {
			if _, err := tx.ExecContext(ctx, q, keep); err != nil {
				return err
			}
		}
		h.anchorSeq = last
		copy(h.anchorHash[:], hash)
		return nil
	})
	if err != nil {
		return 0, err
	}
	if err := l.checkpoint(kindPruned); err != nil {
		l.logger.Error("activity checkpoint not written", "cause", err)
	}
	return n, nil
}
