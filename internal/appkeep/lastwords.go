package appkeep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/sqlite"
)

// Bounds of what is kept of containers that ended.
const (
	wordsLines = 200
	wordsBytes = 128 << 10 // per app, of all its containers that ended
)

func (k *Keeper) wordsFile(app string) string { return filepath.Join(k.cfg.Folder, app, "ended.log") }

// keepWords keeps the last lines of a container that is about to be removed, behind those of the ones before it.
func (k *Keeper) keepWords(ctx context.Context, app, container string) {
	if _, err := os.Stat(filepath.Dir(k.wordsFile(app))); err != nil {
		return // it is being uninstalled with its data
	}
	out := tailBuffer{most: wordsBytes}
	if err := k.cfg.Engine.Logs(ctx, container, wordsLines, false, &out); err != nil || len(out.data) == 0 {
		return
	}
	before, err := os.ReadFile(k.wordsFile(app))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.cfg.Log.Warn("keep the log of a container that ended", "app", app, "error", err)
		return
	}
	all := fmt.Appendf(before, "--- %s, until %s\n", container, k.cfg.Now().UTC().Format(time.RFC3339))
	all = append(all, bytes.TrimRight(out.data, "\n")...)
	all = append(all, '\n')
	if cut := len(all) - wordsBytes; cut > 0 {
		all = all[cut:]
		all = all[bytes.IndexByte(all, '\n')+1:]
	}
	if err := sqlite.WriteFile(k.wordsFile(app), 0o600, all); err != nil {
		k.cfg.Log.Warn("keep the log of a container that ended", "app", app, "error", err)
	}
}

// LastWords are lines that containers of an app wrote before they ended, the newest last, at most so many.
func (k *Keeper) LastWords(app string, most int) []string {
	data, err := os.ReadFile(k.wordsFile(app))
	if err != nil || most <= 0 {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return lines[max(0, len(lines)-most):]
}

// tailBuffer keeps the last bytes that are written to it.
type tailBuffer struct {
	data []byte
	most int
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.most; over > t.most {
		t.data = append([]byte(nil), t.data[over:]...)
	}
	return len(p), nil
}
