package activity

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/internal/sqlite"
)

// schema of the database. records_text finds records by their words; it is no part of the chain.
const schema = `
CREATE TABLE records (
	seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, actor TEXT NOT NULL, source TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL,
	revision INTEGER NOT NULL, outcome TEXT NOT NULL, message TEXT NOT NULL, before BLOB NOT NULL, after BLOB NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE INDEX records_time ON records (time);
CREATE INDEX records_object ON records (object);
CREATE TABLE head (
	id INTEGER PRIMARY KEY CHECK (id = 1), chain BLOB NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, anchor_seq INTEGER NOT NULL,
	anchor_hash BLOB NOT NULL, checkpoints INTEGER NOT NULL, key TEXT NOT NULL, signature BLOB NOT NULL
) STRICT;
CREATE VIRTUAL TABLE records_text USING fts5(text, content='', contentless_delete=1);`

// Config is what a Log needs of its surroundings.
type Config struct {
	Clock  func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil discards
	Random io.Reader        // for the key and the name of the chain; nil is crypto/rand
}

// Log is an open activity log. Its methods are safe for concurrent use.
type Log struct {
	clock       func() time.Time
	logger      *slog.Logger
	random      io.Reader
	db          *sqlite.DB
	signer      signer
	checkpoints *checkpointFile
	dir         string

	// turn holds a token; who has it may write and owns head and marked.
	turn   chan struct{}
	head   atomic.Pointer[head]
	marked int64 // the record of the last checkpoint

	mu    sync.Mutex
	queue []*waiting
	// wake is closed, and replaced, with every commit.
	wake chan struct{}
	// closed is closed by Close.
	closed chan struct{}
}

