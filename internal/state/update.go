package state

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxSummary bounds what a caller writes into the history, in bytes.
const maxSummary = 500

// Update makes a new revision: fn gets a copy of the current document and changes it; it must not call Update. base is the revision the caller
// looked at, or 0 for whatever is current. The revision is on disk on return. Where fn changes nothing, there is no new
// revision and the result has Unchanged set. The error is fn's, that of State.Validate, a *ConflictError, a
// *ProvisionalError, or wraps sqlite.ErrFull; nothing has changed then.
func (s *Store) Update(ctx context.Context, actor Actor, base int64, summary string, fn func(*State) error) (Revision, error) {
	return s.update(ctx, change{actor: actor, base: base, summary: summary, fn: fn})
}

// UpdateProvisional is Update with a deadline: see the package doc. It is refused while another one waits.
func (s *Store) UpdateProvisional(ctx context.Context, actor Actor, base int64, summary string, deadline time.Time, fn func(*State) error) (Revision, error) {
	if !deadline.After(s.clock()) {
		return Revision{}, fmt.Errorf("provisional change: its deadline %s has passed already", deadline.UTC().Format(time.RFC3339))
	}
	return s.update(ctx, change{actor: actor, base: base, summary: summary, deadline: deadline, fn: fn})
}

type change struct {
	actor    Actor
	base     int64
	summary  string
	deadline time.Time
	// settle is how a provisional revision ends that the change is made on top of; Pending refuses unless it only adds
	// blocks.
	settle Settlement
	// trusted leaves validation out: content that was valid once must be able to come back.
	trusted bool
	fn      func(*State) error
}

func (s *Store) update(ctx context.Context, c change) (Revision, error) {
	release, err := s.takeTurn(ctx)
	if err != nil {
		return Revision{}, err
	}
	defer release()
	return s.updateInTurn(ctx, c)
}

func (s *Store) takeTurn(ctx context.Context) (func(), error) {
	select {
	case <-s.turn:
		return func() { s.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another change: %w", context.Cause(ctx))
	}
}

func (s *Store) updateInTurn(ctx context.Context, c change) (Revision, error) {
	cur := s.cur.Load()
	if c.base != 0 && c.base != cur.rev.ID {
		return Revision{}, &ConflictError{Base: c.base, Current: cur.rev}
	}
	pending := cur.rev.Provisional()
	if pending && !c.deadline.IsZero() {
		return Revision{}, &ProvisionalError{cur.rev}
	}
	draft := clone(&cur.state)
	if err := c.fn(&draft); err != nil {
		return Revision{}, err
	}
	next := clone(&draft) // fn may have kept a pointer, or put one in that others have
	if next.Version == 0 {
		next.Version = Version
	}
	enc, err := encode(&next, cur.enc)
	if err != nil {
		return Revision{}, err
	}
	if bytes.Equal(enc.doc, cur.enc.doc) && c.settle == Pending {
		same := cur.rev
		same.Unchanged = true
		return same, nil
	}
	if !c.trusted {
		if err := next.Validate(); err != nil {
			return Revision{}, err
		}
	}
	rev := Revision{
		ID: cur.rev.ID + 1, Time: s.now(), Actor: c.actor.Name, Source: c.actor.Source, Summary: shorten(c.summary), Parent: cur.rev.ID,
	}
	switch {
	case !c.deadline.IsZero():
		rev.Deadline, rev.Predecessor, rev.First = c.deadline.Round(0).UTC(), cur.rev.ID, rev.ID
	case pending && c.settle == Pending:
		if !onlyAddsBlocks(&cur.state, &next) {
			return Revision{}, &ProvisionalError{cur.rev}
		}
		rev.Deadline, rev.Predecessor, rev.First = cur.rev.Deadline, cur.rev.Predecessor, cur.rev.First
	}
	if err := s.write(ctx, cur, rev, &next, enc, c.settle); err != nil {
		return Revision{}, err
	}
	return rev, nil
}

// write puts a revision on disk and then makes it the current one.
func (s *Store) write(ctx context.Context, cur *current, rev Revision, next *State, enc *encoded, settle Settlement) error {
	p := diffBytes(cur.enc.doc, enc.doc)
	full := s.patched >= keyframeEvery || s.patchedBytes > len(enc.doc)+64<<10
	if full {
		p = patch{data: enc.doc}
	}
	err := s.transaction(ctx, rev.ID, func(tx *sql.Tx) error {
		if cur.rev.Provisional() && settle != Pending {
			if err := settleRows(ctx, tx, cur.rev.First, settle, rev.Actor); err != nil {
				return err
			}
		}
		if err := insert(ctx, tx, rev, full, p, checksum(enc.doc)); err != nil {
			return err
		}
		if !full {
			return nil
		}
		_, err := prune(ctx, tx, rev, next.Settings, s.clock())
		return err
	})
	if err != nil {
		return err
	}
	s.patched, s.patchedBytes = s.patched+1, s.patchedBytes+len(p.data)
	if full {
		s.patched, s.patchedBytes = 0, 0
	}
	s.cur.Store(&current{state: *next, rev: rev, enc: enc})
	s.export()
	s.notify(rev)
	return nil
}

// onlyAddsBlocks reports whether after refuses at least what before does and differs in nothing else.
func onlyAddsBlocks(before, after *State) bool {
	x, y := *before, *after
	x.Firewall.Blocks, y.Firewall.Blocks = nil, nil
	a, errA := encode(&x, nil)
	b, errB := encode(&y, nil)
	if errA != nil || errB != nil || !bytes.Equal(a.doc, b.doc) {
		return false
	}
	for _, gone := range without(before.Firewall.Blocks, after.Firewall.Blocks) {
		// A wider block may take the place of one that it covers for at least as long.
		covered := slices.ContainsFunc(without(after.Firewall.Blocks, before.Firewall.Blocks), func(n blockEntry) bool {
			return n.Target.Contains(gone.Target.From) && n.Target.Contains(gone.Target.To) &&
				(n.Until.IsZero() || !gone.Until.IsZero() && !n.Until.Before(gone.Until))
		})
		if !covered {
			return false
		}
	}
	return true
}

// shorten keeps the history readable, whatever a caller passes.
func shorten(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxSummary {
		s = strings.ToValidUTF8(s[:maxSummary], "") + "..."
	}
	return s
}
