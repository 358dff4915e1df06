package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/sqlite"
	"github.com/platformd/platformd/internal/state"
)

// fakeHost answers what a test sets; everything else panics.
type fakeHost struct {
	Host
	change func(Change) (ChangeResult, error)
	feed   func(ctx context.Context) error
	status func(ctx context.Context) (Status, error)
}

func (f *fakeHost) Change(_ context.Context, c Change) (ChangeResult, error) { return f.change(c) }

func (f *fakeHost) Status(ctx context.Context) (Status, error) { return f.status(ctx) }

func (f *fakeHost) FollowDrops(ctx context.Context, after uint64, send func(Drop) error) error {
	if err := send(Drop{Seq: after + 1, Source: "192.0.2.1"}); err != nil {
		return err
	}
	return f.feed(ctx)
}

func (f *fakeHost) Document(context.Context) (state.State, Revision, error) {
	return state.Default(), Revision{ID: 7}, nil
}

var testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// serve starts a server and returns its socket, and what ends it and waits for it.
func serve(t *testing.T, h Host) (socket string, stop func() error) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg := ServerConfig{Version: "test", Asker: func(int) string { return "203.0.113.9" }, Now: func() time.Time { return testNow }}
	go func() { done <- Serve(ctx, l, h, cfg) }()
	stop = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return socket, stop
}

// raw makes a request as any HTTP client would.
func raw(t *testing.T, socket, method, path, kind, body string) (*http.Response, []byte) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://platformd"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, data
}

func TestBlockIsOneChange(t *testing.T) {
	var got Change
	h := &fakeHost{change: func(c Change) (ChangeResult, error) {
		got = c
		return ChangeResult{Revision: 3, Changed: true, Verified: true}, nil
	}}
	socket, _ := serve(t, h)
	r, err := client.New(socket).Block(t.Context(), Options{DryRun: true, Force: true, Base: 2},
		wire.BlockRequest{Targets: []string{"192.0.2.0/24", "2001:db8::1"}, For: "2h", Reason: "scans"})
	if err != nil || r.Revision != 3 || r.Document == nil {
		t.Fatalf("got %+v, %v", r, err)
	}
	if want := (Options{DryRun: true, Force: true, Base: 2}); got.Options != want {
		t.Errorf("got options %+v, want %+v", got.Options, want)
	}
	if got.Caller.Actor == "" || got.Caller.Source != "203.0.113.9" || got.Caller.PID == 0 {
		t.Errorf("got caller %+v", got.Caller)
	}
	if got.Action != activity.AddressBlocked || got.Object != "192.0.2.0/24 2001:db8::1" || got.Summary != "block 192.0.2.0/24, 2001:db8::1 for 2h: scans" || len(got.Cut) != 2 {
		t.Errorf("got %s %q %q, cut %v", got.Action, got.Object, got.Summary, got.Cut)
	}
	st := state.Default()
	if err := got.Edit(&st); err != nil {
		t.Fatal(err)
	}
	want := firewall.Block{Target: ranges.Single(netip.MustParseAddr("2001:db8::1")), Reason: "scans", Since: testNow, Until: testNow.Add(2 * time.Hour), By: got.Caller.Actor}
	if len(st.Firewall.Blocks) != 2 || st.Firewall.Blocks[1] != want {
		t.Errorf("got blocks %+v, want %+v as the second", st.Firewall.Blocks, want)
	}
}

