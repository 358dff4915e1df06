package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/proxy/upstream"
)

func newUpstreamCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the groups, and how many of their servers are well", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runUpstreamList(cmd.Context()) }}
	show := &cobra.Command{Use: "show NAME", Short: "Show a group, and how each of its servers is", Args: exactly(1, "upstream show app"), ValidArgsFunction: a.complete(1, a.upstreams),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runUpstreamShow(cmd.Context(), args[0]) }}
	c := noun("upstream", "Groups of back ends that do the same", list, show, newUpstreamAddCommand(a), newUpstreamEditCommand(a), newUpstreamRemoveCommand(a))
	c.Long = `Groups of back ends that do the same. Requests are spread over them; one that is not well gets none. A route leads to a group as
"upstream:NAME".

A back end is written http://HOST:PORT, https://HOST or h2c://HOST:PORT, with what is to be said of it behind commas:
weight=N is its share, backup serves while no other can, drain gives it no new requests, sni=NAME is what it is called in TLS.`
	return c
}

func (a *app) upstreams(ctx context.Context) ([]string, error) {
	all, err := a.client().Upstreams(ctx)
	return names(all, func(u wire.Upstream) string { return fmt.Sprintf("%s\t%d server(s)", u.Name, len(u.Servers)) }), err
}

func (a *app) runUpstreamList(ctx context.Context) error {
	all, err := a.client().Upstreams(ctx)
	if err != nil {
		return err
	}
	return a.show(all, func() {
		if len(all) == 0 {
			a.printf("there is no group of back ends; add one with: platformctl upstream add app http://10.0.0.1:8080 http://10.0.0.2:8080\n")
			return
		}
		t := newTable("UPSTREAM", "POLICY", "SERVERS", "WELL", "REQUESTS", "ROUTES")
		for _, u := range all {
			requests := int64(0)
			for _, s := range u.Status {
				requests += s.Requests
			}
			t.row(u.Name, policyName(u.Algorithm), fmt.Sprint(len(u.Servers)), wellOf(u.Status), fmt.Sprint(requests), strings.Join(u.Routes, ", "))
		}
		a.print(t)
	})
}

// wellOf counts the servers that get requests.
func wellOf(status []upstream.Status) string {
	if len(status) == 0 {
		return "not known"
	}
	n := 0
	for _, s := range status {
		if s.Healthy && !s.Open && !s.Drain {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, len(status))
}

// serverState is how a server is, in a word or two.
func serverState(s upstream.Status) string {
	switch {
	case !s.Healthy:
		return "down"
	case s.Open:
		return "set aside"
	case s.Drain && s.InFlight > 0:
		return "drains"
	case s.Drain:
		return "drained"
	}
	return "well"
}

func (a *app) runUpstreamShow(ctx context.Context, name string) error {
	u, err := a.client().Upstream(ctx, name)
	if err != nil {
		return err
	}
	return a.show(u, func() {
		a.printf("upstream  %s, %s\nroutes    %s\nchecks    %s\n\n", u.Name, policyName(u.Algorithm), orNone(u.Routes), checksOf(u.Health))
		t := newTable("SERVER", "WEIGHT", "STATE", "NOW", "REQUESTS", "FAILED", "WHY")
		for _, s := range u.Servers {
			weight := fmt.Sprint(max(s.Weight, 1))
			if s.Backup {
				weight += " (backup)"
			}
			i := slices.IndexFunc(u.Status, func(x upstream.Status) bool { return x.URL == s.URL })
			if i < 0 {
				t.row(s.URL, weight, "not known", "", "", "", "")
				continue
			}
			x := u.Status[i]
			t.row(s.URL, weight, serverState(x), fmt.Sprint(x.InFlight), fmt.Sprint(x.Requests), fmt.Sprint(x.Failures), x.Reason)
		}
		a.print(t)
	})
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func checksOf(h *upstream.Health) string {
	if h == nil {
		return "none; a server is set aside when requests to it fail"
	}
	what := h.Type
	if what == "" || what == "http" {
		what = "http"
		if h.Path != "" {
			what += " " + h.Path
		}
	}
	if h.Interval > 0 {
		what += " every " + h.Interval.String()
	}
	return what
}

func newUpstreamRemoveCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use: "remove NAME ...", Short: "Remove groups", Args: needs(1, "upstream remove app"), ValidArgsFunction: a.complete(-1, a.upstreams),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.client().RemoveUpstreams(cmd.Context(), o.Options, args...)
			what := "upstream " + strings.Join(args, ", ")
			return a.changed(r, err, "removed "+what, what+" is removed")
		},
	}
	o.addFlags(c)
	return c
}
