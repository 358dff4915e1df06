package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/proxy"
)

type streamInput struct {
	Options
	wire.StreamOptions
	Body proxy.Stream
}

func (s *server) streamRoutes() {
	route(s, http.MethodGet, "/streams", "list-streams", "The streams of the proxy", func(ctx context.Context, _ *none) ([]proxy.Stream, error) {
		st, _, err := s.host.Document(ctx)
		return list(st.Proxy.Streams), err
	})
	route(s, http.MethodPut, "/streams", "add-stream", "Add a stream, or replace one, or add to its names", s.addStream)
	route(s, http.MethodDelete, "/streams", "remove-streams", "Remove streams, by port and protocol", s.removeStreams)
}

func (s *server) addStream(ctx context.Context, in *streamInput) (ChangeResult, error) {
	x := in.Body
	key := x.Key()
	err := x.Validate()
	if in.Join && in.Replace {
		err = fmt.Errorf("join and replace exclude each other: a stream is either kept or replaced")
	}
	if err != nil {
		return ChangeResult{}, &objectError{key, fmt.Errorf("%w: %w", ErrInvalid, err)}
	}
	return s.change(ctx, in.Options, wish{action: activity.StreamAdded, object: key, summary: "stream " + key + " to " + leadsTo(&x), edit: func(st *state.State) error {
		old, there := st.Proxy.Stream(key)
		switch {
		case in.Join && !there:
			return fmt.Errorf("stream %q: %w, so there is nothing to join; platformctl stream list shows them", key, ErrNotFound)
		case in.Join && (old.Mode != x.Mode || len(x.Names) == 0):
			return fmt.Errorf("%w: stream %q: only names can join it, and those of its mode, %q", ErrInvalid, key, old.Mode)
		case in.Join:
			old.Names = slices.Clone(old.Names)
			for _, n := range x.Names {
				if n.Backend == nil {
					n.Backend = x.Backend
				}
				old.Names = slices.DeleteFunc(old.Names, func(o proxy.StreamName) bool { return o.Name == n.Name })
				old.Names = append(old.Names, n)
			}
			x = old
		case there && !in.Replace && leadsTo(&old) != leadsTo(&x):
			return exists{fmt.Errorf("stream %q: leads to %s already; remove it first, or use --replace", key, leadsTo(&old))}
		}
		st.Proxy.AddStream(x)
		return nil
	}})
}

// leadsTo names all back ends of a stream.
func leadsTo(x *proxy.Stream) string {
	var out []string
	if x.Backend != nil {
		for _, s := range x.Backend.Servers {
			out = append(out, s.URL)
		}
	}
	for _, n := range x.Names {
		to := n.Name
		if n.Backend != nil {
			for _, s := range n.Backend.Servers {
				to += " " + s.URL
			}
		}
		out = append(out, to)
	}
	return strings.Join(out, ", ")
}

func (s *server) removeStreams(ctx context.Context, in *namesInput) (ChangeResult, error) {
	object := several(in.Names)
	return s.change(ctx, in.Options, wish{action: activity.StreamRemoved, object: object, summary: "remove stream " + object, edit: func(st *state.State) error {
		return each(in.Names, func(name string) error {
			if !st.Proxy.RemoveStream(name) {
				return fmt.Errorf("stream %q: %w; platformctl stream list shows them", name, ErrNotFound)
			}
			return nil
		})
	}})
}
