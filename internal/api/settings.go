package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/document"
	"github.com/platformd/platformd/internal/state"
)

type settingInput struct {
	Options
	Path  string `query:"path" required:"true" doc:"As in the document: settings.guard, apps.require_apparmor."`
	Value string `query:"value" doc:"JSON, or plain text; null or nothing is the default."`
}

func (s *server) settingRoutes() {
	route(s, http.MethodPut, "/settings", "set-setting", "Set one field of the document, by its path", func(ctx context.Context, in *settingInput) (ChangeResult, error) {
		return s.change(ctx, in.Options, wish{action: activity.SettingsChanged, object: in.Path, summary: "set " + in.Path, edit: func(st *state.State) error {
			next, err := withField(st, in.Path, in.Value)
			if err != nil {
				return fmt.Errorf("%w: set %s: %w", ErrInvalid, in.Path, err)
			}
			*st = next
			return nil
		}})
	})
}

// withField is a document with one field set. What the path names must be a field of mappings; lists have commands of
// their own.
func withField(st *state.State, path, value string) (next state.State, err error) {
	data, err := json.Marshal(st)
	if err != nil {
		return next, err
	}
	whole := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&whole); err != nil {
		return next, err
	}
	parts := strings.Split(path, ".")
	in := whole
	for _, p := range parts[:len(parts)-1] {
		switch child := in[p].(type) {
		case map[string]any:
			in = child
		case nil:
			made := map[string]any{}
			in[p], in = made, made
		default:
			return next, fmt.Errorf("%q is not a part that has fields", p)
		}
	}
	last := parts[len(parts)-1]
	var v any
	switch err := json.Unmarshal([]byte(value), &v); {
	case value == "" || err == nil && v == nil:
		delete(in, last)
	case err != nil:
		in[last] = value
	default:
		in[last] = json.RawMessage(value)
	}
	if data, err = json.Marshal(whole); err != nil {
		return next, err
	}
	err = document.Decode(data, "", &next)
	if m, ok := errors.AsType[*document.Mistakes](err); ok {
		for i := range m.List { // lines of a text that nobody wrote say nothing
			m.List[i].Line, m.List[i].Column = 0, 0
		}
	}
	return next, err
}
