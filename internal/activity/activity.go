// Package activity answers "who did what, and what did the machine do about it": a durable log of records that shows when
// somebody has tampered with it.
//
// The model in words. Records are numbered from 1 and each carries the SHA-256 of the one before and of itself, so that a
// changed, removed or swapped record breaks the chain where it stood. The number and the hash of the last record, the
// head, are signed with a key that only root can read, in the same transaction that writes the records; so a cut tail
// shows. Every hundred records, and when the log is closed, the head is also written to a second file, the checkpoints; so
// a database that was put back to an older state, or replaced, shows as well. Retention removes records from the front and
// signs where the rest begins. Verify reads everything and says exactly what is wrong and where.
//
// What it cannot show: whoever has the key can write a new history, and the records since the last checkpoint can be
// taken back by putting an older database in place. Export the log to another machine where that matters.
//
// A database that is damaged is moved aside, never repaired. The chain that is started instead says so in its first
// record, and the checkpoints keep the old one on the books.
//
// Refused packets are not activity: they come by the thousand and go to a Ring, in memory. Secrets have no place here;
// callers leave them out, and Redact is the net below them.
package activity

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Bounds of one record, in bytes. Longer texts are cut; a longer before or after is replaced by a note of its size.
const (
	MaxText    = 4 << 10
	MaxPayload = 64 << 10
)

// Record is one thing that happened.
type Record struct {
	Seq      int64           `json:"seq"`
	Time     time.Time       `json:"time"`             // of the log's clock where it is zero
	Actor    string          `json:"actor"`            // a user, or "platformd"
	Source   string          `json:"source,omitempty"` // the address the request came from, or "local"
	Action   Action          `json:"action"`
	Object   string          `json:"object,omitempty"`   // what it was done to: "ssh", "192.0.2.0/24"
	Revision int64           `json:"revision,omitempty"` // of the state document
	Outcome  Outcome         `json:"outcome"`
	Message  string          `json:"message,omitempty"`
	Before   json.RawMessage `json:"before,omitempty"`
	After    json.RawMessage `json:"after,omitempty"`
	Hash     Hash            `json:"hash"`
}

// Outcome is how it ended.
type Outcome string

// The outcomes of a record. Empty is OK.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused" // not allowed, or invalid
	Failed  Outcome = "failed"  // allowed, but it could not be done
	Pending Outcome = "pending" // done, and waits for a confirmation
)

// Hash is a link of the chain; its text form is hexadecimal.
type Hash [sha256.Size]byte

// String is the text form.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(b []byte) error {
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("hash %q: must be %d hexadecimal digits", b, 2*len(h))
	}
	copy(h[:], raw)
	return nil
}

// link is the hash of r behind the record with the hash before. Every part carries its length, so that no two records
// have the same bytes.
func link(before Hash, r *Record) Hash {
	b := make([]byte, 0, 512)
	b = append(b, "platformd activity record 1\x00"...)
	b = append(b, before[:]...)
	for _, n := range []int64{r.Seq, r.Time.UnixNano(), r.Revision} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, s := range []string{r.Actor, r.Source, string(r.Action), r.Object, string(r.Outcome), r.Message, string(r.Before), string(r.After)} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}

// prepare checks and bounds what a caller passed.
func (r *Record) prepare(now time.Time) error {
	if r.Outcome == "" {
		r.Outcome = OK
	}
	var errs []error
	if !r.Action.declared() {
		errs = append(errs, fmt.Errorf("action %q is not declared in internal/activity/actions.go", r.Action))
	}
	if r.Outcome != OK && r.Outcome != Refused && r.Outcome != Failed && r.Outcome != Pending {
		errs = append(errs, fmt.Errorf("outcome %q: must be ok, refused, failed or pending", r.Outcome))
	}
	if r.Time.IsZero() {
		r.Time = now
	}
	r.Time = r.Time.Round(0).UTC()
	for _, s := range []*string{&r.Actor, &r.Source, &r.Object, &r.Message} {
		*s = bound(*s)
	}
	for _, p := range []*json.RawMessage{&r.Before, &r.After} {
		switch {
		case len(*p) == 0:
			*p = nil
		case !json.Valid(*p):
			errs = append(errs, errors.New("before and after must be JSON"))
		case len(*p) > MaxPayload:
			*p = fmt.Appendf(nil, `{"left_out_bytes":%d}`, len(*p))
		default:
			*p = Redact(*p)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("append activity record: %w", errors.Join(errs...))
	}
	return nil
}

func bound(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > MaxText {
		s = strings.ToValidUTF8(s[:MaxText], "") + "..."
	}
	return s
}
