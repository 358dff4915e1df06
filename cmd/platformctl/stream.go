package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/upstream"
)

func newStreamCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the streams", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runStreamList(cmd.Context()) }}
	show := &cobra.Command{Use: "show PORT[/udp]", Short: "Show a stream with all its settings", Args: exactly(1, "stream show 5432"),
		ValidArgsFunction: a.complete(1, a.streams),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runStreamShow(cmd.Context(), args[0]) }}
	c := noun("stream", "What the proxy passes on by TCP and UDP", list, newStreamAddCommand(a), newStreamRemoveCommand(a), show)
	c.Long = `What the proxy passes on by TCP and UDP, whatever it says. A stream has a port of this host, which the firewall opens, and one or
several back ends. With --tls encryption ends here, by certificates as routes have them; with --passthrough the proxy reads
only which server a client asks for.`
	return c
}

func (a *app) runStreamList(ctx context.Context) error {
	streams, err := a.client().Streams(ctx)
	if err != nil {
		return err
	}
	return a.show(streams, func() {
		if len(streams) == 0 {
			a.printf("there is no stream; add one with: platformctl stream add 5432 10.0.0.7:5432\n")
			return
		}
		t := newTable("STREAM", "ADDRESSES", "MODE", "NAME", "BACKENDS", "ONLY")
		for i := range streams {
			s := &streams[i]
			where, only := "all", strings.Join(s.Allow, ", ")
			if len(s.Addresses) > 0 {
				where = strings.Join(s.Addresses, ", ")
			}
			mode := s.Mode
			if mode == "" {
				mode = "plain"
			}
			if s.Backend != nil {
				t.row(s.Key(), where, mode, "", serversOf(s.Backend), only)
			}
			for _, n := range s.Names {
				t.row(s.Key(), where, mode, n.Name, serversOf(n.Backend), only)
			}
		}
		a.print(t)
	})
}

func serversOf(g *upstream.Group) string {
	if g == nil {
		return ""
	}
	var out []string
	for _, s := range g.Servers {
		out = append(out, s.URL)
	}
	return strings.Join(out, ", ")
}

func (a *app) runStreamShow(ctx context.Context, key string) error {
	streams, err := a.client().Streams(ctx)
	if err != nil {
		return err
	}
	c := proxy.Config{Streams: streams}
	s, ok := c.Stream(key)
	if !ok {
		return &codedError{exitNotFound, fmt.Sprintf("stream %q: not found; platformctl stream list shows them", key)}
	}
	return a.printJSON(s)
}

// streams completes their keys.
func (a *app) streams(ctx context.Context) ([]string, error) {
	streams, err := a.client().Streams(ctx)
	var out []string
	for i := range streams {
		out = append(out, streams[i].Key())
	}
	return out, err
}

func newStreamRemoveCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use: "remove PORT[/udp] ...", Short: "Remove streams; connections that are open go on", Args: needs(1, "stream remove 5432"), ValidArgsFunction: a.complete(-1, a.streams),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.client().RemoveStreams(cmd.Context(), o.Options, args...)
			what := strings.Join(args, ", ")
			return a.changed(r, err, "removed "+what, what+" is removed")
		},
	}
	o.addFlags(c)
	return c
}
