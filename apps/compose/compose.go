// Package compose turns a file for Docker Compose into a manifest, and says of every setting what became of it.
//
// The model in words. One service is the app; services that are PostgreSQL, MySQL, MariaDB or Redis become addons, and what
// the app was told about them is rewritten to what the addon provides. Every key of every service ends up in a Line: it is
// taken, it is changed (with what holds in its place), or it is left out (with the reason and the remedy). A sweep at the end
// finds what no part of the import looked at, and says that it is left out: nothing is dropped silently.
//
// Of the machine nothing is read but the text that is given: no other file, no environment, no network. The text is bounded in
// size, depth and in what its aliases expand to. What comes out is checked as every manifest is, here and again by the daemon.
package compose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/apps/compose/report"
	"github.com/platformd/platformd/proxy/field"
)

// What an import is asked for, and what it tells.
type (
	Options = report.Options
	Line    = report.Line
	Status  = report.Status
	Result  = report.Result
)

// The statuses.
const (
	Taken   = report.Taken
	Changed = report.Changed
	Left    = report.Left
)

// importer is one import under way.
type importer struct {
	o        Options
	file     *file
	model    map[string]any
	services map[string]*types.ServiceConfig
	app      *types.ServiceConfig
	addons   map[string]*addon // by service
	m        apps.Manifest
	lines    []Line
	volumes  map[string]string // volumes of the file, to what became of them
	written  map[string]string // paths of the model that are elsewhere in the file: a range of ports is one item there
}

// Import reads a compose file. An error means that there is no manifest; what cannot be taken is in the Lines.
func Import(data []byte, o Options) (*Result, error) {
	f, err := parse(data)
	if err != nil {
		return nil, err
	}
	im := &importer{o: o, file: f, addons: map[string]*addon{}, volumes: map[string]string{}, written: map[string]string{}}
	im.beforeLoading()
	if err := im.load(); err != nil {
		return nil, err
	}
	if err := im.choose(); err != nil {
		return nil, err
	}
	for _, a := range im.addons {
		a.learn()
		a.learnNames(im.app.Environment)
	}
	im.identity()
	im.httpPort()
	for _, name := range slices.Sorted(maps.Keys(im.services)) {
		s := im.services[name]
		switch {
		case s == im.app:
			im.takeApp()
		case im.addons[name] != nil:
			im.takeAddon(im.addons[name])
		default:
			im.left(service(name), "is another app; import it by itself with --service %s, under a name and a domain of its own", name)
		}
	}
	im.tellPasswords()
	im.topLevel()
	im.unset()
	im.sweep()
	if err := im.m.Validate(); err != nil {
		return nil, fmt.Errorf("the manifest of service %q would not be valid: %w", im.app.Name, err)
	}
	slices.SortStableFunc(im.lines, func(a, b Line) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Path, b.Path)
	})
	return &Result{Manifest: im.m, Service: im.app.Name, Lines: im.lines}, nil
}

func (im *importer) say(s Status, path, format string, args ...any) {
	im.lines = append(im.lines, Line{Line: im.file.line(cmp.Or(im.written[path], path)), Path: path, Status: s, Text: shown(fmt.Sprintf(format, args...))})
}

func (im *importer) taken(path string) { im.say(Taken, path, "") }
func (im *importer) changed(path, format string, args ...any) {
	im.say(Changed, path, format, args...)
}
func (im *importer) left(path, format string, args ...any) { im.say(Left, path, format, args...) }

// beforeLoading takes out what the library would read other files for.
func (im *importer) beforeLoading() {
	delete(im.file.values, "version")
	if im.file.has("version") {
		im.say(Taken, "version", "the format has no versions any more")
	}
	if _, there := im.file.values["include"]; there {
		delete(im.file.values, "include")
		im.left("include", "is another file; put what it holds into this one")
	}
	services, _ := im.file.values["services"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(services)) {
		s, _ := services[name].(map[string]any)
		from, _ := s["extends"].(map[string]any)
		if _, other := from["file"]; other {
			delete(s, "extends")
			im.left(service(name)+".extends", "leads to another file; put what it holds into this one")
		}
		// Files that fill an environment or labels are never read; the keys stay, to be told of.
		for key, what := range map[string]string{"env_file": "variables of another file; give its content under environment", "label_file": "labels are for other programs"} {
			if _, there := s[key]; there {
				delete(s, key)
				im.left(service(name)+"."+key, "%s", what)
			}
		}
	}
}

// hasDefault finds variables that may be left unset: ${NAME:-default}, ${NAME+other}.
var hasDefault = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*):?[-+]`)

// An unset variable is carried through the file between these, so that what two services share still compares.
const (
	openUnset  = "⟦"
	closeUnset = "⟧"
)

// load has the library interpolate, check and spell out the file.
func (im *importer) load() (err error) {
	optional := map[string]bool{}
	for _, m := range hasDefault.FindAllStringSubmatch(im.file.text, -1) {
		optional[m[1]] = true
	}
	missing := map[string]bool{}
	lookup := func(name string) (string, bool) {
		if v, ok := im.o.Variables[name]; ok {
			return v, true
		}
		if optional[name] {
			return "", false
		}
		missing[name] = true
		return openUnset + name + closeUnset, true
	}
	defer func() {
		// The library was not made for hostile input, and this is the only place where it meets it.
		if p := recover(); p != nil {
			err = fmt.Errorf("read the compose file: it cannot be understood (%v)", p)
		}
		if err != nil && len(missing) > 0 {
			err = fmt.Errorf("%w; variables without a value may be the cause: give them with --set NAME=VALUE or --env-file: %s", err, strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
		}
	}()
	details := types.ConfigDetails{WorkingDir: "/nowhere", ConfigFiles: []types.ConfigFile{{Filename: "compose.yml", Config: im.file.values}}, Environment: types.Mapping{}}
	im.model, err = loader.LoadModelWithContext(context.Background(), details, func(o *loader.Options) {
		o.SetProjectName("imported", true)
		o.SkipInclude, o.SkipNormalization, o.SkipResolveEnvironment, o.SkipResolveLabels, o.ResolvePaths = true, true, true, true, false
		o.Interpolate.LookupValue = lookup
	})
	if err != nil {
		return fmt.Errorf("read the compose file: %w", err)
	}
	im.services = map[string]*types.ServiceConfig{}
	all, _ := im.model["services"].(map[string]any)
	for name, raw := range all {
		s := &types.ServiceConfig{}
		if err := loader.Transform(raw, s); err != nil {
			return fmt.Errorf("read service %q: %w", name, err)
		}
		s.Name = name
		im.services[name] = s
		spellOut(raw, s)
	}
	if len(im.services) == 0 {
		return errors.New("read the compose file: it has no services")
	}
	return nil
}

// spellOut gives the environment one form, whichever it was written in.
func spellOut(raw any, s *types.ServiceConfig) {
	fields, _ := raw.(map[string]any)
	if _, isList := fields["environment"].([]any); !isList {
		return
	}
	env := map[string]any{}
	for k, v := range s.Environment {
		env[k] = v
	}
	fields["environment"] = env
}

// service is the path of one.
func service(name string) string { return field.Key("services", name) }

// shown makes a variable without a value readable.
func shown(s string) string { return strings.NewReplacer(openUnset, "${", closeUnset, "}").Replace(s) }
