// Package health keeps what is wrong with the host right now, as data.
//
// A Condition is something an operator should know and can do something about: it has a stable identifier, a sentence, and
// a remedy. Setting a condition that is already set keeps its Since; clearing one that is not set does nothing. Conditions
// are not history: what happened is in the activity log.
package health

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Severity says how urgent a condition is.
type Severity string

// Warning: something is not as wanted, the host is protected. Critical: the policy is not in force, or soon will not be.
const (
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Condition is one thing that is wrong.
type Condition struct {
	// ID is stable and unique: "firewall-drift", "feed-failed:tor-exits".
	ID       string    `json:"id"`
	Severity Severity  `json:"severity"`
	Message  string    `json:"message"`
	Remedy   string    `json:"remedy,omitempty"`
	Since    time.Time `json:"since"`
}

// Registry holds the conditions of one daemon. Its methods are safe for concurrent use.
type Registry struct {
	now func() time.Time
	mu  sync.Mutex
	set map[string]Condition
}

// New makes an empty registry that dates conditions with now.
func New(now func() time.Time) *Registry {
	return &Registry{now: now, set: map[string]Condition{}}
}

// Set records a condition, or updates its text.
func (r *Registry) Set(c Condition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Since = r.now()
	if old, ok := r.set[c.ID]; ok {
		c.Since = old.Since
	}
	r.set[c.ID] = c
}

// Clear removes a condition and reports whether it was set.
func (r *Registry) Clear(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.set[id]
	delete(r.set, id)
	return ok
}

// List is what is wrong now: the most urgent first, then by identifier.
func (r *Registry) List() []Condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Condition, 0, len(r.set))
	for _, c := range r.set {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Condition) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.ID, b.ID)) // "critical" < "warning"
	})
	return out
}
