package daemon

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/api"
)

// unprovided says what a manifest asks for that this version does not have. An app that was started without it would fail in
// ways that nobody understands, or seem to work and never run its schedules.
func unprovided(name string, m *apps.Manifest) error {
	var errs []error
	missing := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("app %q: %w: %s", name, api.ErrUnavailable, fmt.Sprintf(format, args...)))
	}
	for _, kind := range slices.Sorted(maps.Keys(m.Addons)) {
		if kind != "localstorage" { // that is what data folders are
			missing("addons.%s: this version has no such addon yet; run the service elsewhere and name it in env", kind)
		}
	}
	if len(m.Schedules) > 0 {
		missing("schedules: this version runs none yet; leave them out, and run %v by a timer of the host", m.Schedules[0].Command)
	}
	if m.Image == "" {
		missing("build: this version builds no images yet; build one and name it in image")
	}
	if m.SSO == "required" {
		missing("sso: this version has no accounts that people could log in with yet; write optional where the app can do without")
	}
	return errors.Join(errs...)
}