func TestProblems(t *testing.T) {
	field := func(path, reason string) error { return &firewall.FieldError{Path: path, Reason: reason} }
	for _, tc := range []struct {
		name     string
		err      error
		status   int
		code     wire.Code
		detail   string
		mistakes int
	}{
		{"invalid", fmt.Errorf("%w: %w", ErrInvalid, errors.Join(field("a", "a is wrong"), field("b", "b is wrong"))), 422, wire.CodeInvalid, "a is wrong\nb is wrong", 2},
		{"invalid in words", fmt.Errorf("%w: geo rule %d: %w", ErrInvalid, 1, errors.New("no such country")), 422, wire.CodeInvalid, "geo rule 1: no such country", 1},
		{"not found", errors.Join(fmt.Errorf("port x: %w", firewall.ErrNotFound), fmt.Errorf("port y: %w", ErrNotFound)), 404, wire.CodeNotFound, "port x: not found\nport y: not found", 2},
		{"exists", exists{errors.New("port x is open")}, 409, wire.CodeExists, "port x is open", 1},
		{"conflict", &state.ConflictError{Base: 1}, 409, wire.CodeConflict, "", 0},
		{"pending", &state.ProvisionalError{}, 409, wire.CodeConfirmationPending, "", 0},
		{"lockout", fmt.Errorf("block x: %w: it holds you", ErrLockout), 403, wire.CodeLockout, "block x: would lock out: it holds you", 1},
		{"unavailable", fmt.Errorf("country data: %w", ErrUnavailable), 503, wire.CodeUnavailable, "country data: not available", 0},
		{"full", fmt.Errorf("write: %w", sqlite.ErrFull), 507, wire.CodeStorageFull, "", 0},
		{"ours", errors.New("boom"), 500, wire.CodeInternal, "boom", 0},
	} {
		socket, _ := serve(t, &fakeHost{change: func(Change) (ChangeResult, error) { return ChangeResult{}, tc.err }})
		_, err := client.New(socket).ClosePorts(t.Context(), Options{}, "x")
		var p *wire.Problem
		if !errors.As(err, &p) {
			t.Errorf("%s: got %v, want a problem", tc.name, err)
			continue
		}
		if p.Status != tc.status || p.Code != tc.code || p.Object != "x" || len(p.Errors) != tc.mistakes || p.Detail == "" || (tc.detail != "" && p.Detail != tc.detail) {
			t.Errorf("%s: got %+v, want %+v", tc.name, p, tc)
		}
	}
}

func TestRefusedBeforeTheHost(t *testing.T) {
	h := &fakeHost{change: func(Change) (ChangeResult, error) { panic("the host must not be asked") }}
	socket, _ := serve(t, h)
	const j = "application/json"
	for _, tc := range []struct {
		name, method, path, kind, body string
		status                         int
		code                           wire.Code
		says                           string
	}{
		{"no route", "GET", "/v1/nothing", j, "", 404, wire.CodeNotFound, "/v1/nothing"},
		{"no method", "PATCH", "/v1/ports", j, "", 404, wire.CodeNotFound, "PATCH"},
		{"unknown parameter", "POST", "/v1/confirm?x=1", j, "", 422, wire.CodeInvalid, "unknown query parameter"},
		{"broken JSON", "POST", "/v1/ports", j, "{", 400, wire.CodeBadRequest, ""},
		{"unknown field", "POST", "/v1/ports", j, `{"ports":["1"],"colour":1}`, 422, wire.CodeInvalid, "colour"},
		{"bad ports", "POST", "/v1/ports", j, `{"ports":["0","70000"],"sources":["x"]}`, 422, wire.CodeInvalid, `"70000"`},
		{"no targets", "POST", "/v1/blocks", j, `{"targets":[]}`, 422, wire.CodeInvalid, "at least one"},
		{"bad duration", "POST", "/v1/blocks", j, `{"targets":["192.0.2.1"],"for":"1y"}`, 422, wire.CodeInvalid, `"1y"`},
		{"too large", "POST", "/v1/blocks", j, `{"targets":["` + strings.Repeat("x", maxBody) + `"]}`, 413, wire.CodeTooLarge, ""},
		{"bad document", "PUT", "/v1/document?file=x.yaml", "application/yaml", "version: 1\nfirewal: {}\n", 422, wire.CodeInvalid, "x.yaml:2:1: firewal: "},
		{"invalid document", "POST", "/v1/plan?file=x.yaml", "application/yaml", "version: 1\nfirewall:\n  driver: x\n", 422, wire.CodeInvalid, "x.yaml:3:3: firewall.driver: "},
		{"outcome", "GET", "/v1/activity?outcome=good", j, "", 422, wire.CodeInvalid, "outcome"},
	} {
		resp, data := raw(t, socket, tc.method, tc.path, tc.kind, tc.body)
		var p wire.Problem
		if err := json.Unmarshal(data, &p); err != nil {
			t.Errorf("%s: got %s, %v", tc.name, data, err)
			continue
		}
		if resp.StatusCode != tc.status || p.Status != tc.status || p.Code != tc.code || !strings.Contains(p.Detail, tc.says) ||
			resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s %s, want %d %s that says %q", tc.name, resp.StatusCode, resp.Header.Get("Content-Type"), data, tc.status, tc.code, tc.says)
		}
	}
}

