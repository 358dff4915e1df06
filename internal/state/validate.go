package state

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/proxy/field"
)

// FieldError is one thing that is wrong with a document, by the path of its field ("bans.factor").
type FieldError struct {
	Path   string
	Reason string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Path + ": " + e.Reason }

// FieldPath is the path, as internal/document places it.
func (e *FieldError) FieldPath() string { return e.Path }

// Validate says everything that is wrong with s: an errors.Join of errors with a FieldPath, where they concern one field.
func (s *State) Validate() error {
	v := &validator{}
	if s.Version != Version {
		v.bad("version", "%d is not known to this program; it reads and writes version %d", s.Version, Version)
	}
	v.join("firewall", s.Firewall.Validate())
	v.join("proxy", s.Proxy.Validate())
	v.join("apps", s.Apps.Validate())
	for i, r := range s.Proxy.Routes {
		if r.Countries != nil {
			v.join(field.Index("proxy.routes", i)+".countries", geo.Check(slices.Concat(r.Countries.Allow, r.Countries.Deny)))
		}
	}
	for i, x := range s.Proxy.Streams {
		if x.Countries != nil {
			v.join(field.Index("proxy.streams", i)+".countries", geo.Check(slices.Concat(x.Countries.Allow, x.Countries.Deny)))
		}
	}
	s.Bans.validate(v)
	s.Certs.validate(v)
	s.Settings.validate(v)
	return errors.Join(v.errs...)
}

func (b BanPolicy) validate(v *validator) {
	v.number("bans.strikes", b.Strikes, 0, 1000)
	v.duration("bans.window", b.Window, time.Second, 24*time.Hour)
	v.duration("bans.first", b.First, time.Second, 365*24*time.Hour)
	v.number("bans.factor", b.Factor, 0, 100)
	v.duration("bans.max", b.Max, time.Second, 10*365*24*time.Hour)
	if d := b.WithDefaults(); d.Max < d.First {
		v.bad("bans.max", "%v is shorter than the first ban of %v; raise max or lower first", time.Duration(d.Max), time.Duration(d.First))
	}
	for _, name := range slices.Sorted(maps.Keys(b.Reasons)) {
		r, where := b.Reasons[name], "bans.reasons."+name
		if name == "" || len(name) > 32 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			v.bad(`bans.reasons["`+name+`"]`, "the name of a reason has 1 to 32 lower-case letters, digits and dashes")
			continue
		}
		v.number(where+".strikes", r.Strikes, 0, 1000)
		v.duration(where+".window", r.Window, time.Second, 24*time.Hour)
		v.duration(where+".first", r.First, time.Second, 365*24*time.Hour)
	}
}

func (s Settings) validate(v *validator) {
	v.duration("settings.guard", s.Guard, time.Second, time.Hour)
	v.number("settings.activity_days", s.ActivityDays, 0, 3650)
	v.number("settings.history_days", s.HistoryDays, 0, 3650)
	v.number("settings.history_keep", s.HistoryKeep, 0, 100_000)
}

type validator struct{ errs []error }

func (v *validator) bad(path, format string, a ...any) {
	v.errs = append(v.errs, &FieldError{Path: path, Reason: fmt.Sprintf(format, a...)})
}

// at is the path of an item of a list.
func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

func (v *validator) number(path string, n, lo, hi int) {
	if n < lo || n > hi {
		v.bad(path, "%d must be between %d and %d", n, lo, hi)
	}
}

// duration accepts zero, which means the default.
func (v *validator) duration(path string, d firewall.Duration, lo, hi time.Duration) {
	if t := time.Duration(d); t != 0 && (t < lo || t > hi) {
		v.bad(path, "%v must be between %v and %v", t, lo, hi)
	}
}

// join takes the errors of a part over, their paths made to begin at the document.
func (v *validator) join(prefix string, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			v.join(prefix, e)
		}
		return
	}
	var at interface{ FieldPath() string }
	switch {
	case !errors.As(err, &at):
		err = fmt.Errorf("%s: %w", prefix, err)
	case at.FieldPath() != prefix && !strings.HasPrefix(at.FieldPath(), prefix+"."):
		err = &placedError{path: prefix + "." + at.FieldPath(), err: err}
	}
	v.errs = append(v.errs, err)
}

// placedError is an error of a part with its path made longer.
type placedError struct {
	path string
	err  error
}

func (e *placedError) Error() string     { return e.err.Error() }
func (e *placedError) Unwrap() error     { return e.err }
func (e *placedError) FieldPath() string { return e.path }
