package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/document"
	"github.com/platformd/platformd/internal/sqlite"
	"github.com/platformd/platformd/internal/state"
)

func newProblem(status int, code wire.Code, detail string) *wire.Problem {
	return &wire.Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// problem is what a caller is told about err. What is ours to mend is logged as well.
func (s *server) problem(err error, object string) *wire.Problem {
	status, code := classify(err)
	p := newProblem(status, code, err.Error())
	if p.Object = object; len(p.Object) > 200 {
		p.Object = p.Object[:200] + "..."
	}
	switch code {
	case wire.CodeInternal:
		s.cfg.Log.Error("request", "object", p.Object, "error", err)
	case wire.CodeInvalid, wire.CodeNotFound, wire.CodeLockout, wire.CodeExists:
		p.Errors = mistakes(err)
		var lines []string
		for _, m := range p.Errors {
			lines = append(lines, m.String())
		}
		p.Detail = strings.Join(lines, "\n")
	}
	return p
}

func classify(err error) (int, wire.Code) {
	var bad *document.Mistakes
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, wire.CodeTooLarge
	case errors.Is(err, ErrLockout):
		return http.StatusForbidden, wire.CodeLockout
	case errors.Is(err, ErrInvalid), errors.As(err, &bad):
		return http.StatusUnprocessableEntity, wire.CodeInvalid
	case errors.Is(err, firewall.ErrNotFound), errors.Is(err, ErrNotFound):
		return http.StatusNotFound, wire.CodeNotFound
	case errors.Is(err, ErrExists):
		return http.StatusConflict, wire.CodeExists
	case errors.Is(err, state.ErrConflict):
		return http.StatusConflict, wire.CodeConflict
	case errors.Is(err, state.ErrProvisional):
		return http.StatusConflict, wire.CodeConfirmationPending
	case errors.Is(err, ErrUnavailable):
		return http.StatusServiceUnavailable, wire.CodeUnavailable
	case errors.Is(err, sqlite.ErrFull):
		return http.StatusInsufficientStorage, wire.CodeStorageFull
	}
	return http.StatusInternalServerError, wire.CodeInternal
}

// mistakes takes a joined error apart.
func mistakes(err error) []wire.Mistake {
	if bad, ok := err.(*document.Mistakes); ok {
		var out []wire.Mistake
		for _, m := range bad.List {
			out = append(out, wire.Mistake{File: bad.File, Line: m.Line, Column: m.Column, Path: m.Path, Reason: m.Reason})
		}
		if bad.More > 0 {
			out = append(out, wire.Mistake{File: bad.File, Reason: "and more mistakes, which are not listed"})
		}
		return out
	}
	if at, ok := err.(interface{ FieldPath() string }); ok {
		return []wire.Mistake{{Path: at.FieldPath(), Reason: err.Error()}}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		if parts := sayNothing(many.Unwrap(), err); parts != nil {
			var out []wire.Mistake
			for _, e := range parts {
				out = append(out, mistakes(e)...)
			}
			return out
		}
	}
	reason := strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": ")
	return []wire.Mistake{{Reason: strings.TrimPrefix(reason, ErrNotFound.Error()+": ")}}
}

// sayNothing gives the parts of err where it adds nothing to them: a plain join, or one with a sentinel before it.
func sayNothing(parts []error, err error) []error {
	var texts []string
	for _, e := range parts {
		texts = append(texts, e.Error())
	}
	switch {
	case strings.Join(texts, "\n") == err.Error():
		return parts
	case len(parts) == 2 && (parts[0] == ErrInvalid || parts[0] == ErrNotFound) && strings.Join(texts, ": ") == err.Error():
		return parts[1:]
	}
	return nil
}

// humaProblem turns what huma finds wrong with a request into a problem.
func humaProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := map[int]wire.Code{http.StatusUnprocessableEntity: wire.CodeInvalid, http.StatusRequestEntityTooLarge: wire.CodeTooLarge,
		http.StatusInternalServerError: wire.CodeInternal}[m.Status]
	if code == "" {
		code = wire.CodeBadRequest
	}
	p := newProblem(m.Status, code, m.Detail)
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, wire.Mistake{Path: e.Location, Reason: e.Message})
	}
	if len(p.Errors) > 0 && code == wire.CodeInvalid {
		var lines []string
		for _, e := range p.Errors {
			lines = append(lines, strings.TrimPrefix(e.Path+": "+e.Reason, ": "))
		}
		p.Detail = strings.Join(lines, "\n")
	}
	return p, nil
}

func (s *server) writeProblem(w http.ResponseWriter, p *wire.Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}
