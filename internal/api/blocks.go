package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
)

type targetsInput struct {
	Options
	Targets []string `query:"target,explode" required:"true" doc:"May be given several times."`
}

func (s *server) blockRoutes() {
	route(s, http.MethodGet, "/blocks", "list-blocks", "The blocks in force", func(ctx context.Context, _ *none) ([]firewall.Block, error) {
		st, _, err := s.host.Document(ctx)
		st.Firewall.DropEnded(s.cfg.Now())
		return list(st.Firewall.Blocks), err
	})
	route(s, http.MethodPost, "/blocks", "add-blocks", "Block addresses, all in one revision, and end their connections", func(ctx context.Context, in *struct {
		Options
		Body wire.BlockRequest
	}) (ChangeResult, error) {
		return s.block(ctx, in.Options, in.Body)
	})
	route(s, http.MethodDelete, "/blocks", "remove-blocks", "Take addresses out of every block", s.unblock)
}

func (s *server) block(ctx context.Context, o Options, b wire.BlockRequest) (ChangeResult, error) {
	var errs []error
	now := s.cfg.Now().Round(0).UTC()
	targets := parseTargets(b.Targets, &errs)
	if len(b.Targets) == 0 {
		errs = append(errs, errors.New("targets: name at least one, such as 192.0.2.1 or 192.0.2.0/24"))
	}
	var until time.Time
	if b.For != "" {
		d, err := wire.ParseDuration(b.For)
		if err != nil {
			errs = append(errs, err)
		}
		until = now.Add(d)
	}
	if err := invalid(errs); err != nil {
		return ChangeResult{}, err
	}
	summary := "block " + several(b.Targets)
	if b.For != "" {
		summary += " for " + b.For
	}
	if b.Reason != "" {
		summary += ": " + b.Reason
	}
	by := callerOf(ctx).Actor
	return s.change(ctx, o, wish{action: activity.AddressBlocked, object: strings.Join(b.Targets, " "), summary: summary, cut: targets,
		edit: func(st *state.State) error {
			for _, t := range targets {
				if !blockedAlready(st.Firewall.Blocks, t, b.Reason, until) {
					st.Firewall.AddBlock(firewall.Block{Target: t, Reason: b.Reason, Since: now, Until: until, By: by})
				}
			}
			return nil
		}})
}

// blockedAlready reports whether the same block is there, so that asking twice keeps who asked first and since when.
func blockedAlready(blocks []firewall.Block, t ranges.Range, reason string, until time.Time) bool {
	return slices.ContainsFunc(blocks, func(b firewall.Block) bool {
		return b.Target == t && (b.Reason == reason || reason == "") && b.Until.IsZero() && until.IsZero()
	})
}

func (s *server) unblock(ctx context.Context, in *targetsInput) (ChangeResult, error) {
	var errs []error
	targets := parseTargets(in.Targets, &errs)
	if err := invalid(errs); err != nil {
		return ChangeResult{}, err
	}
	return s.change(ctx, in.Options, wish{action: activity.AddressUnblocked, object: strings.Join(in.Targets, " "), summary: "unblock " + several(in.Targets),
		edit: func(st *state.State) error {
			st.Firewall.DropEnded(s.cfg.Now())
			return each(targets, func(t ranges.Range) error {
				_, err := st.Firewall.RemoveBlock(t)
				return err
			})
		}})
}

func (s *server) allowRoutes() {
	route(s, http.MethodGet, "/allow", "list-allowed", "The always-allow list", func(ctx context.Context, _ *none) ([]firewall.Allow, error) {
		st, _, err := s.host.Document(ctx)
		return list(st.Firewall.Allow), err
	})
	route(s, http.MethodPost, "/allow", "add-allowed", "Put addresses on the always-allow list", func(ctx context.Context, in *struct {
		Options
		Body wire.AllowRequest
	}) (ChangeResult, error) {
		return s.allow(ctx, in.Options, in.Body)
	})
	route(s, http.MethodDelete, "/allow", "remove-allowed", "Take addresses off the always-allow list", func(ctx context.Context, in *targetsInput) (ChangeResult, error) {
		var errs []error
		targets := parseTargets(in.Targets, &errs)
		if err := invalid(errs); err != nil {
			return ChangeResult{}, err
		}
		return s.change(ctx, in.Options, wish{action: activity.AddressDisallowed, object: strings.Join(in.Targets, " "), summary: "no longer always allow " + several(in.Targets),
			edit: func(st *state.State) error { return each(targets, st.Firewall.RemoveAllow) }})
	})
}

func (s *server) allow(ctx context.Context, o Options, b wire.AllowRequest) (ChangeResult, error) {
	var errs []error
	targets := parseTargets(b.Targets, &errs)
	if len(b.Targets) == 0 {
		errs = append(errs, errors.New("targets: name at least one, such as 192.0.2.1 or 192.0.2.0/24"))
	}
	if err := invalid(errs); err != nil {
		return ChangeResult{}, err
	}
	return s.change(ctx, o, wish{action: activity.AddressAllowed, object: strings.Join(b.Targets, " "), summary: "always allow " + several(b.Targets),
		edit: func(st *state.State) error {
			for _, t := range targets {
				st.Firewall.AddAllow(firewall.Allow{Target: t, Comment: b.Comment})
			}
			return nil
		}})
}
