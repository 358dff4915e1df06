package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/platformd/platformd/internal/secret"
	"github.com/platformd/platformd/internal/sqlite"
)

// Store keeps certificates, accounts, attempts and secrets. Its methods are safe for concurrent use.
type Store struct {
	db   *sqlite.DB
	seal *secret.Box
	now  func() time.Time
}

const schema = `
CREATE TABLE certificates (
	name         TEXT NOT NULL,
	kind         TEXT NOT NULL,    -- acme, imported, self-signed
	source       TEXT NOT NULL,
	names        TEXT NOT NULL,    -- JSON
	chain        BLOB NOT NULL,    -- PEM
	key          BLOB NOT NULL,    -- PEM, sealed
	created      INTEGER NOT NULL, -- nanoseconds since 1970, as all times here
	not_before   INTEGER NOT NULL,
	expires      INTEGER NOT NULL,
	window_start INTEGER NOT NULL DEFAULT 0,
	window_end   INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (name, kind)
) STRICT;
CREATE TABLE accounts (
	directory TEXT PRIMARY KEY,
	key       BLOB NOT NULL, -- PEM, sealed
	created   INTEGER NOT NULL
) STRICT;
CREATE TABLE attempts (
	name     TEXT NOT NULL,
	ca       TEXT NOT NULL,
	failures INTEGER NOT NULL,
	at       INTEGER NOT NULL,
	next     INTEGER NOT NULL,
	problem  TEXT NOT NULL,
	reason   TEXT NOT NULL,
	PRIMARY KEY (name, ca)
) STRICT;
CREATE TABLE cache ( -- what an order keeps while it lasts
	key     TEXT PRIMARY KEY,
	value   BLOB NOT NULL -- sealed
) STRICT;
CREATE TABLE secrets (
	name    TEXT PRIMARY KEY,
	value   BLOB NOT NULL, -- sealed
	changed INTEGER NOT NULL
) STRICT;`

// OpenStore opens or makes the store in a folder. credentials is systemd's folder of credentials, or empty.
func OpenStore(ctx context.Context, dir, credentials string, now func() time.Time) (*Store, error) {
	db, err := sqlite.Open(ctx, filepath.Join(dir, "certs.db"))
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Store, error) {
		return nil, errors.Join(fmt.Errorf("open certificates: %w", err), db.Close())
	}
	if err := db.Schema(ctx, 1, schema); err != nil {
		return fail(err)
	}
	s := &Store{db: db, now: now}
	var sealed int
	if err := db.Read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM certificates) + (SELECT count(*) FROM accounts) + (SELECT count(*) FROM secrets)`).Scan(&sealed); err != nil {
		return fail(db.Explain("read", err))
	}
	if s.seal, err = secret.Open(dir, credentials, sealed == 0); err != nil {
		return fail(err)
	}
	// Orders end with the process that made them: what they kept is of no use.
	if _, err := db.Write.ExecContext(ctx, `DELETE FROM cache`); err != nil {
		return fail(db.Explain("clear", err))
	}
	return s, nil
}

// Close closes the store.
func (s *Store) Close() error { return s.db.Close() }

func (s *Store) exec(ctx context.Context, what, query string, args ...any) (int64, error) {
	res, err := s.db.Write.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, s.db.Explain(what, err)
	}
	return res.RowsAffected()
}

// Put keeps a certificate with its key, in the place of the one of the same name and kind.
func (s *Store) Put(ctx context.Context, c *Certificate, key Secret) error {
	names, err := json.Marshal(c.Names)
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "write certificate", `INSERT OR REPLACE INTO certificates (name, kind, source, names, chain, key, created, not_before, expires, window_start, window_end)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.Name, c.Kind(), c.Source, string(names), c.Chain, s.seal.Seal(key, keyOf(c.Name, c.Kind())),
		c.Created.UnixNano(), c.NotBefore.UnixNano(), c.Expires.UnixNano(), nanos(c.Window.Start), nanos(c.Window.End))
	return err
}

func keyOf(name, kind string) string { return "key of " + kind + " certificate " + name }

// List is every certificate, by name.
func (s *Store) List(ctx context.Context) ([]*Certificate, error) {
	rows, err := s.db.Read.QueryContext(ctx, `SELECT name, source, chain, created, window_start, window_end FROM certificates ORDER BY name, kind`)
	if err != nil {
		return nil, s.db.Explain("read certificates", err)
	}
	defer rows.Close()
	var out []*Certificate
	for rows.Next() {
		var name, source string
		var chain []byte
		var created, start, end int64
		if err := rows.Scan(&name, &source, &chain, &created, &start, &end); err != nil {
			return nil, s.db.Explain("read certificates", err)
		}
		parsed, err := parseChain(chain)
		if err != nil {
			return nil, fmt.Errorf("stored certificate of %s: %w", name, err)
		}
		c := describe(parsed[0], chain)
		c.Name, c.Source, c.Created, c.Window = name, source, time.Unix(0, created), Window{fromNanos(start), fromNanos(end)}
		out = append(out, c)
	}
	return out, s.db.Explain("read certificates", rows.Err())
}

// Key is the private key of a certificate.
func (s *Store) Key(ctx context.Context, name, kind string) (Secret, error) {
	var sealed []byte
	if err := s.db.Read.QueryRowContext(ctx, `SELECT key FROM certificates WHERE name = ? AND kind = ?`, name, kind).Scan(&sealed); err != nil {
		return nil, s.db.Explain("read "+keyOf(name, kind)+" in", err)
	}
	return s.seal.Open(sealed, keyOf(name, kind))
}

// Remove forgets a certificate and reports whether it was there.
func (s *Store) Remove(ctx context.Context, name, kind string) (bool, error) {
	n, err := s.exec(ctx, "remove certificate", `DELETE FROM certificates WHERE name = ? AND kind = ?`, name, kind)
	return n > 0, err
}

// SetWindow keeps when a CA wants a certificate to be renewed.
func (s *Store) SetWindow(ctx context.Context, name string, w Window) error {
	_, err := s.exec(ctx, "write renewal window", `UPDATE certificates SET window_start = ?, window_end = ? WHERE name = ? AND kind = ?`, nanos(w.Start), nanos(w.End), name, ACME)
	return err
}

// Account is the key of our account with a CA, made when it is first asked for.
func (s *Store) Account(ctx context.Context, directory string) (Secret, error) {
	what := "account with " + directory
	var sealed []byte
	err := s.db.Write.QueryRowContext(ctx, `SELECT key FROM accounts WHERE directory = ?`, directory).Scan(&sealed)
	if err == nil {
		return s.seal.Open(sealed, what)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, s.db.Explain("read account", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make account key: %w", err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, fmt.Errorf("make account key: %w", err)
	}
	// Who comes second takes the key of who came first.
	if _, err := s.exec(ctx, "write account", `INSERT OR IGNORE INTO accounts (directory, key, created) VALUES (?, ?, ?)`, directory, s.seal.Seal(text, what), s.now().UnixNano()); err != nil {
		return nil, err
	}
	if err := s.db.Write.QueryRowContext(ctx, `SELECT key FROM accounts WHERE directory = ?`, directory).Scan(&sealed); err != nil {
		return nil, s.db.Explain("read account", err)
	}
	return s.seal.Open(sealed, what)
}

// nanos is 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
