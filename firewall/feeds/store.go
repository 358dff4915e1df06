package feeds

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
)

// Meta is what is known about one feed beside its ranges.
type Meta struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Format string `json:"format,omitempty"` // of the last good copy, as detected
	// ETag and LastModified are the source's words about the last good copy, for the next conditional request.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	// Attempted is the last try, Checked the last one that succeeded, Changed the last one that brought other ranges.
	Attempted time.Time `json:"attempted,omitzero"`
	Checked   time.Time `json:"checked,omitzero"`
	Changed   time.Time `json:"changed,omitzero"`
	// Copy is the last good copy; no Digest means that there is none.
	Copy     ranges.Info `json:"copy,omitzero"`
	Report   Report      `json:"report,omitzero"` // of Copy
	Lines    int         `json:"lines,omitempty"`
	Bad      int         `json:"bad,omitempty"`
	BadLines []BadLine   `json:"bad_lines,omitempty"`
	// Error is why the last try failed, Failures how many did in a row, RetryAt what the server asked for.
	Error    string    `json:"error,omitempty"`
	Failures int       `json:"failures,omitempty"`
	RetryAt  time.Time `json:"retry_at,omitzero"`
	// Held means that the last try brought a copy that waits to be confirmed, and is what was found in it.
	Held *Report `json:"held,omitempty"`
}

// Copy is what a fetch brought.
type Copy struct {
	Source, Format     string
	ETag, LastModified string
	Ranges             ranges.Seq
	Lines, Bad         int
	BadLines           []BadLine
}

// Store keeps the last good copies in one folder, which is its own. It is for one goroutine at a time.
type Store struct{ dir string }

// OpenStore makes the folder if it is not there.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open feed store: %w", err)
	}
	return &Store{dir}, nil
}

// CheckName reports why name cannot be a feed's name.
func CheckName(name string) error {
	ok := name != "" && len(name) <= 32 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
	})
	if !ok {
		return fmt.Errorf("feed %q: a name has 1 to 32 letters, digits and dashes", clip(name))
	}
	return nil
}

// Get is what is known about a feed, with only its name and source if that is nothing. When the source is another than
// that of the copy, or the copy is damaged, the validators are gone, so that the next fetch is a full one; a copy of the
// former source stays in force until then. A damaged Meta file counts as none.
func (s *Store) Get(name, source string) (Meta, error) {
	none := Meta{Name: name, Source: source}
	m, err := s.load(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none, nil
	case errors.Is(err, ranges.ErrCorrupt):
		none.Error = err.Error()
		return none, nil
	case err != nil:
		return none, err
	}
	if m.Source != source {
		none.Copy, none.Changed = m.Copy, m.Changed
		m = none
	}
	if m.Copy.Digest == "" {
		return m, nil
	}
	f, err := ranges.Open(m.Copy.Path)
	if err != nil {
		m.Copy, m.Report, m.ETag, m.LastModified, m.Checked = ranges.Info{}, Report{}, "", "", time.Time{}
		m.Error = err.Error()
		return m, nil
	}
	return m, f.Close()
}

// Put vets a fetched copy, with own and always-allowed ranges only reported, and makes it the last good one. It returns
// whether the ranges changed. An ErrImplausible means that the copy is held back; a later Put with Force takes what the
// source has then. After any error the last good copy is what it was.
func (s *Store) Put(name string, c Copy, cfg VetConfig, now time.Time) (Meta, bool, error) {
	m, err := s.Get(name, c.Source)
	if err != nil {
		return m, false, err
	}
	cfg.KeepProtected = true
	cfg.Last = nil
	if m.Copy.Digest != "" && m.Report.Plausible > 0 {
		cfg.Last = &m.Report
	}
	v := Vet(c.Ranges, cfg)
	info, err := ranges.Write(s.dir, v.Seq())
	if err != nil {
		err = fmt.Errorf("feed %q: %w", name, err)
		return m, false, errors.Join(err, s.fail(&m, err, time.Time{}, now))
	}
	report, err := v.Verdict()
	if err != nil {
		m.Held = &report
		err = fmt.Errorf("feed %q: %w", name, err)
		return m, false, errors.Join(err, s.fail(&m, err, time.Time{}, now))
	}
	changed := info.Digest != m.Copy.Digest
	if changed {
		m.Changed = now
	}
	m.Attempted, m.Checked = now, now
	m.Format, m.ETag, m.LastModified = c.Format, c.ETag, c.LastModified
	m.Copy, m.Report = info, report
	m.Lines, m.Bad, m.BadLines = c.Lines, c.Bad, c.BadLines
	m.Error, m.Failures, m.RetryAt, m.Held = "", 0, time.Time{}, nil
	if err := s.save(m); err != nil {
		return m, false, err
	}
	return m, changed, s.sweep()
}

// Unchanged notes that the source still has the last good copy.
func (s *Store) Unchanged(name, source string, now time.Time) (Meta, error) {
	m, err := s.Get(name, source)
	if err != nil {
		return m, err
	}
	m.Attempted, m.Checked = now, now
	m.Error, m.Failures, m.RetryAt, m.Held = "", 0, time.Time{}, nil
	return m, s.save(m)
}

// Failed notes that a fetch failed. retryAt is when the server asked to be asked again, or zero.
func (s *Store) Failed(name, source string, cause error, retryAt, now time.Time) (Meta, error) {
	m, err := s.Get(name, source)
	if err != nil {
		return m, err
	}
	m.Held = nil
	return m, s.fail(&m, cause, retryAt, now)
}

// fail notes a failed try in m and saves it. Its error is about saving.
func (s *Store) fail(m *Meta, cause error, retryAt, now time.Time) error {
	m.Attempted, m.Error, m.RetryAt = now, cause.Error(), retryAt
	m.Failures++
	if err := s.save(*m); err != nil {
		return err
	}
	return s.sweep()
}

// Remove forgets a feed and its copy. One that is not there is no error.
func (s *Store) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove feed %q: %w", name, err)
	}
	return s.sweep()
}

// List is every feed in the store, by name. Damaged Meta files are left out and reported beside.
func (s *Store) List() ([]Meta, error) {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*"+metaExt))
	if err != nil {
		return nil, fmt.Errorf("list feeds: %w", err)
	}
	slices.Sort(paths)
	var (
		out  []Meta
		errs []error
	)
	for _, p := range paths {
		m, err := s.load(strings.TrimSuffix(filepath.Base(p), metaExt))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, m)
	}
	return out, errors.Join(errs...)
}
