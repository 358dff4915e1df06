package daemon

import (
	"slices"
	"testing"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/apps/catalog"
	"github.com/platformd/platformd/internal/document"
)

// TestCatalog: each manifest of the catalog is valid, and says what an operator must not have to find out.
func TestCatalog(t *testing.T) {
	names := catalog.Names()
	if len(names) < 14 {
		t.Errorf("got %d apps: %v", len(names), names)
	}
	for _, name := range names {
		text, _ := catalog.Manifest(name)
		var m apps.Manifest
		if err := document.Decode(text, name+".yaml", &m); err != nil {
			t.Error(err)
			continue
		}
		if err := document.Place(m.Validate(), text, name+".yaml"); err != nil {
			t.Error(err)
		}
		for what, missing := range map[string]bool{
			"its own name": m.ID != name, "title": m.Title == "", "release": m.Release == "", "description": m.Description == "", "image or build": m.Image == "" && m.Build == nil,
			"health path": m.Health.Path == "", "HTTP port": m.HTTP.Port == 0, "memory": m.Limits.Memory == 0, "processes": m.Limits.PIDs == 0, "user": m.User == "" && m.Image == "",
			"data or an addon": len(m.Data)+len(m.Addons) == 0,
		} {
			if missing {
				t.Errorf("%s: has no %s", name, what)
			}
		}
		// It can be installed beside every other.
		c := apps.Config{}
		c.Add(apps.App{Name: name, Domain: name + ".example.org", Current: apps.Placeholder(m)})
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok := catalog.Manifest("../catalog"); ok || !slices.Contains(names, "gitea") {
		t.Errorf("got %v", names)
	}
}
