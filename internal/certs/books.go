package certs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Attempt is what came of asking a CA for a name, while it failed.
type Attempt struct {
	Name, CA string
	Failures int
	At, Next time.Time
	// Problem is the kind that the CA named ("rateLimited", "caa"), "unreachable", or empty; Reason is for people.
	Problem, Reason string
}

// Attempts are all that failed last.
func (s *Store) Attempts(ctx context.Context) ([]Attempt, error) {
	rows, err := s.db.Read.QueryContext(ctx, `SELECT name, ca, failures, at, next, problem, reason FROM attempts ORDER BY name, ca`)
	if err != nil {
		return nil, s.db.Explain("read attempts", err)
	}
	defer rows.Close()
	var out []Attempt
	for rows.Next() {
		var a Attempt
		var at, next int64
		if err := rows.Scan(&a.Name, &a.CA, &a.Failures, &at, &next, &a.Problem, &a.Reason); err != nil {
			return nil, s.db.Explain("read attempts", err)
		}
		a.At, a.Next = time.Unix(0, at), time.Unix(0, next)
		out = append(out, a)
	}
	return out, s.db.Explain("read attempts", rows.Err())
}

// PutAttempt keeps a failure in the place of the one before.
func (s *Store) PutAttempt(ctx context.Context, a Attempt) error {
	_, err := s.exec(ctx, "write attempt", `INSERT OR REPLACE INTO attempts (name, ca, failures, at, next, problem, reason) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		a.Name, a.CA, a.Failures, a.At.UnixNano(), a.Next.UnixNano(), a.Problem, a.Reason)
	return err
}

// ForgetAttempts removes every failure of a name.
func (s *Store) ForgetAttempts(ctx context.Context, name string) error {
	_, err := s.exec(ctx, "remove attempts", `DELETE FROM attempts WHERE name = ?`, name)
	return err
}

// SetSecret stores a secret that the document names.
func (s *Store) SetSecret(ctx context.Context, name string, value Secret) error {
	_, err := s.exec(ctx, "write secret", `INSERT OR REPLACE INTO secrets (name, value, changed) VALUES (?, ?, ?)`, name, s.seal.Seal(value, "secret "+name), s.now().UnixNano())
	return err
}

// Secret is a stored secret; ok is false where there is none of that name.
func (s *Store) Secret(ctx context.Context, name string) (value Secret, ok bool, err error) {
	var sealed []byte
	err = s.db.Read.QueryRowContext(ctx, `SELECT value FROM secrets WHERE name = ?`, name).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.db.Explain("read secret "+name+" in", err)
	}
	value, err = s.seal.Open(sealed, "secret "+name)
	return value, err == nil, err
}

// RemoveSecret forgets a secret and reports whether it was there.
func (s *Store) RemoveSecret(ctx context.Context, name string) (bool, error) {
	n, err := s.exec(ctx, "remove secret", `DELETE FROM secrets WHERE name = ?`, name)
	return n > 0, err
}

// SecretInfo is what may be shown of a secret.
type SecretInfo struct {
	Name    string
	Changed time.Time
}

// Secrets lists what is stored, without the values.
func (s *Store) Secrets(ctx context.Context) ([]SecretInfo, error) {
	rows, err := s.db.Read.QueryContext(ctx, `SELECT name, changed FROM secrets ORDER BY name`)
	if err != nil {
		return nil, s.db.Explain("read secrets", err)
	}
	defer rows.Close()
	var out []SecretInfo
	for rows.Next() {
		var i SecretInfo
		var changed int64
		if err := rows.Scan(&i.Name, &changed); err != nil {
			return nil, s.db.Explain("read secrets", err)
		}
		i.Changed = time.Unix(0, changed)
		out = append(out, i)
	}
	return out, s.db.Explain("read secrets", rows.Err())
}

// keep, kept and forget are the entries of an order that lasts: what a CA is about to ask for.
func (s *Store) keep(ctx context.Context, key string, value []byte) error {
	_, err := s.exec(ctx, "write cache", `INSERT OR REPLACE INTO cache (key, value) VALUES (?, ?)`, key, s.seal.Seal(value, "cache "+key))
	return err
}

func (s *Store) kept(ctx context.Context, key string) (Secret, bool, error) {
	var sealed []byte
	err := s.db.Read.QueryRowContext(ctx, `SELECT value FROM cache WHERE key = ?`, key).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.db.Explain("read cache", err)
	}
	value, err := s.seal.Open(sealed, "cache "+key)
	if err != nil {
		return nil, false, fmt.Errorf("read cache: %w", err)
	}
	return value, true, nil
}

func (s *Store) forget(ctx context.Context, key string) error {
	_, err := s.exec(ctx, "clear cache", `DELETE FROM cache WHERE key = ?`, key)
	return err
}
