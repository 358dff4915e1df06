package activity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/platformd/platformd/internal/sqlite"
	"github.com/platformd/platformd/internal/sqlite/sqlitetest"
)

func TestKilledWhileAppending(t *testing.T) {
	path := filepath.Join(t.TempDir(), "activity.db")
	acked := map[int64]string{}
	for round := range 6 {
		lines := sqlitetest.Killed(t, 1+rand.IntN(400), path+" "+strconv.Itoa(round), func(value string, report func(string)) {
			path, round, _ := strings.Cut(value, " ")
			l, err := Open(t.Context(), path, Config{})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for w := range 4 { // so that transactions hold more than one
				wg.Go(func() {
					for i := 0; ; i++ {
						object := fmt.Sprintf("%s.%d.%d", round, w, i)
						r, err := l.Append(context.Background(), Record{Actor: "root", Action: AddressBlocked, Object: object})
						if err != nil {
							panic(err)
						}
						report(fmt.Sprintf("%d %s", r.Seq, object))
					}
				})
			}
			wg.Wait()
		})
		for _, line := range lines {
			n, object, _ := strings.Cut(line, " ")
			seq, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			acked[seq] = object
		}
		l, err := Open(t.Context(), path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		wantOK(t, l)
		all, err := l.Query(t.Context(), Filter{})
		if err != nil {
			t.Fatal(err)
		}
		have := map[int64]string{}
		for _, r := range all {
			have[r.Seq] = r.Object
		}
		for seq, object := range acked {
			if have[seq] != object {
				t.Errorf("record %d was acknowledged as %s, but it is %q", seq, object, have[seq])
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	sqlitetest.SmallDisk(t, 4<<20, func(dir string) {
		path := filepath.Join(dir, "activity.db")
		l, err := Open(t.Context(), path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		addMany(t, l, 3)
		free := sqlitetest.Fill(t, dir)
		var full error
		for range 1000 { // the log may still have room in its last page
			if _, full = l.Append(t.Context(), Record{Action: PortOpened}); full != nil {
				break
			}
		}
		if !errors.Is(full, sqlite.ErrFull) {
			t.Fatalf("got %v, want ErrFull", full)
		}
		last := l.Head()
		wantOK(t, l)
		_ = l.Close() // the checkpoint may find no room
		freeMore := sqlitetest.Fill(t, dir)
		l = open(t, path, newClock())
		wantOK(t, l)
		free()
		freeMore()
		if r := add(t, l, Record{Action: PortClosed}); r.Seq != last+1 {
			t.Errorf("with space again: record %d, want %d", r.Seq, last+1)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, path, newClock())
		wantOK(t, l)
	})
}

// The disk filled up while the daemon was down, when there is no log beside the database.
func TestStartOnAFullDisk(t *testing.T) {
	startOnAFullDisk(t, func(string) {}, true)
}

func TestStartOnAFullDiskWithADamagedDatabase(t *testing.T) {
	startOnAFullDisk(t, func(path string) {
		if err := os.WriteFile(path, bytes.Repeat([]byte("damage "), 500), 0o600); err != nil {
			t.Fatal(err)
		}
	}, false)
}

func startOnAFullDisk(t *testing.T, damage func(path string), ok bool) {
	t.Helper()
	sqlitetest.SmallDisk(t, 4<<20, func(dir string) {
		path := filepath.Join(dir, "activity.db")
		l := open(t, path, newClock())
		addMany(t, l, 3)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		damage(path)
		sqlitetest.Fill(t, dir)
		l = open(t, path, newClock())
		add(t, l, Record{Action: DaemonStarted}) // there is a little room for the first aid
		if rep := verify(t, l); rep.OK != ok {
			t.Errorf("verify: %+v", rep)
		}
	})
}

func TestDamagedDatabaseIsMovedAside(t *testing.T) {
	l, c, path := newLog(t)
	addMany(t, l, 50)
	_ = l.Close()
	bad := bytes.Repeat([]byte("damage "), 1000)
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, path, c)
	first, err := l.Query(t.Context(), Filter{Limit: 1})
	if err != nil || len(first) != 1 || first[0].Action != ActivityRestarted || first[0].Outcome != Failed || first[0].Seq != 1 {
		t.Fatalf("got %+v, %v", first, err)
	}
	for _, want := range []string{"is damaged", "moved to " + path + ".corrupt-2026", "the last checkpoint of the log before this one is record 51 of 2026-03-01"} {
		if !strings.Contains(first[0].Message, want) {
			t.Errorf("missing %q in %q", want, first[0].Message)
		}
	}
	kept, err := filepath.Glob(path + ".corrupt-*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("moved aside: %v, %v", kept, err)
	}
	if got, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(got, bad) {
		t.Errorf("what was moved aside is not what was there: %v", err)
	}
	rep := verify(t, l)
	if rep.OK || rep.Problems[0].Kind != ProblemReplaced || !strings.Contains(rep.Problems[0].Text, "its last checkpoint is record 51") {
		t.Errorf("verify: %+v", rep)
	}
}

func TestKeyFaults(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, key string)
		ok     bool
		note   string
	}{
		{"readable by others", func(t *testing.T, key string) {
			if err := os.Chmod(key, 0o644); err != nil {
				t.Fatal(err)
			}
		}, true, ""},
		{"missing", func(t *testing.T, key string) {
			if err := os.Remove(key); err != nil {
				t.Fatal(err)
			}
		}, false, "the key file was missing and has been made anew"},
		{"damaged", func(t *testing.T, key string) {
			if err := os.WriteFile(key, []byte("short"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false, "is signed with another key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, c, path := newLog(t)
			addMany(t, l, 5)
			_ = l.Close()
			key := filepath.Join(filepath.Dir(path), "activity.key")
			tt.damage(t, key)
			l = open(t, path, c)
			info, err := os.Stat(key)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
			}
			rep := verify(t, l)
			if rep.OK != tt.ok {
				t.Errorf("verify: %+v", rep)
			}
			last, err := l.Query(t.Context(), Filter{Action: string(ActivityDamaged)})
			if err != nil || (len(last) == 1) == tt.ok || len(last) == 1 && !strings.Contains(last[0].Message, tt.note) {
				t.Errorf("got %+v, %v; want a record with %q", last, err, tt.note)
			}
		})
	}
}

// A crash in the middle of a checkpoint leaves a part of a line, which is no damage.
func TestCheckpointCutByACrash(t *testing.T) {
	l, c, path := newLog(t)
	addMany(t, l, 5)
	_ = l.Close()
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), "activity.checkpoints"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"n":3,"kind":"ev`); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	l = open(t, path, c)
	wantOK(t, l)
	addMany(t, l, 2*checkpointEvery)
	wantOK(t, l)
}
