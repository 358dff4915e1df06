package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/document"
	"github.com/platformd/platformd/internal/state"
)

// The types of apps under the names that the host knows them by.
type (
	App      = wire.App
	AppPort  = wire.AppPort
	AppEvent = wire.AppEvent
)

// AppHost is the part of Host that keeps apps.
type AppHost interface {
	Apps(ctx context.Context) ([]App, error)
	// PrepareApp makes what must be there before the document may name it: it finds or fetches the image, and says what a
	// first version is.
	PrepareApp(ctx context.Context, name string, m apps.Manifest) (apps.Version, error)
	// FollowApp calls send for the events of an app behind a number, and for those that come.
	FollowApp(ctx context.Context, name string, after int64, send func(AppEvent) error) error
	LastAppEvent() int64
	AppLogs(ctx context.Context, name string, tail int, follow bool, send func(line string) error) error
	// ForgetApp waits until an app that is not in the document any more is gone, and removes its data and secrets.
	ForgetApp(ctx context.Context, name string) error
}

type appInput struct {
	Name string `path:"name" doc:"The name of an app."`
	Options
}

type installInput struct {
	Options
	Name    string `query:"name" doc:"What it is called here; empty is the manifest's id."`
	Domain  string `query:"domain" doc:"The host name that it is reached by."`
	File    string `query:"file" doc:"The name of the file, for messages about its lines."`
	RawBody []byte `contentType:"application/yaml"`
}

type updateInput struct {
	Name string `path:"name" doc:"The name of an app."`
	Options
	File    string `query:"file" doc:"The name of the file, for messages about its lines."`
	RawBody []byte `contentType:"application/yaml"`
}

func (s *server) appRoutes() {
	large := func(op *huma.Operation) { op.MaxBodyBytes = maxDocument }
	route(s, http.MethodGet, "/apps", "list-apps", "The apps of this host", func(ctx context.Context, _ *none) ([]App, error) {
		out, err := s.host.Apps(ctx)
		return list(out), err
	})
	route(s, http.MethodGet, "/apps/{name}", "get-app", "One app", func(ctx context.Context, in *struct {
		Name string `path:"name"`
	}) (App, error) {
		return s.app(ctx, in.Name)
	})
	route(s, http.MethodPost, "/apps", "install-app", "Install an app from its manifest, YAML or JSON", s.installApp, large)
	route(s, http.MethodPost, "/apps/{name}/update", "update-app", "Update an app to another manifest", s.updateApp, large)
	route(s, http.MethodPost, "/apps/{name}/rollback", "rollback-app", "Go back to the version before, and to its data", s.rollbackApp)
	route(s, http.MethodPatch, "/apps/{name}", "configure-app", "Change domain, environment, limits, ports or egress of an app", s.configureApp)
	for verb, do := range map[string]func(*apps.App) (activity.Action, string){
		"start": func(a *apps.App) (activity.Action, string) {
			a.Start()
			return activity.AppStarted, "start app "
		},
		"stop": func(a *apps.App) (activity.Action, string) { a.Stopped = true; return activity.AppStopped, "stop app " },
		"restart": func(a *apps.App) (activity.Action, string) {
			a.Start()
			a.Starts++
			return activity.AppStarted, "restart app "
		},
	} {
		route(s, http.MethodPost, "/apps/{name}/"+verb, verb+"-app", "Have an app "+verb, func(ctx context.Context, in *appInput) (ChangeResult, error) {
			action, text := do(&apps.App{})
			return s.changeApp(ctx, in.Options, in.Name, action, text+in.Name, func(_ *apps.Config, a *apps.App) error { do(a); return nil })
		})
	}
	route(s, http.MethodDelete, "/apps/{name}", "uninstall-app", "Remove an app; its data stays unless asked for", s.uninstallApp)
	stream(s, "/apps/{name}/events", "follow-app", "What happens to an app: steps of long work, and new states", func(ctx context.Context, in *struct {
		Name  string `path:"name" doc:"The name of an app; it need not be installed yet."`
		After int64  `query:"after" doc:"Only events with a higher number; -1 is those that come."`
	}, send func(int64, AppEvent) error) error {
		after := in.After
		if after < 0 {
			after = s.host.LastAppEvent()
		}
		return s.host.FollowApp(ctx, in.Name, after, func(e AppEvent) error { return send(e.Seq, e) })
	})
	stream(s, "/apps/{name}/logs", "read-app-logs", "What an app wrote", func(ctx context.Context, in *struct {
		Name   string `path:"name"`
		Tail   int    `query:"tail" minimum:"0" maximum:"100000" default:"100" doc:"How many of the last lines."`
		Follow bool   `query:"follow" doc:"Go on with those that come."`
	}, send func(int64, wire.AppLine) error) error {
		seq := int64(0)
		return s.host.AppLogs(ctx, in.Name, in.Tail, in.Follow, func(line string) error {
			seq++
			return send(seq, wire.AppLine{Line: line})
		})
	})
}

func (s *server) app(ctx context.Context, name string) (App, error) {
	all, err := s.host.Apps(ctx)
	if err != nil {
		return App{}, err
	}
	for _, a := range all {
		if a.Name == name {
			return a, nil
		}
	}
	return App{}, &objectError{name, noApp(name)}
}

func noApp(name string) error {
	return fmt.Errorf("app %q: %w; platformctl app list shows them", name, ErrNotFound)
}

