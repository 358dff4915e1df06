package api

import (
	"context"
	"net/http"

	"github.com/platformd/platformd/firewall"
)

func (s *server) dropRoutes() {
	route(s, http.MethodGet, "/drops", "list-drops", "The newest refused packets, oldest first", func(ctx context.Context, in *struct {
		After uint64 `query:"after" doc:"Only packets with a higher number."`
		Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"100"`
	}) ([]Drop, error) {
		out, err := s.host.Drops(ctx, in.After, in.Limit)
		return list(out), err
	})
	stream(s, "/drops/stream", "follow-drops", "Refused packets as they come", func(ctx context.Context, in *struct {
		After uint64 `query:"after" doc:"Only packets with a higher number."`
	}, send func(int64, Drop) error) error {
		return s.host.FollowDrops(ctx, in.After, func(d Drop) error { return send(int64(d.Seq), d) })
	})
	route(s, http.MethodGet, "/top", "get-top", "Who is being refused, and why", func(ctx context.Context, _ *none) (Top, error) {
		out, err := s.host.Top(ctx)
		out.Sources, out.Ports = list(out.Sources), list(out.Ports)
		if out.Counters == nil {
			out.Counters = []firewall.Counter{}
		}
		return out, err
	})
}
