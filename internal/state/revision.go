package state

import (
	"errors"
	"fmt"
	"time"
)

// Actor is who asks for a change, and from where.
type Actor struct {
	Name   string `json:"name"`   // "root", "alice", "platformd"
	Source string `json:"source"` // an address, or "local"
}

// Revision says who made a version of the document, when, and why.
type Revision struct {
	ID      int64     `json:"id"`
	Time    time.Time `json:"time"`
	Actor   string    `json:"actor"`
	Source  string    `json:"source,omitempty"`
	Summary string    `json:"summary"`
	// Parent is the revision whose content was changed; 0 for the first.
	Parent int64 `json:"parent,omitempty"`
	// Deadline is set where the revision was made provisionally; then Predecessor is the revision whose content comes
	// back, and First the one that began it: blocks may have been added in between.
	Deadline    time.Time  `json:"deadline,omitzero"`
	Predecessor int64      `json:"predecessor,omitempty"`
	First       int64      `json:"first,omitempty"`
	Settled     Settlement `json:"settled,omitempty"`
	SettledBy   string     `json:"settled_by,omitempty"`
	// Unchanged is set by Update where the document stayed as it was; the rest is then the current revision.
	Unchanged bool `json:"unchanged,omitempty"`
}

// Settlement is how a provisional revision ended.
type Settlement string

// A provisional revision is confirmed, or reverted (by its deadline or a rollback).
const (
	Pending   Settlement = ""
	Confirmed Settlement = "confirmed"
	Reverted  Settlement = "reverted"
)

// Provisional reports whether r waits for its confirmation.
func (r Revision) Provisional() bool { return !r.Deadline.IsZero() && r.Settled == Pending }

// expired reports whether r must be reverted. A clock that was set back behind the moment r was made says nothing about
// the deadline; the old content is the safe side.
func (r Revision) expired(now time.Time) bool {
	return r.Provisional() && (!now.Before(r.Deadline) || now.Before(r.Time.Add(-time.Minute)))
}

// What callers branch on.
var (
	ErrConflict       = errors.New("the state was changed meanwhile")
	ErrProvisional    = errors.New("a provisional change waits for its confirmation")
	ErrNotProvisional = errors.New("no change waits for a confirmation")
	ErrNoRevision     = errors.New("no such revision")
)

// ConflictError is ErrConflict with what is current now.
type ConflictError struct {
	Base    int64
	Current Revision
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("revision %d: %v: %s made revision %d (%s); look at it and try again", e.Base, ErrConflict, e.Current.Actor, e.Current.ID, e.Current.Summary)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// ProvisionalError is ErrProvisional with the revision that is in the way.
type ProvisionalError struct{ Revision Revision }

// Error implements error.
func (e *ProvisionalError) Error() string {
	r := e.Revision
	return fmt.Sprintf("revision %d of %s (%s): %v until %s; run `platformctl confirm` to keep it or `platformctl rollback %d` to undo it, then try again",
		r.ID, r.Actor, r.Summary, ErrProvisional, r.Deadline.UTC().Format(time.RFC3339), r.Predecessor)
}

// Is makes errors.Is(err, ErrProvisional) true.
func (e *ProvisionalError) Is(target error) bool { return target == ErrProvisional }
