package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/sqlite"
)

// saved is a ruleset that was in force and verified, with the driver that held it. It is enough to put the firewall back
// without the database, the feeds or the network.
type saved struct {
	Driver   string            `json:"driver"`
	Revision int64             `json:"revision"`
	Time     time.Time         `json:"time"`
	Ruleset  *firewall.Ruleset `json:"ruleset"`
}

// Paths below the data directory.
func lastGoodPath(dir string) string { return filepath.Join(dir, "last-good.json") }
func guardPath(dir string) string    { return filepath.Join(dir, "guard.json") }
func setsDir(dir string) string      { return filepath.Join(dir, "sets") }

func (s saved) write(path string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save ruleset: %w", err)
	}
	return sqlite.WriteFile(path, 0o600, data)
}

// readSaved gives ok false where there is no file.
func readSaved(path string) (s saved, ok bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err == nil && s.Ruleset == nil {
		err = errors.New("it holds no ruleset")
	}
	if err != nil {
		return s, false, fmt.Errorf("read saved ruleset %s: %w", path, err)
	}
	return s, true, nil
}

// files names the range files that a ruleset needs.
func files(rs *firewall.Ruleset) map[string]bool {
	out := map[string]bool{}
	if rs == nil {
		return out
	}
	out[rs.Feeds.Path] = true
	for _, g := range rs.Geo {
		out[g.Set.Path] = true
	}
	return out
}

// sweepSets removes range files that no ruleset in keep needs.
func sweepSets(dir string, keep ...*firewall.Ruleset) error {
	wanted := map[string]bool{}
	for _, rs := range keep {
		for f := range files(rs) {
			wanted[f] = true
		}
	}
	found, err := filepath.Glob(filepath.Join(setsDir(dir), "*.ranges"))
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range found {
		if !wanted[f] {
			errs = append(errs, os.Remove(f))
		}
	}
	return errors.Join(errs...)
}
