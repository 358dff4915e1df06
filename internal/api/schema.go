package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/apps"
)

// ManifestSchema is the JSON Schema of an app's manifest, for editors and for those who write one.
func ManifestSchema() ([]byte, error) {
	registry := huma.NewMapRegistry("#/$defs/", huma.DefaultSchemaNamer)
	registry.Schema(reflect.TypeFor[apps.Manifest](), true, "Manifest")
	return json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "Manifest of an app for platformd",
		"$ref":    "#/$defs/Manifest",
		"$defs":   registry.Map(),
	}, "", "  ")
}
