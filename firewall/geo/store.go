package geo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

// ErrImplausible is the cause where a new database is held back; the last good one stays in force.
var ErrImplausible = errors.New("held back")

// Source is what was read from one file.
type Source struct {
	Path string `json:"path"`
	// Stamp is equal while the file is the same: its time and size.
	Stamp   string `json:"stamp,omitempty"`
	Stats   Stats  `json:"stats"`
	Records Seq    `json:"-"`
}

// Meta is what is known about the database in force.
type Meta struct {
	Sources []Source `json:"sources,omitempty"`
	// DB is the last good database; no Digest means that there is none.
	DB ranges.Info `json:"db,omitzero"`
	// Attempted is the last try, Changed the last one that brought other records.
	Attempted time.Time `json:"attempted,omitzero"`
	Changed   time.Time `json:"changed,omitzero"`
	// Error is why the last try failed.
	Error string `json:"error,omitempty"`
}

const metaName, metaLimit, tempPattern = "geo.json", 1 << 20, ".geo-*"

// Store keeps the last good database in one folder, which is its own. It is for one goroutine at a time; a File that is
// open stays readable when it is replaced.
type Store struct{ dir string }

// OpenStore makes the folder if it is not there.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open country store: %w", err)
	}
	return &Store{dir}, nil
}

// Get is what is known. A database that is missing or damaged is not in it, and Error says so; neither are the sources
// then, so that they are read again.
func (s *Store) Get() (Meta, error) {
	path := filepath.Join(s.dir, metaName)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Meta{}, nil
	case err != nil:
		return Meta{}, fmt.Errorf("read country store: %w", err)
	case st.Size() > metaLimit:
		return Meta{Error: fmt.Sprintf("%s: corrupt: %d bytes", path, st.Size())}, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Meta{}, fmt.Errorf("read country store: %w", err)
	}
	var m Meta
	if err := json.Unmarshal(b, &m); err != nil {
		return Meta{Error: fmt.Sprintf("%s: corrupt: %v", path, err)}, nil
	}
	if d := m.DB.Digest; d == "" || filepath.Base(d) != d {
		m.DB, m.Sources = ranges.Info{}, nil
		return m, nil
	}
	m.DB.Path = filepath.Join(s.dir, m.DB.Digest+Extension)
	f, err := Open(m.DB.Path)
	if err != nil {
		return Meta{Attempted: m.Attempted, Error: err.Error()}, nil
	}
	return m, f.Close()
}

// Put lays the sources over each other, a later one over an earlier one, and makes the result the database in force. It
// returns whether the records changed. A database with less than a tenth of the records of the last is held back unless
// forced. After any error the last good database is what it was.
func (s *Store) Put(sources []Source, force bool, now time.Time) (Meta, bool, error) {
	m, err := s.Get()
	if err != nil {
		return m, false, err
	}
	info, err := s.write(sources, m.DB, force)
	if err != nil {
		err = fmt.Errorf("compile country database: %w", err)
		return m, false, errors.Join(err, s.failed(&m, err, now))
	}
	changed := info.Digest != m.DB.Digest
	if changed {
		m.Changed = now
	}
	m.Sources, m.DB, m.Attempted, m.Error = sources, ranges.Info(info), now, ""
	if err := s.save(m); err != nil {
		return m, false, err
	}
	return m, changed, s.sweep(info.Digest)
}

// Failed notes that the sources could not be read; the database in force stays.
func (s *Store) Failed(cause error, now time.Time) (Meta, error) {
	m, err := s.Get()
	if err != nil {
		return m, err
	}
	return m, s.failed(&m, cause, now)
}

func (s *Store) failed(m *Meta, cause error, now time.Time) error {
	m.Attempted, m.Error = now, cause.Error()
	if err := s.save(*m); err != nil {
		return err
	}
	return s.sweep(m.DB.Digest)
}

func (s *Store) write(sources []Source, last ranges.Info, force bool) (Info, error) {
	if len(sources) == 0 {
		return Info{}, errors.New("no source; name one, such as /usr/share/tor/geoip of Debian's tor-geoipdb")
	}
	all := named(sources[0])
	for _, src := range sources[1:] {
		all = Overlay(all, named(src))
	}
	f, err := os.CreateTemp(s.dir, tempPattern)
	if err != nil {
		return Info{}, err
	}
	defer os.Remove(f.Name()) // without effect after the rename
	defer f.Close()
	info, err := Encode(f, Without(all, ranges.Reserved()))
	if err != nil {
		return Info{}, err
	}
	if have, want := info.V4+info.V6, last.V4+last.V6; have == 0 || have*10 < want && !force {
		return Info{}, fmt.Errorf("%w: it has %d records, the last good one %d", ErrImplausible, have, want)
	}
	info.Path = filepath.Join(s.dir, info.Digest+Extension)
	if old, err := Open(info.Path); err == nil {
		err = old.Verify()
		old.Close()
		if err == nil {
			return info, nil
		}
	}
	if err := f.Sync(); err != nil {
		return Info{}, err
	}
	if err := os.Rename(f.Name(), info.Path); err != nil {
		return Info{}, err
	}
	return info, s.sync()
}

// named gives the errors of a source its path, and takes from outside only what is canonical.
func named(src Source) Seq {
	return func(yield func(Record, error) bool) {
		var last Record
		first := true
		for r, err := range src.Records {
			if err == nil {
				err = follows(last, r, first)
			}
			if err != nil {
				yield(Record{}, fmt.Errorf("%s: %w", src.Path, err))
				return
			}
			if !yield(r, nil) {
				return
			}
			last, first = r, false
		}
	}
}

func (s *Store) save(m Meta) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("save country store: %w", err)
	}
	f, err := os.CreateTemp(s.dir, tempPattern)
	if err != nil {
		return fmt.Errorf("save country store: %w", err)
	}
	defer os.Remove(f.Name()) // without effect after the rename
	defer f.Close()
	if _, err := f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("save country store: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("save country store: %w", err)
	}
	if err := os.Rename(f.Name(), filepath.Join(s.dir, metaName)); err != nil {
		return fmt.Errorf("save country store: %w", err)
	}
	return s.sync()
}

func (s *Store) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("sync country store: %w", err)
	}
	defer d.Close()
	return d.Sync()
}

// sweep removes every database but one, and what interrupted writes left.
func (s *Store) sweep(digest string) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("sweep country store: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if name == digest+Extension || !strings.HasSuffix(name, Extension) && !strings.HasPrefix(name, ".geo-") {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep country store: %w", err)
		}
	}
	return nil
}
