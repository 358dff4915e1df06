// Package order is what passes between the daemon and the process that talks to certificate authorities: jobs, the
// entries that an order keeps with the daemon while it lasts, and results.
//
// A job is one line of JSON, and so is everything after it: the process asks (get, put, delete), the daemon answers, until
// the process is done. Each line is bounded; what the process says is checked by Result.Check and by the cache that it
// talks to, because it is the word of somebody who reads bytes from outside.
package order

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Bounds of the dialogue.
const (
	MaxLine = 256 << 10
	// MaxAsks is how many lines one job may ask.
	MaxAsks = 200
	maxText = 1000
)

// Kind is what a job does.
type Kind string

// The kinds of job.
const (
	Issue     Kind = "issue"     // get a certificate; it is put into the cache under the first name
	Renewal   Kind = "renewal"   // ask when a certificate should be renewed (RFC 9773)
	Directory Kind = "directory" // ask what a CA offers
	Staple    Kind = "staple"    // ask whether a certificate is revoked (RFC 6960)
	Records   Kind = "records"   // read and write records of a zone
)

// Job is one piece of work. It holds keys: it is never logged, and only ever goes to a process's standard input.
type Job struct {
	Kind      Kind          `json:"kind"`
	Directory string        `json:"directory,omitempty"`
	Root      string        `json:"root,omitempty"`
	Email     string        `json:"email,omitempty"`
	Profile   string        `json:"profile,omitempty"`
	EABKID    string        `json:"eab_kid,omitempty"`
	EABKey    []byte        `json:"eab_key,omitempty"`
	Account   []byte        `json:"account,omitempty"` // PEM
	Names     []string      `json:"names,omitempty"`
	Tries     []string      `json:"challenges,omitempty"`
	DNS       *Provider     `json:"dns,omitempty"`
	Chain     []byte        `json:"chain,omitempty"` // PEM
	Changes   []Change      `json:"changes,omitempty"`
	Timeout   time.Duration `json:"timeout"`
	UserAgent string        `json:"user_agent,omitempty"`
}

// String says what a job is about, and nothing that is secret.
func (j Job) String() string { return string(j.Kind) + " " + strings.Join(j.Names, " ") }

// DNS01 is the challenge that needs a Provider.
const DNS01 = "dns-01"

// Provider is how the records of zones are written.
type Provider struct {
	Type      string            `json:"type"`
	Zones     []string          `json:"zones"`
	Secret    []byte            `json:"secret,omitempty"`
	Settings  map[string]string `json:"settings,omitempty"`
	Resolvers []string          `json:"resolvers,omitempty"`
}

// Record is one DNS record, its name absolute and without the last dot.
type Record struct {
	Name  string        `json:"name"`
	Type  string        `json:"type"`
	Value string        `json:"value"`
	TTL   time.Duration `json:"ttl,omitempty"`
}

// Change is a record to be created or removed.
type Change struct {
	Remove bool   `json:"remove,omitempty"`
	Record Record `json:"record"`
}

// Ask is a line of the process.
type Ask struct {
	Op     string  `json:"op"` // get, put, delete, done
	Key    string  `json:"key,omitempty"`
	Value  []byte  `json:"value,omitempty"`
	Result *Result `json:"result,omitempty"`
}

// Answer is a line of the daemon.
type Answer struct {
	Value []byte `json:"value,omitempty"`
	Miss  bool   `json:"miss,omitempty"`
	Error string `json:"error,omitempty"`
}

// Cache is what a job talks to. Get returns ErrMiss for what is not there.
type Cache interface {
	Get(ctx context.Context, key string) ([]byte, error)
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
}

// ErrMiss means that an entry is not there.
var ErrMiss = errors.New("not in the cache")

// Result is what came of a job.
type Result struct {
	// Error is empty where the job was done. Problem is its kind: one of RFC 8555, section 6.7, such as "rateLimited";
	// Unreachable; or empty.
	Error      string        `json:"error,omitempty"`
	Problem    string        `json:"problem,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	// Start and End are the window of a Renewal job.
	Start time.Time `json:"start,omitzero"`
	End   time.Time `json:"end,omitzero"`
	// Terms, Profiles and NeedsEAB are what a Directory job found.
	Terms    string   `json:"terms,omitempty"`
	Profiles []string `json:"profiles,omitempty"`
	// Issuers are what CAA records call the CA.
	Issuers  []string `json:"issuers,omitempty"`
	NeedsEAB bool     `json:"needs_eab,omitempty"`
	Staple   []byte   `json:"staple,omitempty"`
	Records  []Record `json:"records,omitempty"`
	Weak     []string `json:"weak,omitempty"`
}

// Unreachable is the problem of a CA that does not answer, or only with errors of its own.
const Unreachable = "unreachable"

// Check bounds every field, whatever it says.
func (r *Result) Check() error {
	r.Error, r.Terms = Clean(r.Error), Clean(r.Terms)
	if !Word(r.Problem) {
		return errors.New("the kind of problem is no word")
	}
	if len(r.Profiles) > 50 || len(r.Issuers) > 20 || len(r.Weak) > 20 || len(r.Staple) > 64<<10 || len(r.Records) > 10_000 {
		return errors.New("lists are out of bounds")
	}
	if !r.Start.IsZero() && (r.End.Before(r.Start) || r.End.Sub(r.Start) > 366*24*time.Hour) {
		return errors.New("the window ends before it begins, or is longer than a year")
	}
	r.RetryAfter = min(max(r.RetryAfter, 0), 30*24*time.Hour)
	for _, list := range [][]string{r.Profiles, r.Weak, r.Issuers} {
		for i := range list {
			list[i] = Clean(list[i])
		}
	}
	for _, x := range r.Records {
		if len(x.Name) > 255 || len(x.Type) > 10 || len(x.Value) > 4096 || x.Name != Clean(x.Name) || x.Value != Clean(x.Value) {
			return fmt.Errorf("record %q cannot be one", Clean(x.Name))
		}
	}
	return nil
}

// Word reports whether s can be a kind of problem: at most 64 letters and digits.
func Word(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}

// Clean makes text of others fit for a log or a message.
func Clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
