package feeds

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/platformd/platformd/firewall/ranges"
)

// metaExt ends the name of a Meta file; before it stands the name of the feed.
const metaExt = ".json"

// metaLimit is the most that a Meta file may have; the store itself writes a few kilobytes.
const metaLimit = 1 << 20

func (s *Store) path(name string) string { return filepath.Join(s.dir, name+metaExt) }

// load reads a Meta file. A damaged one is ranges.ErrCorrupt.
func (s *Store) load(name string) (Meta, error) {
	if err := CheckName(name); err != nil {
		return Meta{}, err
	}
	st, err := os.Stat(s.path(name))
	if err == nil && st.Size() > metaLimit {
		return Meta{}, fmt.Errorf("read feed %q: %w: %d bytes", name, ranges.ErrCorrupt, st.Size())
	}
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		return Meta{}, fmt.Errorf("read feed %q: %w", name, err)
	}
	var m Meta
	if err := json.Unmarshal(b, &m); err != nil {
		return Meta{}, fmt.Errorf("read feed %q: %w: %w", name, ranges.ErrCorrupt, err)
	}
	if d := m.Copy.Digest; m.Name != name || d != "" && filepath.Base(d) != d {
		return Meta{}, fmt.Errorf("read feed %q: %w: it describes %q", name, ranges.ErrCorrupt, clip(m.Name))
	}
	if m.Copy.Digest != "" {
		m.Copy.Path = filepath.Join(s.dir, m.Copy.Digest+ranges.Extension)
	}
	return m, nil
}

// save replaces a Meta file in one step.
func (s *Store) save(m Meta) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("save feed %q: %w", m.Name, err)
	}
	f, err := os.CreateTemp(s.dir, ranges.TempPattern)
	if err != nil {
		return fmt.Errorf("save feed %q: %w", m.Name, err)
	}
	defer os.Remove(f.Name()) // without effect after the rename
	defer f.Close()
	if _, err := f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("save feed %q: %w", m.Name, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("save feed %q: %w", m.Name, err)
	}
	if err := os.Rename(f.Name(), s.path(m.Name)); err != nil {
		return fmt.Errorf("save feed %q: %w", m.Name, err)
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("save feed %q: %w", m.Name, err)
	}
	defer d.Close()
	return d.Sync()
}

// sweep removes copies that no feed refers to. While a Meta file is damaged nothing is removed: it may name any of them.
func (s *Store) sweep() error {
	all, err := s.List()
	if err != nil {
		if errors.Is(err, ranges.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	var keep []string
	for _, m := range all {
		keep = append(keep, m.Copy.Digest)
	}
	return ranges.Sweep(s.dir, keep...)
}