func TestShutdown(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	h := &fakeHost{
		feed:   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		status: func(context.Context) (Status, error) { close(asked); <-answer; return Status{Revision: 5}, nil },
	}
	socket, stop := serve(t, h)
	c := client.New(socket)
	streamed, ended := make(chan Drop, 1), make(chan error, 1)
	go func() {
		for d, err := range c.FollowDrops(context.Background(), 41) {
			if err != nil {
				ended <- err
				return
			}
			streamed <- d
		}
		ended <- nil
	}()
	if d := <-streamed; d.Seq != 42 || d.Source != "192.0.2.1" {
		t.Errorf("got %+v, want number 42", d)
	}
	result := make(chan error, 1)
	go func() {
		st, err := c.Status(context.Background())
		if err == nil && st.Revision != 5 {
			err = fmt.Errorf("got %+v", st)
		}
		result <- err
	}()
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if err := <-ended; err != nil { // ends though the other request is still being answered
		t.Errorf("the stream ended with %v, want nil", err)
	}
	close(answer)
	if err := <-result; err != nil {
		t.Errorf("a request that was being answered: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	var gone *client.UnreachableError
	if _, err := c.Status(t.Context()); !errors.As(err, &gone) {
		t.Errorf("after the end: got %v, want UnreachableError", err)
	}
}

// A body must come in time; what the host does with it may take longer.
func TestBodyDeadlineEndsWithTheBody(t *testing.T) {
	const deadline = 50 * time.Millisecond
	s, handler := newServer(t.Context(), &fakeHost{}, ServerConfig{})
	route(s, http.MethodPost, "/slow", "slow", "slow", func(ctx context.Context, _ *struct{ Body wire.LimitRequest }) (done, error) {
		select {
		case <-ctx.Done():
			return done{}, ctx.Err()
		case <-time.After(4 * deadline):
			return done{true}, nil
		}
	}, func(op *huma.Operation) { op.BodyReadTimeout = deadline })
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler, ConnContext: s.connContext}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	if resp, data := raw(t, socket, "POST", "/v1/slow", "application/json", `{"limit":"off"}`); resp.StatusCode != 200 {
		t.Errorf("got %d %s, want 200", resp.StatusCode, data)
	}
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /v1/slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{")
	if got, err := io.ReadAll(c); err != nil || bytes.HasPrefix(got, []byte("HTTP/1.1 200")) {
		t.Errorf("a body that never comes: got %.80q, %v, want a refusal", got, err)
	}
}

func TestDescription(t *testing.T) {
	data, err := Description("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID, Summary string
			Responses            map[string]json.RawMessage
		}
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1") || len(d.Paths) < 30 {
		t.Errorf("got OpenAPI %q with %d paths", d.OpenAPI, len(d.Paths))
	}
	seen := map[string]bool{}
	for path, ops := range d.Paths {
		for method, op := range ops {
			if !strings.HasPrefix(path, "/v1/") || op.OperationID == "" || op.Summary == "" || seen[op.OperationID] {
				t.Errorf("%s %s: got operation %q, summary %q, seen %v", method, path, op.OperationID, op.Summary, seen[op.OperationID])
			}
			seen[op.OperationID] = true
			if !bytes.Contains(op.Responses["default"], []byte("schemas/Problem")) || op.Responses["200"] == nil && op.Responses["101"] == nil {
				t.Errorf("%s %s: has no problem, or no answer: %s", method, path, op.Responses["default"])
			}
		}
	}
	for name := range d.Components.Schemas {
		if bytes.Contains(data, []byte("#/components/schemas/ErrorModel")) || name == "ErrorModel" {
			t.Fatal("the description has the framework's error")
		}
	}
	socket, _ := serve(t, &fakeHost{})
	if resp, served := raw(t, socket, "GET", "/v1/openapi.json", "", ""); resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/openapi+json" || !json.Valid(served) {
		t.Errorf("served: got %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
}
