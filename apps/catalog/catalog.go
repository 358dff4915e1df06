// Package catalog holds manifests of well-known apps, so that `platformctl app install NAME` needs no file.
//
// The model in words. Each manifest is a file of this package, named for its id, and goes the same way as one that somebody
// writes: nothing is allowed to an app because it is listed here. Images are named by the tag of a release; which content
// that was is known by its digest once the app is installed. A digest stands here only where it is known for sure.
//
// It reads no file of the host and no network, and knows nothing of how manifests are decoded.
package catalog

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed manifests/*.yaml
var files embed.FS

// Names are the ids of the manifests, sorted.
func Names() []string {
	entries, err := fs.ReadDir(files, "manifests")
	if err != nil {
		panic(err) // it is part of the program
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return out
}

// Manifest is the text of one, as YAML; ok is false where there is none of this name.
func Manifest(name string) (text []byte, ok bool) {
	data, err := files.ReadFile("manifests/" + name + ".yaml")
	return data, err == nil
}
