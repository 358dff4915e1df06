package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/document"
	"github.com/platformd/platformd/internal/state"
)

type documentQuery struct {
	Revision int64  `query:"revision" doc:"0 is the current one."`
	Format   string `query:"format" enum:"json,yaml" default:"json"`
}

// documentOutput carries bytes as they are: JSON, or YAML for people.
type documentOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type documentInput struct {
	Options
	File    string `query:"file" doc:"The name of the file, for messages about its lines."`
	RawBody []byte `contentType:"application/yaml"`
}

func (s *server) documentRoutes() {
	op := s.operation(http.MethodGet, "/document", "get-document", "The whole document", nil)
	op.Responses["200"] = &huma.Response{Description: "The document.", Content: map[string]*huma.MediaType{"application/json": {}, "application/yaml": {}}}
	huma.Register(s.api, op, func(ctx context.Context, in *documentQuery) (*documentOutput, error) {
		out, err := s.document(ctx, in)
		if err != nil {
			return nil, s.toProblem(err)
		}
		return out, nil
	})
	large := func(op *huma.Operation) { op.MaxBodyBytes = maxDocument }
	route(s, http.MethodPut, "/document", "apply-document", "Replace the whole document by a file, YAML or JSON", s.applyDocument, large)
	route(s, http.MethodPost, "/plan", "plan-document", "What replacing the whole document by a file would change", func(ctx context.Context, in *documentInput) (ChangeResult, error) {
		in.DryRun = true
		return s.applyDocument(ctx, in)
	}, large)
}

func (s *server) document(ctx context.Context, in *documentQuery) (*documentOutput, error) {
	st, _, err := s.host.Document(ctx)
	if in.Revision != 0 && err == nil {
		st, err = s.host.DocumentAt(ctx, in.Revision)
	}
	if err != nil {
		return nil, err
	}
	if in.Format == "yaml" {
		data, err := document.Encode(&st)
		return &documentOutput{"application/yaml", data}, err
	}
	data, err := json.MarshalIndent(&st, "", "  ")
	return &documentOutput{"application/json", append(data, '\n')}, err
}

func (s *server) applyDocument(ctx context.Context, in *documentInput) (ChangeResult, error) {
	var next state.State
	if err := document.Decode(in.RawBody, in.File, &next); err != nil {
		return ChangeResult{}, err
	}
	if next.Version == 0 {
		next.Version = state.Version
	}
	if err := next.Validate(); err != nil {
		return ChangeResult{}, document.Place(err, in.RawBody, in.File)
	}
	name := in.File
	if name == "" || name == "-" {
		name = "a file"
	}
	return s.change(ctx, in.Options, wish{action: activity.RevisionApplied, object: "document", summary: "apply " + name,
		edit: func(st *state.State) error { *st = next; return nil }})
}
