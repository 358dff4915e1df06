// Package sqlite opens the daemon's databases, all in one way: one writer connection and a few readers on a file in WAL
// mode, every commit on disk before it returns, one process at a time, and damage found at the start.
//
// It knows no schema. It never repairs a database: what is damaged is moved aside as it is, for whoever wants to look.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// What callers branch on.
var (
	// ErrFull means that there is no space left; nothing was written.
	ErrFull = errors.New("the disk is full; free some space and try again")
	// ErrLocked means that another process has the database open.
	ErrLocked = errors.New("is in use by another process; stop the other daemon first")
)

// CorruptError means that a database cannot be read as what it was.
type CorruptError struct {
	Path  string
	Cause error
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("database %s is damaged: %v", e.Path, e.Cause)
}

// Unwrap is the cause.
func (e *CorruptError) Unwrap() error { return e.Cause }

// DB is an open database.
type DB struct {
	// Write has a single connection; its transactions are immediate. Read cannot change anything.
	Write, Read *sql.DB
	// Fresh means that the file was not there, or empty.
	Fresh bool

	path string
	lock *os.File
}

// Open opens or creates the database at path, readable by its owner only. Its error is *CorruptError where the file is
// damaged, and wraps ErrLocked where another process has it.
func Open(ctx context.Context, path string) (*DB, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	db := &DB{path: path, lock: lock}
	err = db.open(ctx)
	if errors.Is(err, ErrFull) && giveReserve(path) {
		err = errors.Join(db.closeConnections(), db.open(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	keepReserve(path)
	return db, nil
}

func (db *DB) open(ctx context.Context) error {
	if err := unix.Flock(int(db.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return fmt.Errorf("database %s: %w", db.path, err)
	}
	file, err := os.OpenFile(db.path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	info, err := file.Stat()
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("open database %s: %w", db.path, err)
	}
	db.Fresh = info.Size() == 0
	if db.Write, err = sql.Open("sqlite", dsn(db.path, "_txlock", "immediate")); err != nil {
		return fmt.Errorf("open database %s: %w", db.path, err)
	}
	db.Write.SetMaxOpenConns(1)
	if err := db.check(ctx); err != nil {
		return err
	}
	if db.Read, err = sql.Open("sqlite", dsn(db.path, "_pragma", "query_only(1)")); err != nil {
		return fmt.Errorf("open database %s: %w", db.path, err)
	}
	db.Read.SetMaxOpenConns(4)
	return nil
}

func dsn(path, key, value string) string {
	q := url.Values{"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}}
	q.Add(key, value)
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: q.Encode()}).String()
}

// check reads every page. quick_check leaves out only whether indexes agree with their tables.
func (db *DB) check(ctx context.Context) error {
	var verdict string
	err := db.Write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	if err != nil {
		return db.Explain("check", err)
	}
	if verdict != "ok" {
		return &CorruptError{Path: db.path, Cause: errors.New(verdict)}
	}
	return nil
}

// Schema creates the tables of a database that has none and marks it with version. A database of another version is
// refused, not touched. An existing one is not written to.
func (db *DB) Schema(ctx context.Context, version int, statements string) error {
	var have int
	if err := db.Write.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return db.Explain("open", err)
	}
	switch have {
	case version:
		return nil
	case 0:
		tx, err := db.Write.BeginTx(ctx, nil)
		if err != nil {
			return db.Explain("open", err)
		}
		defer func() { _ = tx.Rollback() }() // no effect after a commit
		if _, err := tx.ExecContext(ctx, statements+fmt.Sprintf("\nPRAGMA user_version = %d;", version)); err != nil {
			return db.Explain("create tables in", err)
		}
		return db.Explain("create tables in", tx.Commit())
	}
	return fmt.Errorf("open database %s: it has schema version %d, this program knows %d; use the program that wrote it", db.path, have, version)
}

// Close releases the database. The file is complete without its WAL afterwards.
func (db *DB) Close() error { return errors.Join(db.closeConnections(), db.lock.Close()) }

func (db *DB) closeConnections() error {
	var errs []error
	for _, c := range []*sql.DB{db.Read, db.Write} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Path is the path of the file.
func (db *DB) Path() string { return db.path }

// Explain says what an error of the database means: it wraps ErrFull, or is *CorruptError, where that is the cause.
func (db *DB) Explain(operation string, err error) error {
	if err == nil {
		return nil
	}
	var e *driver.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case lib.SQLITE_FULL:
			return fmt.Errorf("%s %s: %w", operation, db.path, ErrFull)
		case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
			return &CorruptError{Path: db.path, Cause: err}
		case lib.SQLITE_IOERR:
			if free, ok := freeBytes(filepath.Dir(db.path)); ok && free < 1<<20 {
				return fmt.Errorf("%s %s: %w", operation, db.path, ErrFull)
			}
		}
	}
	return fmt.Errorf("%s %s: %w", operation, db.path, err)
}

func freeBytes(dir string) (uint64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}

// MoveAside renames the database at path and what belongs to it to PATH.corrupt-TIME and returns that name. The database
// must not be open. A file that is not there is no error.
func MoveAside(path string, now time.Time) (string, error) {
	to := path + ".corrupt-" + now.UTC().Format("20060102T150405.000000000Z")
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("move damaged database aside: %w", err)
		}
	}
	return to, SyncDir(filepath.Dir(path))
}
