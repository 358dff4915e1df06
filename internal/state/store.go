package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/platformd/platformd/internal/sqlite"
)

// Config is what a Store needs of its surroundings.
type Config struct {
	Clock  func() time.Time // nil is time.Now
	Logger *slog.Logger     // nil discards
	// First is the document of a host that has none yet; nil is Default. It must be valid.
	First func() State
}

// Store holds the current document and its history. Its methods are safe for concurrent use.
type Store struct {
	clock  func() time.Time
	logger *slog.Logger
	db     *sqlite.DB
	// turn holds a token; who has it may write. Not a mutex, so that waiting ends with the context.
	turn chan struct{}
	cur  atomic.Pointer[current]
	// patched is how many revisions and bytes have been written since the last full copy; owned by the writer.
	patched, patchedBytes int
	restored              bool

	mu       sync.Mutex
	watchers map[chan Revision]struct{}
}

// current is never changed once it is stored.
type current struct {
	state State
	rev   Revision
	enc   *encoded
}

// Open opens the store at path, creates it where it is not there, and takes the current document from ExportPath where the
// database is missing but that file is not. Its error is *sqlite.CorruptError where the database is damaged: call Recover
// and Open again. Before anything reads Current, call RevertExpired.
func Open(ctx context.Context, path string, c Config) (*Store, error) {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.First == nil {
		c.First = Default
	}
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	s := &Store{clock: c.Clock, logger: c.Logger, db: db, turn: make(chan struct{}, 1), watchers: map[chan Revision]struct{}{}}
	s.turn <- struct{}{}
	if err := s.load(ctx, c.First); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.export()
	return s, nil
}

// load reads the current document, or makes the first one.
func (s *Store) load(ctx context.Context, first func() State) error {
	if err := s.db.Schema(ctx, 1, schema); err != nil {
		return err
	}
	var last int64
	if err := s.db.Write.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM revisions").Scan(&last); err != nil {
		return s.db.Explain("read", err)
	}
	if last == 0 {
		return s.begin(ctx, first)
	}
	doc, rev, err := s.document(ctx, s.db.Write, last)
	if err != nil {
		return err
	}
	st, err := decode(doc)
	if err != nil {
		// The checksum was right, so this is no damage: another version of the program wrote it.
		return fmt.Errorf("revision %d in %s cannot be read by this version of the program: %w", last, s.db.Path(), err)
	}
	return s.show(&st, rev)
}

// begin fills an empty database: from the export where there is one, else with the first document.
func (s *Store) begin(ctx context.Context, first func() State) error {
	exp, err := readExport(ExportPath(s.db.Path()))
	switch {
	case err == nil:
		if exp.Fallback != nil {
			if err := s.insertFull(ctx, exp.Fallback.Revision, exp.Fallback.Document); err != nil {
				return err
			}
		}
		rev := exp.Revision
		if rev.Provisional() {
			rev.First = rev.ID
		}
		if err := s.insertFull(ctx, rev, exp.Document); err != nil {
			return err
		}
		st, err := decode(exp.Document)
		if err != nil {
			return fmt.Errorf("%s: %w", ExportPath(s.db.Path()), err)
		}
		s.restored = true
		s.logger.Warn("state restored from its export", "revision", rev.ID, "file", ExportPath(s.db.Path()))
		return s.show(&st, rev)
	case !errors.Is(err, errNoExport):
		// A damaged export must not keep the host without a firewall, nor be overwritten unseen.
		moved, moveErr := sqlite.MoveAside(ExportPath(s.db.Path()), s.clock())
		if moveErr != nil {
			return errors.Join(err, moveErr)
		}
		s.logger.Error("state export is damaged; starting with the default document", "cause", err, "moved_to", moved)
	}
	st := first()
	if err := st.Validate(); err != nil {
		return fmt.Errorf("first document: %w", err)
	}
	enc, err := encode(&st, nil)
	if err != nil {
		return err
	}
	rev := Revision{ID: 1, Time: s.now(), Actor: "platformd", Source: "local", Summary: "first start"}
	if err := s.insertFull(ctx, rev, enc.doc); err != nil {
		return err
	}
	return s.show(&st, rev)
}

// show makes a document that is on disk the current one.
func (s *Store) show(st *State, rev Revision) error {
	enc, err := encode(st, nil)
	if err != nil {
		return err
	}
	s.cur.Store(&current{state: *st, rev: rev, enc: enc})
	// The bytes in the database may be those of an older program; the next revision is a full copy.
	s.patched = keyframeEvery
	return nil
}

// Current is the current document, as a copy that the caller owns, and its revision. It never waits for a writer.
func (s *Store) Current() (State, Revision) {
	c := s.cur.Load()
	return clone(&c.state), c.rev
}

// Restored reports whether Open took the document from the export because there was no database.
func (s *Store) Restored() bool { return s.restored }

// Close releases the database; the store must not be used afterwards. Watch channels are closed.
func (s *Store) Close() error {
	s.mu.Lock()
	for ch := range s.watchers {
		delete(s.watchers, ch)
		close(ch)
	}
	s.mu.Unlock()
	return s.db.Close()
}

func (s *Store) now() time.Time { return s.clock().Round(0).UTC() }

// ExportPath is where the store of a database keeps its current document as a plain file.
func ExportPath(path string) string { return filepath.Join(filepath.Dir(path), "state.json") }

// Recover moves a damaged database aside, so that Open starts from the export, and returns where it is now.
func Recover(path string, now time.Time) (string, error) { return sqlite.MoveAside(path, now) }
