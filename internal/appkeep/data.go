package appkeep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/sqlite"
)

// makeFolders makes the folders that the volumes of a version lead to. What is there is left as it is.
func (k *Keeper) makeFolders(a *apps.App, v *apps.Version) error {
	uid, gid, err := owner(v.User)
	if err != nil {
		return err
	}
	for _, vol := range a.Volumes(v) {
		dir := filepath.Join(k.cfg.Folder, vol.Folder)
		if _, err := os.Lstat(dir); err == nil {
			continue
		}
		// Only the last folder is the app's; nobody but root passes those above.
		if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
			return fmt.Errorf("make the folder of app %q: %w", a.Name, err)
		}
		if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the folder of app %q: %w", a.Name, err)
		}
		if err := os.Lchown(dir, uid+k.cfg.Shift, gid+k.cfg.Shift); err != nil {
			return fmt.Errorf("make the folder of app %q: %w", a.Name, err)
		}
	}
	return nil
}

// owner reads "UID:GID".
func owner(user string) (uid, gid int, err error) {
	u, g, both := strings.Cut(user, ":")
	if !both {
		g = u
	}
	uid, err = strconv.Atoi(u)
	if err == nil {
		gid, err = strconv.Atoi(g)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("user %q: must be UID:GID", user)
	}
	return uid, gid, nil
}

// copyData makes the data of a version, where it has some of its own: a copy of what it comes from, whole or not at all.
func (k *Keeper) copyData(ctx context.Context, a *apps.App, v *apps.Version) error {
	if v.Data == a.Current.Data {
		return nil
	}
	from := filepath.Join(k.cfg.Folder, apps.DataFolder(a.Name, v.From))
	to := filepath.Join(k.cfg.Folder, apps.DataFolder(a.Name, v.Data))
	partial := to + ".partial"
	for _, dir := range []string{partial, to} { // what an update left that was broken off
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("copy the data of app %q: %w", a.Name, err)
		}
	}
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil // it keeps no data
	}
	k.Tell(Event{App: a.Name, Text: "copying its data"})
	if err := copyTree(ctx, from, partial); err != nil {
		return errors.Join(fmt.Errorf("copy the data of app %q: %w", a.Name, err), os.RemoveAll(partial))
	}
	if err := os.Rename(partial, to); err != nil {
		return fmt.Errorf("copy the data of app %q: %w", a.Name, err)
	}
	return sqlite.SyncDir(filepath.Dir(to))
}

// copyTree copies files with their owners, modes and times. Where the file system can, blocks are shared until one side
// changes them. Sockets and devices are left out.
func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		dst := to + strings.TrimPrefix(path, from)
		switch mode := info.Mode(); {
		case mode.IsDir():
			err = os.Mkdir(dst, 0o700)
		case mode.IsRegular():
			err = copyFile(path, dst)
		case mode&fs.ModeSymlink != 0:
			var target string
			if target, err = os.Readlink(path); err == nil {
				err = os.Symlink(target, dst)
			}
		default:
			return nil
		}
		if err != nil {
			return err
		}
		return likeness(dst, info)
	})
}

// likeness gives a copy the owner, mode and time of its original.
func likeness(dst string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: its owner is not known", dst)
	}
	if err := os.Lchown(dst, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	if err := os.Chmod(dst, info.Mode()&^(fs.ModeSetuid|fs.ModeSetgid)); err != nil {
		return err
	}
	return os.Chtimes(dst, info.ModTime(), info.ModTime())
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		_, err = io.Copy(out, in)
	}
	return errors.Join(err, out.Sync(), out.Close())
}

// prune removes copies of an app's data that no version has any more.
func (k *Keeper) prune(a *apps.App) {
	if a.Next != nil {
		return
	}
	kept := map[string]bool{}
	for _, v := range a.Versions() {
		kept[strconv.Itoa(v.Data)] = true
	}
	dir := filepath.Join(k.cfg.Folder, a.Name, "data")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it keeps no data
	}
	for _, e := range entries {
		if kept[e.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			k.cfg.Log.Warn("remove old data of an app", "app", a.Name, "error", err)
		}
	}
}
