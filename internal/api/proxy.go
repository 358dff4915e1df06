package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/document"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/proxy"
)

type routeInput struct {
	Options
	Replace bool `query:"replace" doc:"Put it in the place of a route for the same host and path."`
	Body    proxy.Route
}

type proxyTestInput struct {
	File    string `query:"file" doc:"The name of the file, for messages about its lines."`
	RawBody []byte `contentType:"application/yaml"`
}

func (s *server) proxyRoutes() {
	route(s, http.MethodGet, "/routes", "list-routes", "The routes of the proxy", func(ctx context.Context, _ *none) ([]proxy.Route, error) {
		st, _, err := s.host.Document(ctx)
		return list(st.Proxy.Routes), err
	})
	route(s, http.MethodPut, "/routes", "add-route", "Add a route, or replace one", s.addRoute)
	route(s, http.MethodDelete, "/routes", "remove-routes", "Remove routes, by host and path", s.removeRoutes)
	route(s, http.MethodGet, "/proxy", "get-proxy", "The proxy at a glance", func(ctx context.Context, _ *none) (wire.ProxyStatus, error) {
		return s.host.Proxy(ctx)
	})
	route(s, http.MethodGet, "/proxy/log", "list-requests", "The newest requests, oldest first", func(ctx context.Context, in *struct {
		wire.AccessFilter
		Limit int `query:"limit" minimum:"1" maximum:"20000" default:"100"`
	}) ([]wire.Access, error) {
		out, err := s.host.ProxyLog(ctx, in.AccessFilter, in.Limit)
		return list(out), err
	})
	stream(s, "/proxy/log/stream", "follow-requests", "Requests as they are answered", func(ctx context.Context, in *struct {
		wire.AccessFilter
		After uint64 `query:"after" doc:"Only requests with a higher number."`
	}, send func(int64, wire.Access) error) error {
		return s.host.FollowProxyLog(ctx, in.AccessFilter, in.After, func(a wire.Access) error { return send(int64(a.Seq), a) })
	})
	route(s, http.MethodGet, "/proxy/top", "get-proxy-top", "Which routes and clients make the load, of the requests that are remembered", func(ctx context.Context, _ *none) (wire.ProxyTop, error) {
		out, err := s.host.ProxyTop(ctx)
		out.Routes, out.Clients = list(out.Routes), list(out.Clients)
		return out, err
	})
	route(s, http.MethodPost, "/proxy/purge", "purge-proxy", "Drop stored answers", func(ctx context.Context, in *struct{ Body wire.PurgeRequest }) (wire.PurgeResult, error) {
		n, err := s.host.PurgeProxy(ctx, callerOf(ctx), in.Body.What)
		return wire.PurgeResult{Dropped: n}, err
	})
	s.pageRoutes()
	s.upstreamRoutes()
	large := func(op *huma.Operation) { op.MaxBodyBytes = maxDocument }
	route(s, http.MethodPost, "/proxy/test", "test-proxy", "Everything that is wrong with a configuration of the proxy", func(ctx context.Context, in *proxyTestInput) (wire.ProxyTest, error) {
		var c proxy.Config
		if err := document.Decode(in.RawBody, in.File, &c); err != nil {
			return wire.ProxyTest{}, err
		}
		if err := c.Validate(); err != nil {
			return wire.ProxyTest{}, document.Place(err, in.RawBody, in.File)
		}
		return wire.ProxyTest{Routes: len(c.Routes), Streams: len(c.Streams)}, s.host.TestProxy(ctx, c)
	}, large)
}

func (s *server) addRoute(ctx context.Context, in *routeInput) (ChangeResult, error) {
	r := in.Body
	key := r.Key()
	if err := r.Validate(); err != nil {
		return ChangeResult{}, &objectError{key, fmt.Errorf("%w: %w", ErrInvalid, err)}
	}
	return s.change(ctx, in.Options, wish{action: activity.RouteAdded, object: key, summary: "route " + key + " to " + r.Backend, edit: func(st *state.State) error {
		if old, there := st.Proxy.Route(key); there && !in.Replace && old.Backend != r.Backend {
			return exists{fmt.Errorf("route %q: leads to %s already; remove it first, or use --replace", key, old.Backend)}
		}
		st.Proxy.AddRoute(r)
		return nil
	}})
}

func (s *server) removeRoutes(ctx context.Context, in *namesInput) (ChangeResult, error) {
	object := several(in.Names)
	return s.change(ctx, in.Options, wish{action: activity.RouteRemoved, object: object, summary: "remove route " + object, edit: func(st *state.State) error {
		return each(in.Names, func(name string) error {
			if !st.Proxy.RemoveRoute(name) {
				return fmt.Errorf("route %q: %w; platformctl route list shows them", name, ErrNotFound)
			}
			return nil
		})
	}})
}