// Open opens or creates the log at path. Beside it lie activity.key and activity.checkpoints. A database that is damaged
// is moved aside and a new chain begins, whose first record says so.
func Open(ctx context.Context, path string, c Config) (*Log, error) {
	l := &Log{clock: c.Clock, logger: c.Logger, random: c.Random, turn: make(chan struct{}, 1), wake: make(chan struct{}), closed: make(chan struct{}), dir: filepath.Dir(path)}
	if l.clock == nil {
		l.clock = time.Now
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	if l.random == nil {
		l.random = rand.Reader
	}
	if err := l.open(ctx, path); err != nil {
		return nil, errors.Join(err, l.release())
	}
	l.turn <- struct{}{}
	return l, nil
}

func (l *Log) open(ctx context.Context, path string) error {
	db, err := sqlite.Open(ctx, path)
	var notes []string
	if err == nil {
		l.db = db
		err = l.loadHead(ctx)
	}
	var corrupt *sqlite.CorruptError
	if errors.As(err, &corrupt) {
		if l.db != nil {
			err := l.db.Close()
			l.db = nil
			if err != nil {
				return err
			}
		}
		moved, err := sqlite.MoveAside(path, l.clock())
		if err != nil {
			return err
		}
		notes = append(notes, fmt.Sprintf("%v; it was moved to %s", corrupt, moved))
		if l.db, err = sqlite.Open(ctx, path); err != nil {
			return err
		}
		if err := l.loadHead(ctx); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	var made bool
	if l.signer, made, err = loadSigner(filepath.Join(l.dir, "activity.key"), l.random, l.clock(), l.logger); err != nil {
		return err
	}
	if l.checkpoints, err = openCheckpoints(filepath.Join(l.dir, "activity.checkpoints")); err != nil {
		return err
	}
	return l.resume(ctx, made, notes)
}

// loadHead makes the tables and reads the signed head; without one, the chain has not begun.
func (l *Log) loadHead(ctx context.Context) error {
	if err := l.db.Schema(ctx, 1, schema); err != nil {
		return err
	}
	h, err := readHead(ctx, l.db.Write)
	var records int64
	if err == nil && h == nil {
		err = l.db.Write.QueryRowContext(ctx, "SELECT count(*) FROM records").Scan(&records)
	}
	switch {
	case err != nil:
		return l.db.Explain("read", err)
	case records > 0:
		return &sqlite.CorruptError{Path: l.db.Path(), Cause: errors.New("there are records but no signed head")}
	}
	l.head.Store(h)
	return nil
}

func readHead(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (*head, error) {
	h := &head{}
	var hash, anchor []byte
	err := q.QueryRowContext(ctx, "SELECT chain, seq, hash, anchor_seq, anchor_hash, checkpoints, key, signature FROM head").
		Scan(&h.chain, &h.seq, &hash, &h.anchorSeq, &anchor, &h.checkpoints, &h.keyID, &h.signature)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	copy(h.hash[:], hash)
	copy(h.anchorHash[:], anchor)
	return h, err
}

// resume continues the chain where it ended, or begins one. What is not as it was signed is put on record before a new
// signature covers it, and the numbers go on behind the highest that was ever signed, so that what is missing stays
// visible.
func (l *Log) resume(ctx context.Context, keyMade bool, notes []string) error {
	h, action := l.head.Load(), ActivityDamaged
	last := l.checkpoints.last
	if h == nil {
		h = &head{chain: make([]byte, 16)}
		if _, err := io.ReadFull(l.random, h.chain); err != nil {
			return fmt.Errorf("begin activity log: %w", err)
		}
		h.hash, h.anchorHash = genesis(h.chain), genesis(h.chain)
		action = ActivityStarted
		if len(notes) == 0 && last != nil {
			notes = append(notes, "the database was missing")
		}
		if len(notes) > 0 {
			action = ActivityRestarted
			if last != nil {
				notes = append(notes, fmt.Sprintf("the last checkpoint of the log before this one is record %d of %s", last.Seq, last.Time.Format(time.RFC3339)))
			}
		}
	} else {
		found, err := l.compare(ctx, h, keyMade)
		if err != nil {
			return err
		}
		notes = found
	}
	l.head.Store(h)
	if last != nil && last.Chain == hex.EncodeToString(h.chain) {
		l.marked = last.Seq
	}
	if action == ActivityDamaged && len(notes) == 0 {
		return nil
	}
	r := Record{Actor: "platformd", Source: "local", Action: action, Message: strings.Join(notes, "; ")}
	if len(notes) > 0 {
		r.Outcome = Failed
		l.logger.Error("activity log", "action", action, "found", r.Message)
	}
	if err := r.prepare(l.clock()); err != nil {
		return err
	}
	if err := l.commit(ctx, []*Record{&r}, nil); err != nil {
		return err
	}
	return l.checkpoint(kindStart)
}

// compare looks for what can be seen without reading the whole log, and moves h to where the chain goes on.
func (l *Log) compare(ctx context.Context, h *head, keyMade bool) (notes []string, err error) {
	if bad := l.signer.check(h.keyID, h.message(), h.signature); bad != "" {
		if keyMade {
			bad += "; the key file was missing and has been made anew"
		}
		notes = append(notes, "the head of the log "+bad)
	}
	var (
		seq  int64
		hash []byte
	)
	err = l.db.Write.QueryRowContext(ctx, "SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").Scan(&seq, &hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, l.db.Explain("read", err)
	}
	if string(hash) != string(h.hash[:]) || seq != h.seq {
		notes = append(notes, fmt.Sprintf("the log was signed up to record %d, but it ends with record %d", h.seq, seq))
		h.hash, h.seq = Hash{}, max(h.seq, seq)
		if copy(h.hash[:], hash) == 0 {
			h.hash = h.anchorHash
		}
	}
	if last := l.checkpoints.last; last != nil && last.Seq > h.seq {
		notes = append(notes, fmt.Sprintf("the checkpoints know record %d of %s, but the log ends with record %d", last.Seq, last.Time.Format(time.RFC3339), seq))
		h.seq = last.Seq
	}
	if l.checkpoints.lines < h.checkpoints {
		notes = append(notes, fmt.Sprintf("the checkpoint file has %d lines, but it had %d", l.checkpoints.lines, h.checkpoints))
		l.checkpoints.lines = h.checkpoints
	}
	return notes, nil
}

// Head is the number of the last record.
func (l *Log) Head() int64 { return l.head.Load().seq }

// Close writes a last checkpoint and releases the database. An Append that waits fails with ErrClosed; who follows comes to
// an end. Closing again does nothing.
func (l *Log) Close() error {
	select {
	case <-l.turn: // kept: there is no writing after this
	case <-l.closed:
		return nil
	}
	close(l.closed)
	var err error
	if l.marked != l.Head() {
		err = l.checkpoint(kindClosed)
	}
	return errors.Join(err, l.release())
}

func (l *Log) release() error {
	var errs []error
	if l.checkpoints != nil {
		errs = append(errs, l.checkpoints.file.Close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	return errors.Join(errs...)
}

// checkpoint writes the head to the checkpoint file.
func (l *Log) checkpoint(kind string, accepted ...string) error {
	h := l.head.Load()
	if err := l.checkpoints.add(l.signer, h, kind, l.clock(), accepted...); err != nil {
		return err
	}
	l.marked = h.seq
	return nil
}
