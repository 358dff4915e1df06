package accesslog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func record(i int) string {
	return fmt.Sprintf(`{"time":"2026-11-20T10:00:00Z","client":"192.0.2.1","host":"a.test","path":"/%d","protocol":"HTTP/2.0","status":200,"received":0,"sent":5,"took":"1ms"}`+"\n", i)
}

func TestRecordsAreKeptInOrder(t *testing.T) {
	l, err := Open(t.TempDir(), Config{Memory: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Append([]byte(record(1) + record(2)))
	l.Append([]byte(record(3)))
	got := l.Newest(2)
	if len(got) != 2 || got[0].Path != "/2" || got[1].Path != "/3" || got[1].Seq != 3 || got[1].Client.String() != "192.0.2.1" {
		t.Errorf("got %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var paths []string
	for e := range l.Follow(ctx, 1) {
		if paths = append(paths, e.Path); len(paths) == 2 {
			l.Append([]byte(record(4)))
		}
		if len(paths) == 3 {
			break
		}
	}
	if strings.Join(paths, " ") != "/2 /3 /4" {
		t.Errorf("followed %v", paths)
	}
}

func TestWhatIsNoRecordIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"hello\n", "{\x1b[2J}\n", "{" + strings.Repeat("x", maxLine) + "}\n", "{}", "\n"}
	l.Append([]byte(record(1) + strings.Join(bad[:3], "") + "{\"a\":}\n" + record(2) + bad[3]))
	if lost, err := l.State(); lost != 4 || err != nil {
		t.Errorf("lost %d, %v, want 4", lost, err)
	}
	if got := l.Newest(10); len(got) != 2 || got[1].Path != "/2" {
		t.Errorf("got %+v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "access.jsonl"))
	if want := record(1) + "{\"a\":}\n" + record(2); string(data) != want || err != nil {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

func TestFilesAreRotated(t *testing.T) {
	dir := t.TempDir()
	size := int64(len(record(1)))
	open := func() *Log {
		l, err := Open(dir, Config{MaxBytes: 2 * size, Keep: 2})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	for i := range 5 {
		l.Append([]byte(record(i)))
	}
	l.Close()
	l = open()
	for i := 5; i < 9; i++ {
		l.Append([]byte(record(i)))
	}
	l.Close()
	want := map[string]string{"access.jsonl": record(8), "access.jsonl.1": record(6) + record(7), "access.jsonl.2": record(4) + record(5)}
	files, _ := os.ReadDir(dir)
	if len(files) != len(want) {
		t.Errorf("there are %v", files)
	}
	for name, content := range want {
		if data, err := os.ReadFile(filepath.Join(dir, name)); string(data) != content || err != nil {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
}
