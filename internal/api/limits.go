package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/ratelimit"
)

type limitInput struct {
	Options
	Name string `path:"name" doc:"A limit class, or syn."`
	Body wire.LimitRequest
}

type limitName struct {
	Options
	Name string `path:"name" doc:"A limit class, or syn."`
}

func (s *server) limitRoutes() {
	route(s, http.MethodGet, "/limits", "list-limits", "The limit classes", func(ctx context.Context, _ *none) ([]LimitStatus, error) {
		out, err := s.host.Limits(ctx)
		return list(out), err
	})
	route(s, http.MethodPut, "/limits/{name}", "set-limit", "Set a limit class, or make a new one", func(ctx context.Context, in *limitInput) (ChangeResult, error) {
		if _, err := ratelimit.Parse(in.Body.Limit); err != nil {
			return ChangeResult{}, invalid([]error{err})
		}
		return s.change(ctx, in.Options, wish{action: activity.LimitChanged, object: in.Name, summary: fmt.Sprintf("set limit %s to %s", in.Name, in.Body.Limit),
			edit: func(st *state.State) error { return st.Firewall.SetLimit(in.Name, in.Body.Limit) }})
	})
	route(s, http.MethodDelete, "/limits/{name}", "reset-limit", "Set a limit class back to its default, or remove one of your own", s.resetLimit)
}

func (s *server) resetLimit(ctx context.Context, in *limitName) (ChangeResult, error) {
	classes, err := s.host.Limits(ctx)
	if err != nil {
		return ChangeResult{}, err
	}
	known := false
	for _, c := range classes {
		known = known || c.Name == in.Name
	}
	if !known {
		return ChangeResult{}, &objectError{in.Name, fmt.Errorf("limit class %q: %w; platformctl limits list shows them", in.Name, ErrNotFound)}
	}
	return s.change(ctx, in.Options, wish{action: activity.LimitChanged, object: in.Name, summary: "reset limit " + in.Name,
		edit: func(st *state.State) error {
			if in.Name == "syn" {
				st.Firewall.SYN = ratelimit.Limit{}
			}
			delete(st.Firewall.Limits, in.Name)
			return nil
		}})
}
