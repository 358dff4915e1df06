// Package field is what the parts of the proxy's configuration have in common: mistakes that know their place, and a
// duration as people write it.
//
// A part validates itself with paths that begin at its own option ("max_age"), collects every mistake in Errors, and whoever
// holds the part puts the way to it before them with Join ("routes[2].cache.max_age"). What comes out is one error, of which
// every leaf has a FieldPath, so that the document's reader can say the line.
//
// It reads no configuration, and knows none of the parts.
package field

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Error is one mistake: where, and what to do about it.
type Error struct {
	// Path is as in the document: "routes[2].cache.max_age". Empty is the part itself.
	Path   string
	Reason string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// FieldPath is the mistake's place in the document.
func (e *Error) FieldPath() string { return e.Path }

// Errors collects the mistakes of one part. The zero value is ready.
type Errors []error

// Add notes a mistake at path.
func (e *Errors) Add(path, format string, args ...any) {
	*e = append(*e, &Error{Path: path, Reason: fmt.Sprintf(format, args...)})
}

// Join takes over the mistakes of a part that stands at prefix. An error without a path is a mistake of the whole part; nil
// is none.
func (e *Errors) Join(prefix string, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			e.Join(prefix, one)
		}
		return
	}
	var at interface{ FieldPath() string }
	if !errors.As(err, &at) {
		*e = append(*e, &placed{path: prefix, err: err})
		return
	}
	*e = append(*e, &placed{path: join(prefix, at.FieldPath()), inner: at.FieldPath(), err: err})
}

// Err is nil without mistakes, and else errors.Join of them all.
func (e Errors) Err() error { return errors.Join(e...) }

// placed is an error of a part, with a longer path.
type placed struct {
	path, inner string
	err         error
}

func (p *placed) Error() string {
	reason := p.err.Error()
	if p.inner != "" {
		reason = strings.TrimPrefix(reason, p.inner+": ")
	}
	if p.path == "" {
		return reason
	}
	return p.path + ": " + reason
}

func (p *placed) Unwrap() error     { return p.err }
func (p *placed) FieldPath() string { return p.path }

func join(prefix, path string) string {
	if prefix == "" || path == "" || path[0] == '[' {
		return prefix + path
	}
	return prefix + "." + path
}

// Index is the path of element i of the list at path.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// Key is the path of the entry called name in the mapping at path, whatever characters the name has.
func Key(path, name string) string {
	plain := func(r rune) bool {
		return r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if name != "" && strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0 {
		return join(path, name)
	}
	return path + "[" + strconv.Quote(name) + "]"
}

// Duration is a time.Duration that is written "30s" or "12h".
type Duration time.Duration

// String is the shortest form that reads back as d: "12h", where time.Duration says "12h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %q: write a number with a unit, for example 30s, 5m or 12h", b)
	}
	*d = Duration(v)
	return nil
}
