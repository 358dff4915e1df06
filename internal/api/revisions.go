package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/platformd/platformd/internal/api/wire"
)

func (s *server) revisionRoutes() {
	route(s, http.MethodGet, "/revisions", "list-revisions", "The history of the document, newest first", func(ctx context.Context, in *struct {
		Limit  int   `query:"limit" minimum:"1" maximum:"10000" default:"100"`
		Before int64 `query:"before" doc:"Only revisions with a lower number."`
	}) ([]Revision, error) {
		out, err := s.host.History(ctx, in.Limit, in.Before)
		return list(out), err
	})
	route(s, http.MethodGet, "/revisions/{id}", "get-revision", "One revision", func(ctx context.Context, in *struct {
		ID int64 `path:"id" minimum:"1"`
	}) (Revision, error) {
		out, err := s.host.History(ctx, 1, in.ID+1)
		if err == nil && (len(out) == 0 || out[0].ID != in.ID) {
			err = fmt.Errorf("revision %d: %w; platformctl history shows them", in.ID, ErrNotFound)
		}
		if err != nil {
			return Revision{}, err
		}
		return out[0], nil
	})
	route(s, http.MethodGet, "/diff", "diff-revisions", "How two revisions differ", func(ctx context.Context, in *struct {
		From int64 `query:"from" required:"true" minimum:"1"`
		To   int64 `query:"to" doc:"0 is the current one."`
	}) ([]FieldChange, error) {
		to := in.To
		if to == 0 {
			_, rev, err := s.host.Document(ctx)
			if err != nil {
				return nil, err
			}
			to = rev.ID
		}
		out, err := s.host.Diff(ctx, in.From, to)
		return list(out), err
	})
	route(s, http.MethodPost, "/rollback", "roll-back", "Go back to the content of a revision, as a new one", func(ctx context.Context, in *struct {
		Options
		Body wire.RollbackRequest
	}) (ChangeResult, error) {
		r, err := s.host.Rollback(ctx, callerOf(ctx), in.Options, in.Body.Revision)
		r.Document = list(r.Document)
		return r, err
	})
	route(s, http.MethodPost, "/confirm", "confirm", "Keep the change that waits for a confirmation", func(ctx context.Context, _ *none) (Revision, error) {
		return s.host.Confirm(ctx, callerOf(ctx))
	})
}
