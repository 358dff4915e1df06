package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/platformd/platformd/internal/sqlite"
)

// keyframeEvery is after how many patches a full copy is written: it bounds what reading an old revision costs.
const keyframeEvery = 50

// schema of the database. A revision is prefix bytes and suffix bytes of the one before with data in between, or, where
// full is 1, data alone. Times are nanoseconds since 1970, 0 for none.
const schema = `
CREATE TABLE revisions (
	id INTEGER PRIMARY KEY, time INTEGER NOT NULL, actor TEXT NOT NULL, source TEXT NOT NULL, summary TEXT NOT NULL,
	parent INTEGER NOT NULL, deadline INTEGER NOT NULL, predecessor INTEGER NOT NULL, first INTEGER NOT NULL,
	settled TEXT NOT NULL, settled_by TEXT NOT NULL,
	full INTEGER NOT NULL, prefix INTEGER NOT NULL, suffix INTEGER NOT NULL, data BLOB NOT NULL, checksum INTEGER NOT NULL
) STRICT;
CREATE INDEX revisions_full ON revisions (id) WHERE full = 1;`

const columns = "id, time, actor, source, summary, parent, deadline, predecessor, first, settled, settled_by"

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func scan(row interface{ Scan(...any) error }, r *Revision, more ...any) error {
	var made, deadline int64
	err := row.Scan(append([]any{&r.ID, &made, &r.Actor, &r.Source, &r.Summary, &r.Parent, &deadline, &r.Predecessor, &r.First, &r.Settled, &r.SettledBy}, more...)...)
	r.Time, r.Deadline = fromNano(made), fromNano(deadline)
	return err
}

func insert(ctx context.Context, tx *sql.Tx, r Revision, full bool, p patch, sum uint32) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO revisions ("+columns+", full, prefix, suffix, data, checksum) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		r.ID, toNano(r.Time), r.Actor, r.Source, r.Summary, r.Parent, toNano(r.Deadline), r.Predecessor, r.First, string(r.Settled), r.SettledBy,
		full, p.prefix, p.suffix, p.data, int64(sum))
	return err
}

// insertFull writes a revision that follows nothing.
func (s *Store) insertFull(ctx context.Context, r Revision, doc []byte) error {
	return s.transaction(ctx, r.ID, func(tx *sql.Tx) error {
		return insert(ctx, tx, r, true, patch{data: doc}, checksum(doc))
	})
}

// transaction runs fn and commits. Where the commit reports an error, the disk decides whether it took place: a caller
// must neither be told that a change is lost which is there, nor the other way round.
func (s *Store) transaction(ctx context.Context, id int64, fn func(*sql.Tx) error) error {
	tx, err := s.db.Write.BeginTx(ctx, nil)
	if err != nil {
		return s.db.Explain("write", err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after a commit
	if err := fn(tx); err != nil {
		return s.db.Explain("write", err)
	}
	if err := tx.Commit(); err != nil {
		var there int
		check := s.db.Write.QueryRowContext(context.WithoutCancel(ctx), "SELECT count(*) FROM revisions WHERE id = ?", id).Scan(&there)
		if check != nil || there == 0 || id == 0 {
			return s.db.Explain("write", err)
		}
	}
	return nil
}

// document reads the content of a revision. The error is ErrNoRevision where there is none, and *sqlite.CorruptError where
// it is not what was written.
func (s *Store) document(ctx context.Context, q querier, id int64) ([]byte, Revision, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+columns+", full, prefix, suffix, data, checksum FROM revisions WHERE id <= ?1 AND id >= "+
		"(SELECT max(id) FROM revisions WHERE full = 1 AND id <= ?1) ORDER BY id", id)
	if err != nil {
		return nil, Revision{}, s.db.Explain("read", err)
	}
	defer rows.Close()
	var (
		doc []byte
		rev Revision
		sum int64
	)
	for rows.Next() {
		var (
			full bool
			p    patch
			data sql.RawBytes
		)
		if err := scan(rows, &rev, &full, &p.prefix, &p.suffix, &data, &sum); err != nil {
			return nil, Revision{}, s.db.Explain("read", err)
		}
		p.data = data
		if full {
			doc = nil
		}
		if doc, err = p.apply(doc); err != nil {
			return nil, Revision{}, &sqlite.CorruptError{Path: s.db.Path(), Cause: fmt.Errorf("revision %d: %w", rev.ID, err)}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, Revision{}, s.db.Explain("read", err)
	}
	if rev.ID != id {
		return nil, Revision{}, fmt.Errorf("revision %d: %w; `platformctl history` lists those that are kept", id, ErrNoRevision)
	}
	if uint32(sum) != checksum(doc) {
		return nil, Revision{}, &sqlite.CorruptError{Path: s.db.Path(), Cause: fmt.Errorf("revision %d: %w", id, errors.New("content does not match its checksum"))}
	}
	return doc, rev, nil
}

func toNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
