package activity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T, path string, c *clock) *Log {
	t.Helper()
	l, err := Open(t.Context(), path, Config{Clock: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func newLog(t *testing.T) (*Log, *clock, string) {
	t.Helper()
	path, c := filepath.Join(t.TempDir(), "activity.db"), newClock()
	return open(t, path, c), c, path
}

func add(t *testing.T, l *Log, r Record) Record {
	t.Helper()
	got, err := l.Append(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// addMany writes records 2 to n+1; record 1 is the start of the log.
func addMany(t *testing.T, l *Log, n int) {
	t.Helper()
	for i := range n {
		add(t, l, Record{Actor: "root", Action: AddressBlocked, Object: fmt.Sprintf("192.0.2.%d", i), Message: "probe"})
	}
}

func verify(t *testing.T, l *Log) Report {
	t.Helper()
	rep, err := l.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func wantOK(t *testing.T, l *Log) {
	t.Helper()
	if rep := verify(t, l); !rep.OK || len(rep.Problems) > 0 {
		t.Errorf("verify: %+v", rep)
	}
}

func TestAppend(t *testing.T) {
	l, c, path := newLog(t)
	got := add(t, l, Record{
		Actor: "alice", Source: "192.0.2.7", Action: PortOpened, Object: "ssh", Revision: 3, Message: "for the office",
		Before: json.RawMessage(`{"a": 1}`), After: json.RawMessage(`{"a":2,"password":"x"}`),
	})
	want := Record{
		Seq: 2, Time: c.Now(), Actor: "alice", Source: "192.0.2.7", Action: PortOpened, Object: "ssh", Revision: 3, Outcome: OK,
		Message: "for the office", Before: json.RawMessage(`{"a": 1}`), After: json.RawMessage(`{"a":2,"password":"[redacted]"}`), Hash: got.Hash,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	wantOK(t, l)
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), Record{Action: PortOpened}); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed log: got %v, want ErrClosed", err)
	}
	l = open(t, path, c)
	all, err := l.Query(t.Context(), Filter{})
	if err != nil || len(all) != 2 || all[0].Action != ActivityStarted {
		t.Fatalf("got %+v, %v", all, err)
	}
	if diff := cmp.Diff(want, all[1]); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	wantOK(t, l)
	for _, name := range []string{"activity.db", "activity.key", "activity.checkpoints"} {
		info, err := os.Stat(filepath.Join(filepath.Dir(path), name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, info, err)
		}
	}
}

func TestAppendRefusesAndBounds(t *testing.T) {
	l, _, _ := newLog(t)
	for _, r := range []Record{
		{Action: "port-opend"}, {Action: ""}, {Action: PortOpened, Outcome: "fine"}, {Action: PortOpened, Before: json.RawMessage("{")},
	} {
		if got, err := l.Append(t.Context(), r); err == nil {
			t.Errorf("%+v was written as %+v", r, got)
		}
	}
	got := add(t, l, Record{
		Action: PortOpened, Message: strings.Repeat("ä", MaxText), Object: "bad \xff byte",
		After: json.RawMessage(`"` + strings.Repeat("x", MaxPayload) + `"`),
	})
	if len(got.Message) > MaxText+3 || got.Object != "bad \uFFFD byte" || string(got.After) != `{"left_out_bytes":65538}` {
		t.Errorf("got message of %d bytes, object %q, after %s", len(got.Message), got.Object, got.After)
	}
	if got.Seq != 2 {
		t.Errorf("refused records took numbers: got %d, want 2", got.Seq)
	}
	wantOK(t, l)
}

func TestConcurrentAppends(t *testing.T) {
	l, _, _ := newLog(t)
	const writers, each = 16, 20
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		got []int64
	)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				r, err := l.Append(context.Background(), Record{Actor: fmt.Sprint(w), Action: LimitChanged, Object: fmt.Sprint(i)})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				got = append(got, r.Seq)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(got)
	for i, seq := range got {
		if seq != int64(i+2) {
			t.Fatalf("number %d is %d, want %d", i, seq, i+2)
		}
	}
	wantOK(t, l)
}

func TestAppendWithCancelledContext(t *testing.T) {
	l, _, _ := newLog(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	<-l.turn // somebody else is writing, for ever
	if _, err := l.Append(ctx, Record{Action: PortOpened}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	l.turn <- struct{}{}
	add(t, l, Record{Action: PortClosed})
	if all, err := l.Query(t.Context(), Filter{Action: "port"}); err != nil || len(all) != 1 {
		t.Errorf("got %+v, %v; the record that was given up must not be there", all, err)
	}
}

func TestQuery(t *testing.T) {
	l, c, _ := newLog(t)
	start := c.Now()
	for _, r := range []Record{
		{Actor: "alice", Source: "192.0.2.7", Action: PortOpened, Object: "ssh", Message: "for the office"},
		{Actor: "bob", Source: "2001:db8::7", Action: PortClosed, Object: "ssh", Outcome: Refused},
		{Actor: "platformd", Source: "local", Action: BanAdded, Object: "198.51.100.9", Message: "5 strikes: sshd", After: json.RawMessage(`{"until":"tomorrow"}`)},
		{Actor: "alice", Source: "192.0.2.7", Action: AddressBlocked, Object: "192.0.2.0/24", Message: `said "NOT" OR (this*)`},
		{Actor: "alice", Source: "192.0.2.70", Action: "portal", Object: "x"},
	} {
		c.Add(time.Minute)
		if r.Action == "portal" {
			continue
		}
		add(t, l, r)
	}
	tests := []struct {
		name string
		f    Filter
		want []int64
	}{
		{"all", Filter{}, []int64{1, 2, 3, 4, 5}},
		{"descending", Filter{Descending: true, Limit: 2}, []int64{5, 4}},
		{"limit", Filter{Limit: 2}, []int64{1, 2}},
		{"after", Filter{AfterSeq: 3}, []int64{4, 5}},
		{"since", Filter{Since: start.Add(3 * time.Minute)}, []int64{4, 5}},
		{"until", Filter{Until: start.Add(3 * time.Minute)}, []int64{1, 2, 3}},
		{"actor", Filter{Actor: "alice"}, []int64{2, 5}},
		{"action", Filter{Action: "port-closed"}, []int64{3}},
		{"action by object", Filter{Action: "port"}, []int64{2, 3}},
		{"part of an object", Filter{Action: "por"}, nil},
		{"action pattern", Filter{Action: "*-added"}, []int64{4}},
		{"brackets are no pattern", Filter{Action: "[p]ort*"}, nil},
		{"object", Filter{Object: "ssh"}, []int64{2, 3}},
		{"object pattern", Filter{Object: "1*"}, []int64{4, 5}},
		{"source", Filter{Source: "2001:db8::7"}, []int64{3}},
		{"outcome", Filter{Outcome: Refused}, []int64{3}},
		{"both", Filter{Actor: "alice", Object: "ssh"}, []int64{2}},
		{"text", Filter{Text: "OFFICE"}, []int64{2}},
		{"text in after", Filter{Text: "tomorrow"}, []int64{4}},
		{"address as text", Filter{Text: "192.0.2.7"}, []int64{2, 5}},
		{"all words", Filter{Text: "strikes sshd"}, []int64{4}},
		{"one word is missing", Filter{Text: "strikes office"}, nil},
		{"operators are words", Filter{Text: "NOT OR"}, []int64{5}},
		{"syntax is text", Filter{Text: `"NOT" (this*)`}, []int64{5}},
		{"column name", Filter{Text: "text:office"}, nil},
		{"blank text", Filter{Text: " \t"}, []int64{1, 2, 3, 4, 5}},
		{"sql", Filter{Actor: "' OR 1=1 --"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records, err := l.Query(t.Context(), tt.f)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, r := range records {
				got = append(got, r.Seq)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	var out bytes.Buffer
	if err := l.Export(t.Context(), &out, Filter{Actor: "alice"}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var r Record
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil || len(lines) != 2 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if want, err := l.Query(t.Context(), Filter{AfterSeq: 4}); err != nil || !cmp.Equal(want[0], r) {
		t.Errorf("export %+v, want %+v", r, want)
	}
}

func TestFollow(t *testing.T) {
	l, _, _ := newLog(t)
	addMany(t, l, 700) // more than a page
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const live = 300
	go func() {
		for i := range live {
			if _, err := l.Append(context.Background(), Record{Actor: "root", Action: BanAdded, Object: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
			if _, err := l.Append(context.Background(), Record{Actor: "else", Action: BanRemoved}); err != nil {
				t.Error(err)
			}
		}
	}()
	var got []string
	for r, err := range l.Follow(ctx, Filter{Actor: "root", AfterSeq: 101}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, r.Object); len(got) == 600+live {
			cancel()
		}
	}
	for i, object := range got[:600] {
		if want := fmt.Sprintf("192.0.2.%d", i+100); object != want {
			t.Fatalf("old record %d is %s, want %s", i, object, want)
		}
	}
	for i, object := range got[600:] {
		if object != fmt.Sprint(i) {
			t.Fatalf("new record %d is %s", i, object)
		}
	}
	n := 0
	for range l.Follow(t.Context(), Filter{Limit: 3}) {
		n++
	}
	if n != 3 {
		t.Errorf("limit 3: got %d", n)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range l.Follow(context.Background(), Filter{}) {
		}
	}()
	_ = l.Close()
	<-ended
}

func TestPrune(t *testing.T) {
	l, c, path := newLog(t)
	addMany(t, l, 10)
	c.Add(time.Hour)
	cut := c.Now()
	addMany(t, l, 5)
	n, err := l.Prune(t.Context(), cut)
	if err != nil || n != 11 {
		t.Fatalf("removed %d, %v; want 11", n, err)
	}
	rep := verify(t, l)
	if !rep.OK || rep.First != 12 || rep.Last != 17 || rep.Records != 6 {
		t.Errorf("verify: %+v", rep)
	}
	if n, err := l.Prune(t.Context(), cut); err != nil || n != 0 {
		t.Errorf("again: removed %d, %v", n, err)
	}
	if found, err := l.Query(t.Context(), Filter{Text: "192.0.2.9"}); err != nil || len(found) != 0 {
		t.Errorf("a removed record is still found: %v, %v", found, err)
	}
	if n, err := l.Prune(t.Context(), c.Now().Add(time.Hour)); err != nil || n != 5 {
		t.Errorf("removed %d, %v; want all but the newest, 5", n, err)
	}
	_ = l.Close()
	l = open(t, path, c)
	addMany(t, l, 2)
	rep = verify(t, l)
	if !rep.OK || rep.First != 17 || rep.Records != 4 {
		t.Errorf("after reopening: %+v", rep)
	}
}

func TestActionsAreDeclaredOnce(t *testing.T) {
	seen := map[Action]bool{}
	for _, a := range Actions() {
		object, participle, ok := strings.Cut(string(a.Name), "-")
		if !ok || object == "" || participle == "" || string(a.Name) != strings.ToLower(string(a.Name)) {
			t.Errorf("%q is not <object>-<past participle>", a.Name)
		}
		if seen[a.Name] {
			t.Errorf("%s is listed twice", a.Name)
		}
		if seen[a.Name] = true; !strings.HasSuffix(a.Description, ".") {
			t.Errorf("%s has no sentence: %q", a.Name, a.Description)
		}
	}
	// Every constant is in the list: the source is the only place that knows them all.
	src, err := os.ReadFile("actions.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(src), " Action = \""); n != len(seen) {
		t.Errorf("%d constants, %d descriptions", n, len(seen))
	}
}
