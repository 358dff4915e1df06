package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
)

func (s *server) feedRoutes() {
	route(s, http.MethodGet, "/feeds", "list-feeds", "The feeds and what is known of their last good copies", func(ctx context.Context, _ *none) ([]FeedStatus, error) {
		out, err := s.host.Feeds(ctx)
		return list(out), err
	})
	route(s, http.MethodGet, "/feeds/presets", "list-presets", "Feeds that are known by name", func(context.Context, *none) ([]Preset, error) {
		return list(s.host.Presets()), nil
	})
	route(s, http.MethodPost, "/feeds", "add-feed", "Add a feed; a name alone takes the preset of that name", func(ctx context.Context, in *struct {
		Options
		Body wire.FeedRequest
	}) (ChangeResult, error) {
		return s.addFeed(ctx, in.Options, in.Body)
	})
	route(s, http.MethodDelete, "/feeds", "remove-feeds", "Remove feeds", func(ctx context.Context, in *namesInput) (ChangeResult, error) {
		object := strings.Join(in.Names, ", ")
		return s.change(ctx, in.Options, wish{action: activity.FeedRemoved, object: object, summary: "remove feed " + object,
			edit: func(st *state.State) error { return each(in.Names, st.Firewall.RemoveFeed) }})
	})
	route(s, http.MethodPost, "/feeds/update", "update-feeds", "Fetch feeds now", func(ctx context.Context, in *struct{ Body wire.FeedUpdateRequest }) ([]FeedStatus, error) {
		out, err := s.host.UpdateFeeds(ctx, callerOf(ctx), in.Body.Names, in.Body.Force)
		return list(out), err
	})
}

func (s *server) addFeed(ctx context.Context, o Options, b wire.FeedRequest) (ChangeResult, error) {
	var errs []error
	f := firewall.Feed{Name: b.Name, Source: b.Source, Format: b.Format, MinRanges: b.MinRanges, MaxRanges: b.MaxRanges, Disabled: b.Disabled}
	if b.Every != "" {
		d, err := wire.ParseDuration(b.Every)
		if err != nil {
			errs = append(errs, err)
		}
		f.Every = firewall.Duration(d)
	}
	if b.Source == "" {
		preset, ok := s.preset(b.Name)
		if !ok {
			errs = append(errs, fmt.Errorf("feed %q: is not the name of a preset; name its URL or file, or see: platformctl feeds presets", b.Name))
		}
		f = overlay(preset, f)
	}
	if err := invalid(errs); err != nil {
		return ChangeResult{}, err
	}
	return s.change(ctx, o, wish{action: activity.FeedAdded, object: f.Name, summary: fmt.Sprintf("add feed %s from %s", f.Name, f.Source),
		edit: func(st *state.State) error {
			if err := st.Firewall.AddFeed(f); err != nil {
				return exists{err}
			}
			return nil
		}})
}

func (s *server) preset(name string) (firewall.Feed, bool) {
	for _, p := range s.host.Presets() {
		if p.Name == name {
			return p.Feed, true
		}
	}
	return firewall.Feed{}, false
}

// overlay is a preset with what the caller said otherwise.
func overlay(f, by firewall.Feed) firewall.Feed {
	if by.Format != "" {
		f.Format = by.Format
	}
	if by.Every != 0 {
		f.Every = by.Every
	}
	if by.MinRanges != 0 {
		f.MinRanges = by.MinRanges
	}
	if by.MaxRanges != 0 {
		f.MaxRanges = by.MaxRanges
	}
	f.Disabled = by.Disabled
	return f
}
