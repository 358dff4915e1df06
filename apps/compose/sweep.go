package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/platformd/platformd/proxy/field"
)

// topLevel says what becomes of what is not in a service.
func (im *importer) topLevel() {
	for _, key := range slices.Sorted(maps.Keys(im.model)) {
		switch {
		case key == "networks":
			im.changed(key, "an app has a network of its own, with its addons and nobody else in it")
		case key == "volumes":
			all, _ := im.model[key].(map[string]any)
			for _, n := range slices.Sorted(maps.Keys(all)) {
				im.topVolume(key+"."+n, n, all[n])
			}
			if len(all) == 0 {
				im.taken(key)
			}
		case key == "secrets" || key == "configs":
			im.left(key, "%s", reasons()[key])
		case strings.HasPrefix(key, "x-"):
			im.say(Taken, key, "holds what other parts of the file refer to")
		}
	}
}

func (im *importer) topVolume(at, name string, raw any) {
	opts, _ := raw.(map[string]any)
	_, external := opts["external"]
	switch used := im.volumes[name]; {
	case used == "":
		im.left(at, "is used by no service that is imported")
	case external:
		im.changed(at, "begins empty; copy what is in the volume that exists into the app's folder")
	case opts["driver_opts"] != nil || opts["driver"] != nil && opts["driver"] != "local":
		im.left(at, "data is in a folder of the host, and begins empty; what its driver would mount is not")
	default:
		im.say(Taken, at, "%s", used)
	}
}

// sweep finds what nobody looked at.
func (im *importer) sweep() {
	known := map[string]bool{}
	for _, l := range im.lines {
		known[l.Path] = true
	}
	delete(known, service(im.app.Name)) // a remark on the service is not a word on its keys
	walk(im.model, "", func(leaf string) {
		for p := leaf; p != ""; p = above(p) {
			if known[p] {
				return
			}
		}
		im.left(leaf, "is not known to this import")
	})
}

// above is the path of what a path is in.
func above(p string) string {
	i := strings.LastIndexAny(p, ".[")
	if strings.HasSuffix(p, `"]`) {
		i = strings.LastIndex(p, `["`)
	}
	return p[:max(i, 0)]
}

// walk calls leaf for the path of every scalar, and of every list and mapping with nothing in it.
func walk(v any, at string, leaf func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			walk(v[k], field.Key(at, k), leaf)
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for i := range v {
			walk(v[i], field.Index(at, i), leaf)
		}
		if len(v) > 0 {
			return
		}
	}
	leaf(at)
}

// unset leaves out what refers to variables that have no value.
func (im *importer) unset() {
	for _, k := range slices.Sorted(maps.Keys(im.m.Env)) {
		if v := im.m.Env[k]; strings.Contains(v, openUnset) {
			delete(im.m.Env, k)
			im.left(field.Key(service(im.app.Name)+".environment", k), "needs a variable that has no value: %s; give it with --set NAME=VALUE or --env-file", strings.Join(unsetIn(v), ", "))
		}
	}
	for what, list := range map[string][]string{"command": im.m.Command, "entrypoint": im.m.Entrypoint, "image": {im.m.Image}} {
		for i, v := range list {
			if strings.Contains(v, openUnset) {
				im.left(service(im.app.Name)+"."+what, "needs a variable that has no value: %s; give it with --set NAME=VALUE or --env-file", strings.Join(unsetIn(v), ", "))
				list[i] = blank(v)
			}
		}
		if what == "image" {
			im.m.Image = list[0]
		}
	}
}

func unsetIn(v string) (out []string) {
	for {
		_, after, found := strings.Cut(v, openUnset)
		name, rest, whole := strings.Cut(after, closeUnset)
		if !found || !whole {
			return out
		}
		out, v = append(out, fmt.Sprintf("${%s}", name)), rest
	}
}

// blank is a text with nothing in the place of variables without a value, as Compose has it.
func blank(v string) string {
	for _, name := range unsetIn(v) {
		v = strings.ReplaceAll(v, openUnset+name[2:len(name)-1]+closeUnset, "")
	}
	return v
}
