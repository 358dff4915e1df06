package appkeep

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/health"
)

// reserve is what is left free on the disk whatever is installed: the host itself needs it to go on.
const reserve = 64 << 20

// ErrFull: what is asked for does not fit on the disk.
var ErrFull = errors.New("the disk is too full")

// space is what is free on the disk of the data of apps, and how large it is; zeros where it cannot be asked.
func (k *Keeper) space() (free, total int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(k.cfg.Folder, &st); err != nil {
		return 0, 0
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize
}

// Room says why an installation, or an update of an app with so much data, cannot be begun. A copy of the data is counted
// in full, though some file systems share blocks between copies.
func (k *Keeper) Room(a *apps.App) error {
	from := ""
	if a != nil {
		from = filepath.Join(k.cfg.Folder, apps.DataFolder(a.Name, a.Current.Data))
	}
	return k.fits(from)
}

// fits says why a copy of a folder does not fit on the disk; an empty name is a copy of nothing.
func (k *Keeper) fits(from string) error {
	free, total := k.space()
	if total == 0 {
		return nil
	}
	need := int64(reserve)
	if from != "" {
		need += sizeOf(from)
	}
	if free < need {
		return fmt.Errorf("%w: %s has %v free, and %v are needed; remove what is not needed, or make the disk larger", ErrFull, k.cfg.Folder, apps.Size(free).Round(), apps.Size(need).Round())
	}
	return nil
}

// sizeOf is what the files below a folder take on the disk.
func sizeOf(folder string) (n int64) {
	_ = filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it is gone meanwhile
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512 // stat(2)
			}
		}
		return nil
	})
	return n
}

// watchSpace keeps the condition about the disk.
func (k *Keeper) watchSpace() {
	free, total := k.space()
	if total == 0 || free*10 >= total {
		k.cfg.Health.Clear("apps-disk")
		return
	}
	k.cfg.Health.Set(health.Condition{ID: "apps-disk", Severity: health.Warning, Message: fmt.Sprintf("the disk with the data of apps has %v of %v free, which is less than a tenth", apps.Size(free).Round(), apps.Size(total).Round()),
		Remedy: "remove apps, old data or images that are not needed (platformctl app uninstall --data), or make the disk larger"})
}
