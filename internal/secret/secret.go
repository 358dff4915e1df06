// Package secret keeps what must not be seen: a Secret prints as a placeholder wherever it turns up, and a Box seals it with
// the key of this host before it is stored.
//
// The key is a credential of systemd where there is one, else a file that only root can read, made when it is first needed.
// What is sealed is bound to what it is for, so that rows of a database cannot be exchanged. The package stores nothing but
// that key.
package secret

import (
	"fmt"
	"log/slog"
)

// Secret is what must not be seen. It prints, logs and marshals as a placeholder.
type Secret []byte

const hidden = "[redacted]"

// String implements fmt.Stringer.
func (Secret) String() string { return hidden }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return hidden }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// LogValue implements slog.LogValuer: without it, slog takes bytes for text.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Format implements fmt.Formatter, so that no verb gets around String.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }
