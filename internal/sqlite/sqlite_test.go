package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const table = "CREATE TABLE t (x INTEGER) STRICT;"

func TestOpen(t *testing.T) {
	// Every character that means something in a URI.
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&e=f;g")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.db")
	for _, fresh := range []bool{true, false} {
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if db.Fresh != fresh || db.Path() != path {
			t.Errorf("fresh %v at %s, want %v at %s", db.Fresh, db.Path(), fresh, path)
		}
		if err := db.Schema(t.Context(), 1, table); err != nil {
			t.Fatal(err)
		}
		if err := db.Schema(t.Context(), 2, table); err == nil || !strings.Contains(err.Error(), "schema version 1, this program knows 2") {
			t.Errorf("another version: got %v", err)
		}
		if _, err := db.Read.ExecContext(t.Context(), "INSERT INTO t VALUES (1)"); err == nil {
			t.Error("a reader could write")
		}
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2"} {
			var got string
			if err := db.Write.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: got %s, %v; want %s", pragma, got, err, want)
			}
		}
		if _, err := Open(t.Context(), path); !errors.Is(err, ErrLocked) {
			t.Errorf("opened twice: got %v, want ErrLocked", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want mode 0600", info, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "missing", "x.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: got %v", err)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *CorruptError
	if _, err := Open(t.Context(), path); !errors.As(err, &corrupt) || corrupt.Path != path {
		t.Errorf("got %v, want *CorruptError", err)
	}
}

func TestMoveAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for _, name := range []string{path, path + "-wal"} {
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to, err := MoveAside(path, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	if want := path + ".corrupt-20260102T030405.000000006Z"; err != nil || to != want {
		t.Fatalf("got %s, %v; want %s", to, err, want)
	}
	for _, suffix := range []string{"", "-wal"} {
		if raw, err := os.ReadFile(to + suffix); err != nil || string(raw) != path+suffix {
			t.Errorf("%s: %q, %v", to+suffix, raw, err)
		}
	}
	if _, err := MoveAside(path, time.Now()); err != nil {
		t.Errorf("nothing there: %v", err)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, want := range []string{"one", "two two"} {
		if err := WriteFile(path, 0o600, []byte(want[:1]), []byte(want[1:])); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if err := os.Mkdir(path+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".d/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path+".d", 0o600, nil); err == nil {
		t.Error("a folder was replaced by a file")
	}
	left, err := filepath.Glob(path + "*.new")
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
