package state

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/sqlite"
)

var compareRanges = cmp.Comparer(func(a, b ranges.Range) bool { return a == b })

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

func open(t *testing.T, path string, c *clock) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, Config{Clock: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newStore(t *testing.T) (*Store, *clock, string) {
	t.Helper()
	path, c := filepath.Join(t.TempDir(), "state.db"), newClock()
	return open(t, path, c), c, path
}

var root = Actor{Name: "root", Source: "192.0.2.7"}

func block(s string) func(*State) error {
	return func(st *State) error {
		r, err := ranges.Parse(s)
		st.Firewall.Blocks = append(st.Firewall.Blocks, firewall.Block{Target: r})
		return err
	}
}

func openPort(name string, n uint16) func(*State) error {
	return func(st *State) error {
		st.Firewall.Ports = append(st.Firewall.Ports, firewall.Port{Name: name, Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: n, Last: n}}})
		return nil
	}
}

func update(t *testing.T, s *Store, fn func(*State) error) Revision {
	t.Helper()
	rev, err := s.Update(t.Context(), root, 0, "test", fn)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func blocks(st State) string {
	var out []string
	for _, b := range st.Firewall.Blocks {
		out = append(out, b.Target.String())
	}
	return strings.Join(out, " ")
}

func TestUpdate(t *testing.T) {
	s, c, path := newStore(t)
	st, rev := s.Current()
	if diff := cmp.Diff(Default(), st, compareRanges); diff != "" || rev.ID != 1 || rev.Actor != "platformd" {
		t.Fatalf("first start: revision %+v, %s", rev, diff)
	}
	c.Add(time.Second)
	got, err := s.Update(t.Context(), root, 1, "block\n a neighbour", block("192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	want := Revision{ID: 2, Time: c.Now(), Actor: "root", Source: "192.0.2.7", Summary: "block a neighbour", Parent: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := s.Update(t.Context(), root, 1, "late", block("192.0.2.2")); !errors.Is(err, ErrConflict) {
		t.Errorf("update of revision 1: got %v, want ErrConflict", err)
	} else if ce := new(ConflictError); !errors.As(err, &ce) || ce.Current.ID != 2 {
		t.Errorf("conflict names %+v, want revision 2", ce)
	}
	same, err := s.Update(t.Context(), root, 0, "nothing", func(st *State) error { st.Version = 0; return nil })
	if err != nil || !same.Unchanged || same.ID != 2 {
		t.Errorf("unchanged: got %+v, %v", same, err)
	}
	boom := errors.New("boom")
	if _, err := s.Update(t.Context(), root, 0, "", func(st *State) error { st.Firewall.Ports = nil; return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v, want the function's error", err)
	}
	if _, err := s.Update(t.Context(), root, 0, "", func(st *State) error { st.Bans.Factor = -1; st.Settings.Guard = 1; return nil }); err == nil ||
		!strings.Contains(err.Error(), "bans.factor") || !strings.Contains(err.Error(), "settings.guard") {
		t.Errorf("invalid document: got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, c)
	if st, rev := s.Current(); rev != want || blocks(st) != "192.0.2.1" || len(st.Firewall.Ports) != 4 {
		t.Errorf("after reopening: %+v, blocks %s", rev, blocks(st))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestCallersCannotChangeStoredState(t *testing.T) {
	s, _, _ := newStore(t)
	var kept *State
	update(t, s, func(st *State) error {
		kept = st
		return openPort("extra", 8080)(st)
	})
	want, _ := s.Current()
	kept.Firewall.Ports[0].Ports[0].First = 1
	st, _ := s.Current()
	st.Firewall.Ports[1].Name = "changed"
	st.Firewall.Ports[1].Ports[0].Last = 9
	got, _ := s.Current()
	if diff := cmp.Diff(want, got, compareRanges); diff != "" {
		t.Errorf("the stored state was changed from outside:\n%s", diff)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	_, c, path := newStore(t)
	_, err := Open(t.Context(), path, Config{Clock: c.Now})
	if !errors.Is(err, sqlite.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
}

func TestHistoryAndRollback(t *testing.T) {
	s, _, path := newStore(t)
	var want []string
	for i := range 3 * keyframeEvery {
		a := ranges.Range{}
		update(t, s, func(st *State) error {
			var err error
			if i%3 == 2 {
				st.Firewall.Blocks = st.Firewall.Blocks[1:]
				return nil
			}
			a, err = ranges.Parse("198.51.100." + string(rune('0'+i%10)))
			st.Firewall.Blocks = append(st.Firewall.Blocks, firewall.Block{Target: a, Reason: strings.Repeat("x", i)})
			return err
		})
		st, _ := s.Current()
		want = append(want, blocks(st))
	}
	check := func() {
		t.Helper()
		for i, w := range want {
			st, rev, err := s.Get(t.Context(), int64(i+2))
			if err != nil || blocks(st) != w || rev.ID != int64(i+2) {
				t.Fatalf("revision %d: got %s, %v; want %s", i+2, blocks(st), err, w)
			}
		}
	}
	check()
	revs, err := s.History(t.Context(), 2, 10)
	if err != nil || len(revs) != 2 || revs[0].ID != 9 || revs[1].ID != 8 {
		t.Errorf("history before 10: got %+v, %v", revs, err)
	}
	rev, err := s.Rollback(t.Context(), root, 5)
	if err != nil || rev.ID != int64(len(want)+2) || rev.Summary != "rolled back to revision 5" {
		t.Errorf("rollback: %+v, %v", rev, err)
	}
	if st, _ := s.Current(); blocks(st) != want[3] {
		t.Errorf("after rollback: got %s, want %s", blocks(st), want[3])
	}
	if again, err := s.Rollback(t.Context(), root, 5); err != nil || !again.Unchanged {
		t.Errorf("rollback to the same content: %+v, %v", again, err)
	}
	if _, err := s.Rollback(t.Context(), root, 999); !errors.Is(err, ErrNoRevision) {
		t.Errorf("got %v, want ErrNoRevision", err)
	}
	_ = s.Close()
	s = open(t, path, newClock())
	check()
}

func TestDiffOfRevisions(t *testing.T) {
	s, _, _ := newStore(t)
	a := update(t, s, block("192.0.2.1")).ID
	b := update(t, s, func(st *State) error {
		p := st.Firewall.Ports
		p[0], p[1] = p[1], p[0]
		p[1].Limit = ""
		st.Firewall.Ports = p[:3]
		st.Mail.Enabled = true
		st.Firewall.Geo = []firewall.GeoRule{{Action: firewall.GeoBlock, Countries: []string{"XX"}}}
		st.Firewall.Blocks = nil
		return nil
	}).ID
	got, err := s.Diff(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range got {
		lines = append(lines, c.Path+" "+string(c.Before)+" -> "+string(c.After))
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		`firewall.ports[ssh].limit "ssh" -> `, `firewall.ports[https] {`, `firewall.blocks[192.0.2.1] {"target":"192.0.2.1"} -> `,
		`firewall.geo[0]  -> {"action":"block","countries":["XX"]}`, `mail.enabled  -> true`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in\n%s", want, text)
		}
	}
	if len(got) != 5 {
		t.Errorf("got %d changes, want 5:\n%s", len(got), text)
	}
	if same, err := s.Diff(t.Context(), b, b); err != nil || len(same) != 0 {
		t.Errorf("a revision differs from itself: %v, %v", same, err)
	}
}

func TestWatch(t *testing.T) {
	s, _, _ := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	slow, closed := s.Watch(ctx), s.Watch(t.Context())
	if rev := <-slow; rev.ID != 1 {
		t.Errorf("got %d first, want 1", rev.ID)
	}
	for i := range 5 {
		update(t, s, openPort("p"+strconv.Itoa(i), uint16(1000+i)))
	}
	if rev := <-slow; rev.ID != 6 {
		t.Errorf("a slow receiver got %d, want the newest, 6", rev.ID)
	}
	cancel()
	for range slow { // ends only where the channel is closed
	}
	_ = s.Close()
	for range closed {
	}
}

func TestRetention(t *testing.T) {
	s, c, _ := newStore(t)
	update(t, s, func(st *State) error { st.Settings.HistoryKeep, st.Settings.HistoryDays = 10, 1; return nil })
	for i := range 4 * keyframeEvery {
		update(t, s, openPort("p"+strconv.Itoa(i), uint16(1000+i)))
		if i == keyframeEvery {
			c.Add(48 * time.Hour)
		}
	}
	revs, err := s.History(t.Context(), 1000, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Everything of the last day stays, and at most one stretch of patches before it.
	young := 3*keyframeEvery - 1
	if len(revs) < young || len(revs) > young+keyframeEvery {
		t.Errorf("%d revisions are kept, want %d to %d", len(revs), young, young+keyframeEvery)
	}
	c.Add(48 * time.Hour)
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	revs, err = s.History(t.Context(), 1000, 0)
	if err != nil || len(revs) < 10 || len(revs) > 10+keyframeEvery+1 {
		t.Errorf("%d revisions are kept, want 10 to %d; %v", len(revs), 10+keyframeEvery+1, err)
	}
	for _, r := range revs {
		if _, _, err := s.Get(t.Context(), r.ID); err != nil {
			t.Errorf("revision %d was kept but: %v", r.ID, err)
		}
	}
}

func TestConcurrentUpdatesAreAllThere(t *testing.T) {
	s, _, _ := newStore(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := s.Update(context.Background(), root, 0, "count", func(st *State) error { st.Settings.HistoryDays++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if st, rev := s.Current(); st.Settings.HistoryDays != 40 || rev.ID != 41 {
		t.Errorf("got %d in revision %d, want 40 in 41", st.Settings.HistoryDays, rev.ID)
	}
}
