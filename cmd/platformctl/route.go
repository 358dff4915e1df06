package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/proxy"
)

func newRouteCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the routes", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runRouteList(cmd.Context()) }}
	show := &cobra.Command{Use: "show HOST[/PATH]", Short: "Show a route with all its settings", Args: exactly(1, "route show app.example.org"),
		ValidArgsFunction: a.complete(1, a.routes),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runRouteShow(cmd.Context(), args[0]) }}
	c := noun("route", "Where the proxy sends requests", list, newRouteAddCommand(a), newRouteRemoveCommand(a), show)
	c.Long = `Where the proxy sends requests. A route is found by its host, then by its path: an exact one, then the longest prefix.

A host is a name, "*.example.org" for any one label, or "" for every name that no route has. Everything is served over HTTPS, and
plain HTTP is redirected to it. What is behind a prefix is put behind the path of the back end.`
	return c
}

func (a *app) runRouteList(ctx context.Context) error {
	routes, err := a.client().Routes(ctx)
	if err != nil {
		return err
	}
	return a.show(routes, func() {
		if len(routes) == 0 {
			a.printf("there is no route; add one with: platformctl route add app.example.org http://127.0.0.1:8080\n")
			return
		}
		t := newTable("ROUTE", "BACKEND", "ONLY", "NOTES")
		for _, r := range routes {
			var notes []string
			if r.Maintenance {
				notes = append(notes, "maintenance")
			}
			if r.PlainHTTP {
				notes = append(notes, "plain HTTP")
			}
			t.row(r.Key(), r.Backend, strings.Join(append(append([]string{}, r.Methods...), r.Allow...), ", "), strings.Join(notes, ", "))
		}
		a.print(t)
	})
}

func (a *app) runRouteShow(ctx context.Context, key string) error {
	routes, err := a.client().Routes(ctx)
	if err != nil {
		return err
	}
	c := proxy.Config{Routes: routes}
	r, ok := c.Route(key)
	if !ok {
		return &codedError{exitNotFound, fmt.Sprintf("route %q: not found; platformctl route list shows them", key)}
	}
	return a.printJSON(r)
}

// routes completes their keys.
func (a *app) routes(ctx context.Context) ([]string, error) {
	routes, err := a.client().Routes(ctx)
	var out []string
	for i := range routes {
		out = append(out, routes[i].Key())
	}
	return out, err
}

// completeBackends completes the second word of route add: groups have names, everything else is known to who types it.
func (a *app) completeBackends(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(0, func(ctx context.Context) ([]string, error) {
		all, err := a.client().Upstreams(ctx)
		return names(all, func(u wire.Upstream) string { return "upstream:" + u.Name }), err
	})(cmd, args, typed)
}

type routeAddOptions struct {
	changeOptions
	route   proxy.Route
	replace bool
	headers []string
}

func newRouteAddCommand(a *app) *cobra.Command {
	var o routeAddOptions
	c := &cobra.Command{
		Use: "add HOST[/PATH] BACKEND", Short: "Add a route",
		Example: `  platformctl route add app.example.org http://127.0.0.1:8080
  platformctl route add app.example.org/api http://127.0.0.1:9000/v1 --method GET,POST
  platformctl route add www.example.org file:///srv/www
  platformctl route add example.org 'redirect:https://www.example.org$request_uri'
  platformctl route add admin.example.org https://10.0.0.7 --sni admin.internal --allow 10.0.0.0/8`,
		Args: exactly(2, "route add app.example.org http://127.0.0.1:8080"), ValidArgsFunction: a.completeBackends,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := o.route
			host, path, slash := strings.Cut(args[0], "/")
			r.Host, r.Backend = host, args[1]
			if slash && path != "" {
				r.Path = "/" + path
			}
			var check checker
			for _, h := range o.headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok {
					check.bad("header %q: write it as NAME:VALUE", h)
					continue
				}
				if r.RequestHeaders.Set == nil {
					r.RequestHeaders.Set = map[string]string{}
				}
				r.RequestHeaders.Set[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
			check.add(r.Validate())
			if err := check.err(); err != nil {
				return err
			}
			res, err := a.client().AddRoute(cmd.Context(), o.Options, r, o.replace)
			return a.changed(res, err, "routed "+r.Key()+" to "+r.Backend, r.Key()+" leads to "+r.Backend)
		},
	}
	o.addFlags(c)
	f := c.Flags()
	f.BoolVar(&o.replace, "replace", false, "put it in the place of a route for the same host and path")
	f.BoolVar(&o.route.Exact, "exact", false, "for this path alone, not for those below it")
	f.StringVar(&o.route.SNIName, "sni", "", "name of an https back end that is given by address")
	f.StringSliceVar(&o.route.Methods, "method", nil, "only these methods")
	f.StringSliceVar(&o.route.Allow, "allow", nil, "only these addresses or prefixes")
	f.StringSliceVar(&o.route.Deny, "deny", nil, "not these addresses or prefixes; comes before --allow")
	f.Int64Var(&o.route.MaxBody, "max-body", 0, "bytes that a request body may have; 0 is 100 MiB")
	f.StringArrayVar(&o.headers, "header", nil, "NAME:VALUE for the back end; $client_ip, $host, $request_uri and others are filled in")
	f.StringVar(&o.route.Security.ContentSecurityPolicy, "csp", "", "Content-Security-Policy of every answer")
	f.IntVar(&o.route.Redirect.Status, "status", 0, "status of a redirect: 301, 302, 303, 307 or 308")
	f.BoolVar(&o.route.Redirect.PreservePath, "preserve-path", false, "put what is behind the path behind the target of a redirect")
	f.BoolVar(&o.route.PlainHTTP, "plain-http", false, "serve plain HTTP too, instead of redirecting it")
	f.BoolVar(&o.route.Maintenance, "maintenance", false, "answer 503 to everybody")
	return c
}

func newRouteRemoveCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use: "remove HOST[/PATH] ...", Short: "Remove routes", Args: needs(1, "route remove app.example.org"), ValidArgsFunction: a.complete(-1, a.routes),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.client().RemoveRoutes(cmd.Context(), o.Options, args...)
			what := strings.Join(args, ", ")
			return a.changed(r, err, "removed "+what, what+" is removed")
		},
	}
	o.addFlags(c)
	return c
}
