package api

import (
	"context"
	"net/http"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
)

// defaultRecords is how many records a request gets that names no limit.
const defaultRecords = 1000

func (s *server) activityRoutes() {
	route(s, http.MethodGet, "/activity", "list-activity", "Records of the activity log", func(ctx context.Context, in *wire.ActivityFilter) ([]wire.Record, error) {
		f := filterOf(in)
		if f.Limit == 0 {
			f.Limit = defaultRecords
		}
		records, err := s.host.Activity(ctx, f)
		out := make([]wire.Record, len(records))
		for i, r := range records {
			out[i] = wireRecord(r)
		}
		return out, err
	})
	stream(s, "/activity/stream", "follow-activity", "Records of the activity log that are there, and then as they are written", func(ctx context.Context, in *wire.ActivityFilter, send func(int64, wire.Record) error) error {
		return s.host.FollowActivity(ctx, filterOf(in), func(r activity.Record) error { return send(r.Seq, wireRecord(r)) })
	})
	route(s, http.MethodGet, "/activity/verify", "verify-activity", "Read the whole activity log and say what is wrong with it", func(ctx context.Context, _ *none) (wire.ActivityReport, error) {
		r, err := s.host.VerifyActivity(ctx)
		out := wire.ActivityReport{OK: r.OK, First: r.First, Last: r.Last, Records: r.Records, Checkpoints: r.Checkpoints, More: r.More}
		for _, p := range r.Problems {
			out.Problems = append(out.Problems, wire.ActivityProblem{Kind: string(p.Kind), Seq: p.Seq, To: p.To, Text: p.Text})
		}
		return out, err
	})
	route(s, http.MethodGet, "/activity/actions", "list-actions", "Every action that there is, with what it means", func(context.Context, *none) ([]activity.ActionInfo, error) {
		return activity.Actions(), nil
	})
}

func filterOf(in *wire.ActivityFilter) activity.Filter {
	return activity.Filter{Since: in.Since, Until: in.Until, Actor: in.Actor, Action: in.Action, Object: in.Object, Source: in.Source, Text: in.Text,
		Outcome: activity.Outcome(in.Outcome), AfterSeq: in.After, Limit: in.Limit, Descending: in.Newest}
}

func wireRecord(r activity.Record) wire.Record {
	return wire.Record{Seq: r.Seq, Time: r.Time, Actor: r.Actor, Source: r.Source, Action: string(r.Action), Object: r.Object, Revision: r.Revision,
		Outcome: string(r.Outcome), Message: r.Message, Before: r.Before, After: r.After, Hash: r.Hash.String()}
}
