package apps

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/platformd/platformd/proxy/field"
)

// AddonKinds are the addons that a manifest can name.
func AddonKinds() []string {
	return []string{"localstorage", "mariadb", "postgresql", "redis", "scheduler"}
}

// addonVariables are what an addon provides to the environment of an app.
func addonVariables(kind string) []string {
	switch kind {
	case "postgresql", "mariadb":
		return []string{"host", "port", "database", "user", "password", "url"}
	case "redis":
		return []string{"host", "port", "password", "url"}
	}
	return nil
}

var extensionForm = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}$`)

func (m *Manifest) validateAddons(e *field.Errors) {
	for _, kind := range slices.Sorted(maps.Keys(m.Addons)) {
		at, a := field.Key("addons", kind), m.Addons[kind]
		if !slices.Contains(AddonKinds(), kind) {
			e.Add(at, "is not known; there are %s", strings.Join(AddonKinds(), ", "))
			continue
		}
		if a.Version != "" && (len(a.Version) > 8 || strings.Trim(a.Version, "0123456789.") != "") {
			e.Add(at+".version", "%q is not a version; write for example 15", a.Version)
		}
		if len(a.Extensions) > 0 && kind != "postgresql" {
			e.Add(at+".extensions", "are for postgresql")
		}
		for i, x := range a.Extensions {
			if !extensionForm.MatchString(x) {
				e.Add(field.Index(at+".extensions", i), "%q is not the name of an extension", x)
			}
		}
		if a.Memory != 0 && kind != "redis" {
			e.Add(at+".memory", "is for redis; the servers of databases are shared by all apps")
		}
	}
}