// manifest reads and checks a manifest; its mistakes have their lines.
func manifest(body []byte, file string) (apps.Manifest, error) {
	var m apps.Manifest
	if err := document.Decode(body, file, &m); err != nil {
		return m, err
	}
	return m, document.Place(m.Validate(), body, file)
}

// changeApp sends a change of one app through the gate.
func (s *server) changeApp(ctx context.Context, o Options, name string, action activity.Action, summary string, edit func(*apps.Config, *apps.App) error) (ChangeResult, error) {
	return s.change(ctx, o, wish{action: action, object: name, summary: summary, edit: func(st *state.State) error {
		a, there := st.Apps.App(name)
		if !there {
			return noApp(name)
		}
		if err := edit(&st.Apps, a); err != nil {
			return exists{err}
		}
		if err := a.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, apps.MistakeIn(name, err))
		}
		return nil
	}})
}

func (s *server) installApp(ctx context.Context, in *installInput) (ChangeResult, error) {
	m, err := manifest(in.RawBody, in.File)
	if err != nil {
		return ChangeResult{}, err
	}
	name := in.Name
	if name == "" {
		name = m.ID
	}
	st, _, err := s.host.Document(ctx)
	if err != nil {
		return ChangeResult{}, err
	}
	// Whatever can be said at once is said before an image is fetched.
	trial := apps.App{Name: name, Domain: in.Domain, Current: apps.Placeholder(m)}
	if err := install(&st.Apps, trial); err != nil {
		return ChangeResult{}, &objectError{name, err}
	}
	if err := trial.Validate(); err != nil {
		return ChangeResult{}, &objectError{name, fmt.Errorf("%w: %w", ErrInvalid, apps.MistakeIn(name, err))}
	}
	if err := st.Apps.Validate(); err != nil {
		return ChangeResult{}, &objectError{name, fmt.Errorf("%w: %w", ErrInvalid, err)}
	}
	if !in.DryRun {
		if trial.Current, err = s.host.PrepareApp(ctx, name, m); err != nil {
			return ChangeResult{}, &objectError{name, err}
		}
	}
	return s.change(ctx, in.Options, wish{action: activity.AppInstalled, object: name, summary: "install app " + name, edit: func(st *state.State) error {
		return install(&st.Apps, trial)
	}})
}

func install(c *apps.Config, a apps.App) error {
	if old, there := c.App(a.Name); there {
		if old.Domain == a.Domain && reflect.DeepEqual(old.Current.Manifest, a.Current.Manifest) {
			return nil
		}
		return exists{fmt.Errorf("app %q: is installed already; choose another --name, or update it: platformctl app update %s FILE", a.Name, a.Name)}
	}
	c.Add(a)
	return nil
}

func (s *server) updateApp(ctx context.Context, in *updateInput) (ChangeResult, error) {
	m, err := manifest(in.RawBody, in.File)
	if err != nil {
		return ChangeResult{}, err
	}
	if _, err := s.app(ctx, in.Name); err != nil {
		return ChangeResult{}, err
	}
	v := apps.Placeholder(m)
	if !in.DryRun {
		if v, err = s.host.PrepareApp(ctx, in.Name, m); err != nil {
			return ChangeResult{}, &objectError{in.Name, err}
		}
	}
	return s.changeApp(ctx, in.Options, in.Name, activity.AppUpdateStarted, "update app "+in.Name+" to "+v.Name(), func(_ *apps.Config, a *apps.App) error {
		return a.Update(v)
	})
}

func (s *server) rollbackApp(ctx context.Context, in *struct {
	Name string `path:"name" doc:"The name of an app."`
	Options
	KeepData bool `query:"keep_data" doc:"Only the software goes back; it runs on a copy of the data of now."`
}) (ChangeResult, error) {
	return s.changeApp(ctx, in.Options, in.Name, activity.AppUpdateStarted, "roll app "+in.Name+" back", func(_ *apps.Config, a *apps.App) error {
		return a.Rollback(in.KeepData)
	})
}

func (s *server) configureApp(ctx context.Context, in *struct {
	Name string `path:"name" doc:"The name of an app."`
	Options
	Body wire.AppConfigure
}) (ChangeResult, error) {
	return s.changeApp(ctx, in.Options, in.Name, activity.AppChanged, "configure app "+in.Name, func(_ *apps.Config, a *apps.App) error {
		b := in.Body
		if b.Domain != nil {
			a.Domain = *b.Domain
		}
		if b.Limits != nil {
			a.Limits = b.Limits.Over(a.Limits)
		}
		if b.Egress != nil {
			a.Egress = b.Egress
		}
		a.SetEnv(b.Env)
		a.SetPorts(b.Ports)
		return nil
	})
}

func (s *server) uninstallApp(ctx context.Context, in *struct {
	Name string `path:"name" doc:"The name of an app."`
	Options
	Data bool `query:"data" doc:"Remove its data and secrets too."`
}) (ChangeResult, error) {
	r, err := s.change(ctx, in.Options, wish{action: activity.AppRemoved, object: in.Name, summary: "uninstall app " + in.Name, edit: func(st *state.State) error {
		if !st.Apps.Remove(in.Name) {
			return noApp(in.Name)
		}
		return nil
	}})
	if err != nil || !in.Data || in.DryRun {
		return r, err
	}
	return r, s.host.ForgetApp(ctx, in.Name)
}
