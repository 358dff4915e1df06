package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/platformd/platformd/internal/api/wire"
)

// done is the answer of routes that have nothing to say.
type done struct {
	Done bool `json:"done"`
}

func (s *server) banRoutes() {
	route(s, http.MethodGet, "/bans", "list-bans", "The banned sources", func(ctx context.Context, _ *none) ([]Ban, error) {
		out, err := s.host.Bans(ctx)
		return list(out), err
	})
	route(s, http.MethodDelete, "/bans", "remove-bans", "Lift the bans of addresses", func(ctx context.Context, in *struct {
		Targets []string `query:"target,explode" required:"true" doc:"May be given several times."`
	}) (done, error) {
		var errs []error
		parseTargets(in.Targets, &errs)
		if err := invalid(errs); err != nil {
			return done{}, err
		}
		return done{true}, each(in.Targets, func(t string) error { return s.host.Unban(ctx, callerOf(ctx), t) })
	})
	route(s, http.MethodPost, "/strikes", "report-strike", "Report a source that misbehaved; enough strikes make a ban", func(ctx context.Context, in *struct{ Body wire.StrikeRequest }) (done, error) {
		return done{true}, s.strike(ctx, in.Body)
	})
}

func (s *server) strike(ctx context.Context, b wire.StrikeRequest) error {
	var errs []error
	a, err := parseAddress(b.Source)
	if err != nil {
		errs = append(errs, err)
	}
	if b.Reason == "" || len(b.Reason) > 32 {
		errs = append(errs, errors.New("reason: is 1 to 32 letters that say what kind of misbehaviour it is, such as login"))
	}
	if len(b.Detail) > 256 {
		errs = append(errs, fmt.Errorf("detail: %d bytes; at most 256", len(b.Detail)))
	}
	if err := invalid(errs); err != nil {
		return err
	}
	return s.host.Strike(ctx, callerOf(ctx), a, b.Reason, b.Detail)
}
