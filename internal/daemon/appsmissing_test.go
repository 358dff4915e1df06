package daemon

import (
	"errors"
	"strings"
	"testing"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/api"
)

// TestUnprovided: what is not there yet is refused by name, all of it at once, and nothing else is.
func TestUnprovided(t *testing.T) {
	m := apps.Manifest{Image: "x", Addons: map[string]apps.Addon{"localstorage": {}}, SSO: "optional"}
	if err := unprovided("blog", &m); err != nil {
		t.Errorf("what is there was refused: %v", err)
	}
	m = apps.Manifest{Addons: map[string]apps.Addon{"postgresql": {}, "redis": {}}, Schedules: []apps.Schedule{{Name: "tidy", Command: []string{"/tidy"}}}, SSO: "required"}
	err := unprovided("blog", &m)
	for _, want := range []string{"addons.postgresql", "addons.redis", "schedules", "build", "sso"} {
		if !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), `app "blog"`) || !strings.Contains(err.Error(), want+": ") {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
