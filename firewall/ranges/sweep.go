package ranges

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Sweep removes the files of ranges in dir whose digests are not in keep, and what interrupted writes left behind. The
// caller must be the only one who writes in dir. A file that is open elsewhere stays readable there.
func Sweep(dir string, keep ...string) error {
	kept := make(map[string]bool, len(keep))
	for _, digest := range keep {
		kept[digest+Extension] = true
	}
	var errs []error
	for _, pattern := range []string{"*" + Extension, TempPattern} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return fmt.Errorf("sweep ranges: %w", err)
		}
		for _, p := range paths {
			if kept[filepath.Base(p)] {
				continue
			}
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("sweep ranges: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}
