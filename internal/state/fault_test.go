package state

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/sqlite"
	"github.com/platformd/platformd/internal/sqlite/sqlitetest"
)

func TestKilledWhileUpdating(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	last := int64(0)
	for range 8 {
		acked := sqlitetest.Killed(t, 1+rand.IntN(120), path, func(path string, report func(string)) {
			s, err := Open(t.Context(), path, Config{})
			if err != nil {
				t.Fatal(err)
			}
			for {
				rev, err := s.Update(t.Context(), root, 0, "count", func(st *State) error {
					st.Settings.HistoryDays = st.Settings.HistoryDays%3650 + 1
					st.Firewall.Blocks = append(st.Firewall.Blocks, firewall.Block{Target: withBlocks(1).Firewall.Blocks[0].Target})
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				report(strconv.FormatInt(rev.ID, 10))
			}
		})
		want, err := strconv.ParseInt(acked[len(acked)-1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		st, rev := s.Current()
		if rev.ID < want || rev.ID > want+1 {
			t.Errorf("the last acknowledged revision is %d, the current one %d", want, rev.ID)
		}
		if n := int64(len(st.Firewall.Blocks)); n != rev.ID-1 {
			t.Errorf("revision %d has %d blocks, want %d", rev.ID, n, rev.ID-1)
		}
		for id := max(last, 1); id <= rev.ID; id++ {
			if _, _, err := s.Get(t.Context(), id); err != nil {
				t.Errorf("revision %d: %v", id, err)
			}
		}
		last = rev.ID
		exp, err := readExport(ExportPath(path))
		if err != nil || exp.Revision.ID != rev.ID {
			t.Errorf("export: %+v, %v; want revision %d", exp, err, rev.ID)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	sqlitetest.SmallDisk(t, 4<<20, func(dir string) {
		path := filepath.Join(dir, "state.db")
		s, err := Open(t.Context(), path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		update(t, s, block("192.0.2.1"))
		free := sqlitetest.Fill(t, dir)
		var full error
		for range 100 { // the log may still have room in its last page
			if _, full = s.Update(t.Context(), root, 0, "more", openPort("p"+strconv.Itoa(rand.Int()), 99)); full != nil {
				break
			}
		}
		if !errors.Is(full, sqlite.ErrFull) || !strings.Contains(full.Error(), "free some space") {
			t.Fatalf("got %v, want ErrFull", full)
		}
		st, rev := s.Current()
		if _, _, err := s.Get(t.Context(), rev.ID); err != nil {
			t.Errorf("current revision %d: %v", rev.ID, err)
		}
		if blocks(st) != "192.0.2.1" {
			t.Errorf("the current state is %s", blocks(st))
		}
		// The daemon must come up on a full disk too: it still has a firewall to look after.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		freeMore := sqlitetest.Fill(t, dir)
		s = open(t, path, newClock())
		if st, again := s.Current(); again.ID != rev.ID || blocks(st) != "192.0.2.1" {
			t.Errorf("reopened on a full disk: revision %d, %s", again.ID, blocks(st))
		}
		free()
		freeMore()
		if got := update(t, s, block("192.0.2.2")); got.ID != rev.ID+1 {
			t.Errorf("with space again: revision %d, want %d", got.ID, rev.ID+1)
		}
		_ = s.Close()
		s = open(t, path, newClock())
		if st, _ := s.Current(); blocks(st) != "192.0.2.1 192.0.2.2" {
			t.Errorf("after reopening: %s", blocks(st))
		}
	})
}

func TestDamagedDatabase(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"text", func(t *testing.T, path string) {
			writeFile(t, path, []byte("this is no database, but it is long enough to look like one"+strings.Repeat(".", 5000)))
		}},
		{"overwritten page", func(t *testing.T, path string) {
			raw := readFile(t, path)
			copy(raw[4096:], bytes.Repeat([]byte{0xa5}, 4096))
			writeFile(t, path, raw)
		}},
		{"cut", func(t *testing.T, path string) { writeFile(t, path, readFile(t, path)[:8192]) }},
		// SQLite does not see this one; the checksum of the revision does.
		{"changed text", func(t *testing.T, path string) {
			raw := readFile(t, path)
			if !bytes.Contains(raw, []byte(`"ssh-alt"`)) {
				t.Fatal("the document is not in the file")
			}
			writeFile(t, path, bytes.ReplaceAll(raw, []byte(`"ssh-alt"`), []byte(`"ssh-bad"`)))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c, path := newStore(t)
			for i := range 30 {
				update(t, s, block("192.0.2."+strconv.Itoa(i)))
			}
			want, rev := s.Current()
			_ = s.Close()
			tt.damage(t, path)
			bad := readFile(t, path)
			_, err := Open(t.Context(), path, Config{Clock: c.Now})
			var corrupt *sqlite.CorruptError
			if !errors.As(err, &corrupt) || corrupt.Path != path {
				t.Fatalf("got %v, want *sqlite.CorruptError", err)
			}
			moved, err := Recover(path, c.Now())
			if err != nil || !strings.HasPrefix(moved, path+".corrupt-2026") {
				t.Fatalf("moved to %q, %v", moved, err)
			}
			if !bytes.Equal(readFile(t, moved), bad) {
				t.Error("the damaged file is not what was moved aside")
			}
			s = open(t, path, c)
			got, now := s.Current()
			if !s.Restored() || now != rev || blocks(got) != blocks(want) {
				t.Errorf("restored %v: revision %+v, want %+v", s.Restored(), now, rev)
			}
			if next := update(t, s, openPort("x", 9)); next.ID != rev.ID+1 {
				t.Errorf("the next revision is %d, want %d", next.ID, rev.ID+1)
			}
		})
	}
}

func TestMissingDatabase(t *testing.T) {
	tests := []struct {
		name     string
		damage   func(t *testing.T, path string)
		restored bool
	}{
		{"removed", func(t *testing.T, path string) { remove(t, path) }, true},
		{"emptied", func(t *testing.T, path string) { writeFile(t, path, nil) }, true},
		{"both removed", func(t *testing.T, path string) { remove(t, path); remove(t, ExportPath(path)) }, false},
		{"export cut", func(t *testing.T, path string) {
			remove(t, path)
			raw := readFile(t, ExportPath(path))
			writeFile(t, ExportPath(path), raw[:len(raw)/2])
		}, false},
		{"export changed", func(t *testing.T, path string) {
			remove(t, path)
			writeFile(t, ExportPath(path), bytes.Replace(readFile(t, ExportPath(path)), []byte("192.0.2.1"), []byte("192.0.2.9"), 1))
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c, path := newStore(t)
			update(t, s, block("192.0.2.1"))
			_ = s.Close()
			tt.damage(t, path)
			var log bytes.Buffer
			s, err := Open(t.Context(), path, Config{Clock: c.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			want := ""
			if tt.restored {
				want = "192.0.2.1"
			}
			if st, _ := s.Current(); s.Restored() != tt.restored || blocks(st) != want || len(st.Firewall.Ports) != 4 {
				t.Errorf("restored %v, blocks %q; want %v, %q", s.Restored(), blocks(st), tt.restored, want)
			}
			if strings.HasPrefix(tt.name, "export") {
				if kept, err := filepath.Glob(ExportPath(path) + ".corrupt-*"); err != nil || len(kept) != 1 || !strings.Contains(log.String(), "damaged") {
					t.Errorf("the damaged export: %v, %v; log %s", kept, err, log.String())
				}
			}
		})
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// The disk filled up while the daemon was down, when there is no log beside the database.
func TestStartOnAFullDisk(t *testing.T) {
	sqlitetest.SmallDisk(t, 4<<20, func(dir string) {
		path := filepath.Join(dir, "state.db")
		s := open(t, path, newClock())
		rev := update(t, s, block("192.0.2.1"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		free := sqlitetest.Fill(t, dir)
		s = open(t, path, newClock())
		if st, again := s.Current(); again.ID != rev.ID || blocks(st) != "192.0.2.1" {
			t.Errorf("revision %d, %s", again.ID, blocks(st))
		}
		update(t, s, block("192.0.2.3")) // there is a little room for the first aid
		if _, _, err := s.Get(t.Context(), rev.ID); err != nil {
			t.Error(err)
		}
		free()
		update(t, s, block("192.0.2.2"))
	})
}
