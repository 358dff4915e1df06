package state

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
)

func provisional(t *testing.T, s *Store, c *clock) Revision {
	t.Helper()
	rev, err := s.UpdateProvisional(t.Context(), root, 0, "close ssh", c.Now().Add(time.Minute), func(st *State) error {
		st.Firewall.Ports = st.Firewall.Ports[2:]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !rev.Provisional() {
		t.Fatalf("not provisional: %+v", rev)
	}
	return rev
}

func portCount(s *Store) int {
	st, _ := s.Current()
	return len(st.Firewall.Ports)
}

func TestProvisionalIsReverted(t *testing.T) {
	s, c, path := newStore(t)
	update(t, s, block("192.0.2.1"))
	rev := provisional(t, s, c)
	if _, did, err := s.RevertExpired(t.Context(), c.Now()); did || err != nil {
		t.Fatalf("reverted before the deadline: %v, %v", did, err)
	}
	added := update(t, s, block("192.0.2.2"))
	if !added.Provisional() || added.Deadline != rev.Deadline || added.First != rev.ID {
		t.Errorf("a block on top: %+v", added)
	}
	// The daemon is killed, and comes back after the deadline.
	_ = s.Close()
	c.Add(time.Hour)
	s = open(t, path, c)
	got, did, err := s.RevertExpired(t.Context(), c.Now())
	if err != nil || !did || got.Provisional() {
		t.Fatalf("got %+v, %v, %v", got, did, err)
	}
	st, _ := s.Current()
	if len(st.Firewall.Ports) != 4 || blocks(st) != "192.0.2.1 192.0.2.2" {
		t.Errorf("after the revert: %d ports, blocks %s", len(st.Firewall.Ports), blocks(st))
	}
	for _, id := range []int64{rev.ID, added.ID} {
		if _, r, err := s.Get(t.Context(), id); err != nil || r.Settled != Reverted {
			t.Errorf("revision %d: %+v, %v; want reverted", id, r, err)
		}
	}
	if _, did, err := s.RevertExpired(t.Context(), c.Now()); did || err != nil {
		t.Errorf("reverted twice: %v, %v", did, err)
	}
}

func TestProvisionalIsConfirmed(t *testing.T) {
	s, c, path := newStore(t)
	if _, err := s.Confirm(t.Context(), root, 0); !errors.Is(err, ErrNotProvisional) {
		t.Errorf("got %v, want ErrNotProvisional", err)
	}
	rev := provisional(t, s, c)
	update(t, s, block("192.0.2.2"))
	if _, err := s.Confirm(t.Context(), root, rev.ID-1); !errors.Is(err, ErrNotProvisional) {
		t.Errorf("confirmation of another revision: got %v", err)
	}
	watch := s.Watch(t.Context())
	<-watch
	got, err := s.Confirm(t.Context(), root, rev.ID)
	if err != nil || got.Settled != Confirmed || got.SettledBy != "root" {
		t.Fatalf("got %+v, %v", got, err)
	}
	if told := <-watch; told != got {
		t.Errorf("watchers were told %+v, want %+v", told, got)
	}
	_ = s.Close()
	c.Add(time.Hour)
	s = open(t, path, c)
	if _, did, err := s.RevertExpired(t.Context(), c.Now()); did || err != nil {
		t.Errorf("reverted after the confirmation: %v, %v", did, err)
	}
	update(t, s, openPort("next", 99))
	if n := portCount(s); n != 3 {
		t.Errorf("got %d ports, want 3", n)
	}
}

func TestUpdatesOnTopOfAProvisionalRevision(t *testing.T) {
	until := time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC)
	mustParse := func(s string) ranges.Range {
		r, err := ranges.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	tests := []struct {
		name string
		fn   func(*State) error
		ok   bool
	}{
		{"a block", block("203.0.113.0/24"), true},
		{"a wider block for one it covers", func(st *State) error {
			st.Firewall.Blocks[0] = firewall.Block{Target: mustParse("192.0.2.0/24")}
			return nil
		}, true},
		{"a wider block that ends", func(st *State) error {
			st.Firewall.Blocks[0] = firewall.Block{Target: mustParse("192.0.2.0/24"), Until: until}
			return nil
		}, false},
		{"a block less", func(st *State) error { st.Firewall.Blocks = nil; return nil }, false},
		{"a port", openPort("x", 99), false},
		{"a block and a port", func(st *State) error { return errors.Join(block("203.0.113.9")(st), openPort("x", 99)(st)) }, false},
		{"nothing", func(*State) error { return nil }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c, _ := newStore(t)
			update(t, s, block("192.0.2.1"))
			rev := provisional(t, s, c)
			_, err := s.Update(t.Context(), root, 0, "", tt.fn)
			if got := err == nil; got != tt.ok {
				t.Errorf("got error %v, want success %v", err, tt.ok)
			}
			if err != nil && (!errors.Is(err, ErrProvisional) || !strings.Contains(err.Error(), "platformctl confirm")) {
				t.Errorf("got %v, want ErrProvisional with its remedy", err)
			}
			if _, err := s.UpdateProvisional(t.Context(), root, 0, "", c.Now().Add(time.Hour), block("203.0.113.0/24")); !errors.Is(err, ErrProvisional) {
				t.Errorf("a second provisional change: got %v", err)
			}
			if _, err := s.Rollback(t.Context(), root, rev.Predecessor); err != nil {
				t.Fatal(err)
			}
			st, cur := s.Current()
			if cur.Provisional() || len(st.Firewall.Ports) != 4 || blocks(st) != "192.0.2.1" {
				t.Errorf("after the rollback: %+v, %s", cur, blocks(st))
			}
			if _, r, err := s.Get(t.Context(), rev.ID); err != nil || r.Settled != Reverted {
				t.Errorf("got %+v, %v; want reverted", r, err)
			}
		})
	}
}

func TestProvisionalRollbackToTheSameContentSettles(t *testing.T) {
	s, c, _ := newStore(t)
	rev := provisional(t, s, c)
	got, err := s.Rollback(t.Context(), root, rev.ID)
	if err != nil || got.Provisional() || got.Unchanged {
		t.Errorf("got %+v, %v; want a settled revision", got, err)
	}
}

func TestClockSetBackReverts(t *testing.T) {
	s, c, _ := newStore(t)
	provisional(t, s, c)
	c.Add(-24 * time.Hour)
	if _, did, err := s.RevertExpired(t.Context(), c.Now()); !did || err != nil {
		t.Errorf("got %v, %v; want a revert", did, err)
	}
}

func TestPastDeadlineIsRefused(t *testing.T) {
	s, c, _ := newStore(t)
	if _, err := s.UpdateProvisional(t.Context(), root, 0, "", c.Now(), openPort("x", 9)); err == nil {
		t.Error("a deadline that has passed was accepted")
	}
}

// The database is lost while a change waits for its confirmation: the export knows what to go back to.
func TestProvisionalSurvivesTheLossOfTheDatabase(t *testing.T) {
	s, c, path := newStore(t)
	rev := provisional(t, s, c)
	update(t, s, block("192.0.2.2"))
	_ = s.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, c)
	if _, cur := s.Current(); !s.Restored() || !cur.Provisional() || cur.ID != rev.ID+1 {
		t.Fatalf("restored %v: %+v", s.Restored(), cur)
	}
	c.Add(time.Hour)
	if _, did, err := s.RevertExpired(t.Context(), c.Now()); !did || err != nil {
		t.Fatalf("got %v, %v; want a revert", did, err)
	}
	if st, _ := s.Current(); len(st.Firewall.Ports) != 4 || blocks(st) != "192.0.2.2" {
		t.Errorf("after the revert: %d ports, blocks %s", len(st.Firewall.Ports), blocks(st))
	}
}
