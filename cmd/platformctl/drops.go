package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
)

type dropsOptions struct {
	follow bool
	limit  int
}

func newDropsCommand(a *app) *cobra.Command {
	var o dropsOptions
	c := &cobra.Command{
		Use: "drops", Short: "Show refused packets", Args: noArgs,
		Long: "Show the newest refused packets. Logging is limited, so under a flood it is a sample; platformctl top has the exact counters.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDrops(cmd.Context(), o) },
	}
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on with those that come, until interrupted")
	c.Flags().IntVar(&o.limit, "limit", 50, "how many of those that are remembered, 1 to 10000")
	return c
}

func (a *app) runDrops(ctx context.Context, o dropsOptions) error {
	if o.limit < 1 || o.limit > 10_000 {
		return usage("--limit %d: must be between 1 and 10000", o.limit)
	}
	drops, err := a.client().Drops(ctx, 0, o.limit)
	if err != nil {
		return err
	}
	if !o.follow {
		return a.show(drops, func() { a.printDrops(drops) })
	}
	last := uint64(0)
	for _, d := range drops {
		last = d.Seq
		if err := a.printDrop(d); err != nil {
			return err
		}
	}
	return follow(ctx, a, a.client().FollowDrops(ctx, last), a.printDrop)
}

// follow prints a stream until the user or the daemon ends it.
func follow[T any](ctx context.Context, a *app, stream func(func(T, error) bool), show func(T) error) error {
	for v, err := range stream {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := show(v); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return &client.UnreachableError{Socket: a.socket, Cause: errors.New("it ended the stream")}
}

func (a *app) printDrops(drops []wire.Drop) {
	if len(drops) == 0 {
		a.printf("no packet was refused since platformd started; wait for some with: platformctl drops --follow\n")
		return
	}
	t := newTable("TIME", "REASON", "PROTOCOL", "FROM", "TO", "INTERFACE")
	for _, d := range drops {
		t.row(when(d.Time), string(d.Reason), d.Protocol, endpoint(d.Source, d.SourcePort), endpoint(d.Destination, d.Port), d.Interface)
	}
	a.print(t)
}

// printDrop prints one line as it comes.
func (a *app) printDrop(d wire.Drop) error {
	if a.json {
		return a.printJSONLine(d)
	}
	a.printf("%s  %s  %s  %s -> %s  %s\n", when(d.Time), printable(string(d.Reason)), printable(d.Protocol), endpoint(d.Source, d.SourcePort), endpoint(d.Destination, d.Port), printable(d.Interface))
	return nil
}

// printJSONLine prints one value a line, for streams.
func (a *app) printJSONLine(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func endpoint(address string, port uint16) string {
	if port == 0 {
		return address
	}
	return fmt.Sprintf("%s port %d", address, port)
}

func newTopCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "top", Short: "Show who is being refused, and why", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runTop(cmd.Context()) }}
}

func (a *app) runTop(ctx context.Context) error {
	top, err := a.client().Top(ctx)
	if err != nil {
		return err
	}
	return a.show(top, func() {
		a.printf("refused packets by rule, exact:\n")
		counters := newTable("REASON", "PACKETS", "BYTES")
		for _, c := range top.Counters {
			if c.Packets > 0 {
				counters.row(string(c.Reason), fmt.Sprint(c.Packets), fmt.Sprint(c.Bytes))
			}
		}
		a.printOr(counters, "none")
		a.printf("\nsources, of the packets that were logged since %s:\n", when(top.Since))
		sources := newTable("SOURCE", "COUNTRY", "REASON", "PACKETS")
		for _, e := range top.Sources {
			sources.row(e.Key, e.Country, e.Reason, fmt.Sprint(e.Packets))
		}
		a.printOr(sources, "none")
		a.printf("\nports they wanted:\n")
		ports := newTable("PORT", "PACKETS")
		for _, e := range top.Ports {
			ports.row(e.Key, fmt.Sprint(e.Packets))
		}
		a.printOr(ports, "none")
		if top.Lost > 0 {
			a.printf("\n%d times logged packets did not fit into memory\n", top.Lost)
		}
	})
}

func (a *app) printOr(t *table, empty string) {
	if len(t.rows) == 0 {
		a.printf("%s\n", empty)
		return
	}
	a.print(t)
}
