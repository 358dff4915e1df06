package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
)

// AppLifeHost is the part of Host for what is done to apps beside installing and updating them.
type AppLifeHost interface {
	Catalog(ctx context.Context) ([]wire.CatalogApp, error)
	// PlanApp says what a manifest would change, or without one what differs from the document now. It changes nothing.
	PlanApp(ctx context.Context, name, domain string, m *apps.Manifest) (wire.AppPlan, error)
	// RepairApp removes containers, volumes and network of an app, which the keeper then makes anew. Data stays.
	RepairApp(ctx context.Context, name string) error
	// CloneData copies the data of an app for another one that is not installed yet; undo removes the copy.
	CloneData(ctx context.Context, name, clone string) (undo func(), err error)
	// ExecApp runs a program in the container of an app.
	ExecApp(ctx context.Context, by Caller, name string, e Exec) (code int, err error)
	AppStats(ctx context.Context, name string) ([]wire.AppSample, error)
}

func (s *server) appLifeRoutes() {
	large := func(op *huma.Operation) { op.MaxBodyBytes = maxDocument }
	route(s, http.MethodGet, "/catalog", "list-catalog", "Apps that can be installed by name", func(ctx context.Context, _ *none) ([]wire.CatalogApp, error) {
		out, err := s.host.Catalog(ctx)
		return list(out), err
	})
	route(s, http.MethodGet, "/catalog/schema", "get-manifest-schema", "The JSON Schema of manifests", func(context.Context, *none) (map[string]any, error) {
		data, err := ManifestSchema()
		if err != nil {
			return nil, err
		}
		var out map[string]any
		err = json.Unmarshal(data, &out)
		return out, err
	})
	route(s, http.MethodPost, "/apps/plan", "plan-app", "What installing or updating to a manifest would change; nothing is changed", func(ctx context.Context, in *struct {
		Name    string `query:"name" doc:"What it is called here; empty is the manifest's id."`
		Domain  string `query:"domain"`
		File    string `query:"file" doc:"The name of the file, for messages about its lines."`
		RawBody []byte `contentType:"application/yaml"`
	}) (wire.AppPlan, error) {
		m, err := manifest(in.RawBody, in.File)
		if err != nil {
			return wire.AppPlan{}, err
		}
		name := in.Name
		if name == "" {
			name = m.ID
		}
		return planned(s.host.PlanApp(ctx, name, in.Domain, &m))
	}, large)
	route(s, http.MethodGet, "/apps/{name}/plan", "plan-installed-app", "What differs from the document in the container engine", func(ctx context.Context, in *struct {
		Name string `path:"name"`
	}) (wire.AppPlan, error) {
		return planned(s.host.PlanApp(ctx, in.Name, "", nil))
	})
	route(s, http.MethodPost, "/apps/{name}/repair", "repair-app", "Make network, volumes and containers of an app anew; its data stays", func(ctx context.Context, in *appInput) (ChangeResult, error) {
		if _, err := s.app(ctx, in.Name); err != nil {
			return ChangeResult{}, err
		}
		if !in.DryRun {
			if err := s.host.RepairApp(ctx, in.Name); err != nil {
				return ChangeResult{}, &objectError{in.Name, err}
			}
		}
		return s.changeApp(ctx, in.Options, in.Name, activity.AppRepaired, "repair app "+in.Name, func(_ *apps.Config, a *apps.App) error { a.Starts++; return nil })
	})
	route(s, http.MethodPost, "/apps/{name}/debug", "debug-app", "Replace the process of an app, with a writable root; start-app ends it", func(ctx context.Context, in *struct {
		Name string `path:"name" doc:"The name of an app."`
		Options
		Body wire.AppDebug
	}) (ChangeResult, error) {
		return s.changeApp(ctx, in.Options, in.Name, activity.AppDebugged, "debug app "+in.Name, func(_ *apps.Config, a *apps.App) error { return a.StartDebug(in.Body.Command) })
	})
	route(s, http.MethodPost, "/apps/{name}/clone", "clone-app", "Copy an app and its data under another name, with secrets of its own", s.cloneApp)
	route(s, http.MethodGet, "/apps/{name}/stats", "get-app-stats", "Processor, memory, network and disk of an app over the last week, oldest first", func(ctx context.Context, in *struct {
		Name string `path:"name"`
	}) ([]wire.AppSample, error) {
		if _, err := s.app(ctx, in.Name); err != nil {
			return nil, err
		}
		out, err := s.host.AppStats(ctx, in.Name)
		return list(out), err
	})
}

func planned(p wire.AppPlan, err error) (wire.AppPlan, error) {
	p.Document, p.Steps = list(p.Document), list(p.Steps)
	return p, err
}

func (s *server) cloneApp(ctx context.Context, in *struct {
	Name string `path:"name" doc:"The name of an app."`
	Options
	As     string `query:"as" required:"true" doc:"The name of the copy."`
	Domain string `query:"domain" doc:"The host name that the copy is reached by."`
}) (ChangeResult, error) {
	clone := func(st *state.State) error {
		a, there := st.Apps.App(in.Name)
		if !there {
			return noApp(in.Name)
		}
		if _, taken := st.Apps.App(in.As); taken {
			return exists{fmt.Errorf("app %q: is installed already; choose another name for the copy", in.As)}
		}
		c, err := a.Clone(in.As, in.Domain)
		if err != nil {
			return exists{err}
		}
		if err := c.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, apps.MistakeIn(in.As, err))
		}
		st.Apps.Add(c)
		return nil
	}
	st, _, err := s.host.Document(ctx)
	if err != nil {
		return ChangeResult{}, err
	}
	st.Apps.Apps = slices.Clone(st.Apps.Apps) // tried on a copy, before data is copied
	if err := clone(&st); err != nil {
		return ChangeResult{}, &objectError{in.As, err}
	}
	if err := st.Apps.Validate(); err != nil {
		return ChangeResult{}, &objectError{in.As, fmt.Errorf("%w: %w", ErrInvalid, err)}
	}
	undo := func() {}
	if !in.DryRun {
		if undo, err = s.host.CloneData(ctx, in.Name, in.As); err != nil {
			return ChangeResult{}, &objectError{in.As, err}
		}
	}
	r, err := s.change(ctx, in.Options, wish{action: activity.AppCloned, object: in.As, summary: "clone app " + in.Name + " as " + in.As, edit: clone})
	if err != nil {
		undo()
	}
	return r, err
}
