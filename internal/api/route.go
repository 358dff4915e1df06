package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/state"
)

// answer is the body of every route's response.
type answer[O any] struct{ Body O }

// none is the input of a route without any.
type none struct{}

// route registers one typed function. The id is its operation, the text says what it does.
func route[I, O any](s *server, method, path, id, text string, fn func(context.Context, *I) (O, error), options ...func(*huma.Operation)) {
	op := s.operation(method, path, id, text, options)
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*answer[O], error) {
		out, err := fn(ctx, in)
		if err != nil {
			return nil, s.toProblem(err)
		}
		return &answer[O]{out}, nil
	})
}

func (s *server) operation(method, path, id, text string, options []func(*huma.Operation)) huma.Operation {
	schema := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[wire.Problem](), true, "Problem")
	op := huma.Operation{
		Method: method, Path: "/v1" + path, OperationID: id, Summary: text, Tags: []string{strings.Split(path, "/")[1]},
		MaxBodyBytes: maxBody, BodyReadTimeout: readTimeout,
		Responses: map[string]*huma.Response{
			"200":     {Description: "Done."},
			"default": {Description: "A problem, with its code.", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}},
		},
	}
	for _, o := range options {
		o(&op)
	}
	return op
}

// objectError is an error with what the request concerned.
type objectError struct {
	object string
	err    error
}

func (e *objectError) Error() string { return e.err.Error() }
func (e *objectError) Unwrap() error { return e.err }

func (s *server) toProblem(err error) error {
	var o *objectError
	if errors.As(err, &o) {
		return s.problem(o.err, o.object)
	}
	return s.problem(err, "")
}

// wish is a change as a route builds it.
type wish struct {
	action          activity.Action
	object, summary string
	edit            func(*state.State) error
	cut             []ranges.Range
}

// change sends a wish through the gate.
func (s *server) change(ctx context.Context, o Options, w wish) (ChangeResult, error) {
	r, err := s.host.Change(ctx, Change{Caller: callerOf(ctx), Options: o, Action: w.action, Object: w.object, Summary: w.summary, Edit: w.edit, Cut: w.cut})
	if err != nil {
		return r, &objectError{w.object, err}
	}
	if r.Document == nil {
		r.Document = []FieldChange{}
	}
	return r, nil
}

// stream registers a route of server-sent events: each is the JSON of one O, with its number as the id. feed calls send
// until ctx ends or send fails.
func stream[I, O any](s *server, path, id, text string, feed func(ctx context.Context, in *I, send func(seq int64, v O) error) error) {
	op := s.operation(http.MethodGet, path, id, text, nil)
	item := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[O](), true, "")
	op.Responses["200"] = &huma.Response{Description: "Server-sent events; the data of each is one of these as JSON, its id is the number.",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: item}}}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(s.stopping, cancel)()
			conn := connection(ctx)
			defer func() { _ = conn.SetWriteDeadline(time.Time{}) }() // the connection may serve other requests afterwards
			hc.SetHeader("Content-Type", "text/event-stream")
			hc.SetHeader("Cache-Control", "no-store")
			hc.SetStatus(http.StatusOK)
			_ = conn.Flush() // so that the caller knows that it is heard
			var b bytes.Buffer
			err := feed(ctx, in, func(seq int64, v O) error {
				data, err := json.Marshal(v)
				if err != nil {
					return err
				}
				b.Reset()
				b.WriteString("id: " + itoa(seq) + "\ndata: ")
				b.Write(data) // has no line breaks
				b.WriteString("\n\n")
				_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
				if _, err := hc.BodyWriter().Write(b.Bytes()); err != nil {
					return err
				}
				return conn.Flush()
			})
			if err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("stream", "path", path, "error", err)
			}
		}}, nil
	})
}
