package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/proxy/upstream"
)

type upstreamInput struct {
	Options
	Replace bool `query:"replace" doc:"Put it in the place of a group with the same name."`
	Body    upstream.Group
}

type upstreamEdit struct {
	Options
	Name string `path:"name"`
	Body upstream.Edit
}

func (s *server) upstreamRoutes() {
	route(s, http.MethodGet, "/upstreams", "list-upstreams", "The groups of back ends, and how their servers are", func(ctx context.Context, _ *none) ([]wire.Upstream, error) {
		out, err := s.upstreams(ctx, "")
		return list(out), err
	})
	route(s, http.MethodGet, "/upstreams/{name}", "get-upstream", "A group of back ends, and how its servers are", func(ctx context.Context, in *struct {
		Name string `path:"name"`
	}) (wire.Upstream, error) {
		out, err := s.upstreams(ctx, in.Name)
		if err == nil && len(out) == 0 {
			return wire.Upstream{}, &objectError{in.Name, noUpstream(in.Name)}
		}
		if err != nil {
			return wire.Upstream{}, err
		}
		return out[0], nil
	})
	route(s, http.MethodPut, "/upstreams", "add-upstream", "Add a group of back ends, or replace one", s.addUpstream)
	route(s, http.MethodPatch, "/upstreams/{name}", "edit-upstream", "Change a group of back ends", s.editUpstream)
	route(s, http.MethodDelete, "/upstreams", "remove-upstreams", "Remove groups of back ends", s.removeUpstreams)
}

func noUpstream(name string) error {
	return fmt.Errorf("upstream %q: %w; platformctl upstream list shows them", name, ErrNotFound)
}

// upstreams are the groups of the document, or the one that is named.
func (s *server) upstreams(ctx context.Context, name string) ([]wire.Upstream, error) {
	st, _, err := s.host.Document(ctx)
	if err != nil {
		return nil, err
	}
	status, err := s.host.Upstreams(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []wire.Upstream
	for _, g := range st.Proxy.Upstreams {
		if name != "" && g.Name != name {
			continue
		}
		of := slices.DeleteFunc(slices.Clone(status), func(x upstream.Status) bool { return x.Group != g.Name })
		out = append(out, wire.Upstream{Group: g, Routes: list(st.Proxy.RoutesTo(g.Name)), Status: list(of)})
	}
	return out, nil
}

func (s *server) addUpstream(ctx context.Context, in *upstreamInput) (ChangeResult, error) {
	g := in.Body
	if err := g.Validate(); err != nil {
		return ChangeResult{}, &objectError{g.Name, fmt.Errorf("%w: %w", ErrInvalid, err)}
	}
	summary := fmt.Sprintf("add upstream %s of %d server(s)", g.Name, len(g.Servers))
	return s.change(ctx, in.Options, wish{action: activity.UpstreamAdded, object: g.Name, summary: summary, edit: func(st *state.State) error {
		old, there := st.Proxy.Upstream(g.Name)
		switch {
		case there && !in.Replace:
			return exists{fmt.Errorf("upstream %q: is there already; change it with upstream edit, or use --replace", g.Name)}
		case there:
			*old = g
		default:
			st.Proxy.Upstreams = append(st.Proxy.Upstreams, g)
		}
		return nil
	}})
}

func (s *server) editUpstream(ctx context.Context, in *upstreamEdit) (ChangeResult, error) {
	return s.change(ctx, in.Options, wish{action: activity.UpstreamChanged, object: in.Name, summary: "change upstream " + in.Name, edit: func(st *state.State) error {
		g, there := st.Proxy.Upstream(in.Name)
		if !there {
			return noUpstream(in.Name)
		}
		if err := g.Edit(in.Body); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return nil
	}})
}

func (s *server) removeUpstreams(ctx context.Context, in *namesInput) (ChangeResult, error) {
	object := several(in.Names)
	return s.change(ctx, in.Options, wish{action: activity.UpstreamRemoved, object: object, summary: "remove upstream " + object, edit: func(st *state.State) error {
		return each(in.Names, func(name string) error {
			there, err := st.Proxy.RemoveUpstream(name)
			switch {
			case !there:
				return noUpstream(name)
			case err != nil:
				return fmt.Errorf("%w: %w", ErrInvalid, err)
			}
			return nil
		})
	}})
}
