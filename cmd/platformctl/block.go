package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

type blockOptions struct {
	changeOptions
	request wire.BlockRequest
}

func newBlockCommand(a *app) *cobra.Command {
	var o blockOptions
	c := &cobra.Command{
		Use:   "block ADDRESS|PREFIX|FROM-TO ...",
		Short: "Block addresses, in both directions, and end their open connections",
		Example: `  platformctl block 192.0.2.7
  platformctl block 192.0.2.0/24 2001:db8::/32 --for 12h --reason "scans ports"
  platformctl block 192.0.2.10-192.0.2.19`,
		Args: needs(1, "block 192.0.2.0/24"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.request.Targets = args
			return a.runBlock(cmd.Context(), o)
		},
	}
	o.addFlags(c)
	c.Flags().StringVar(&o.request.For, "for", "", "how long: 30m, 12h, 7d, 2w; until it is removed where it is not given")
	c.Flags().StringVar(&o.request.Reason, "reason", "", "why, for those who look later")
	return c
}

func (a *app) runBlock(ctx context.Context, o blockOptions) error {
	var check checker
	check.targets(o.request.Targets)
	check.duration(o.request.For)
	if err := check.err(); err != nil {
		return err
	}
	r, err := a.client().Block(ctx, o.Options, o.request)
	what := strings.Join(o.request.Targets, ", ")
	done := "blocked " + what
	if o.request.For != "" {
		done += " for " + o.request.For
	}
	return a.changed(r, err, done, what+" is blocked")
}

func newUnblockCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use:     "unblock ADDRESS|PREFIX|FROM-TO ...",
		Short:   "Take addresses out of every block; what remains of a larger block stays",
		Example: "  platformctl unblock 192.0.2.7",
		Args:    needs(1, "unblock 192.0.2.0/24"), ValidArgsFunction: a.completeBlocks(),
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			check.targets(args)
			if err := check.err(); err != nil {
				return err
			}
			r, err := a.client().Unblock(cmd.Context(), o.Options, args...)
			what := strings.Join(args, ", ")
			return a.changed(r, err, "unblocked "+what, what+" is not blocked")
		},
	}
	o.addFlags(c)
	return c
}

func newBlockedCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "blocked", Short: "List the blocks", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runBlocked(cmd.Context()) },
	}
}

func (a *app) runBlocked(ctx context.Context) error {
	blocks, err := a.client().Blocks(ctx)
	if err != nil {
		return err
	}
	return a.show(blocks, func() {
		if len(blocks) == 0 {
			a.printf("no blocks; add one with: platformctl block 192.0.2.0/24\n")
			return
		}
		t := newTable("TARGET", "SINCE", "LEFT", "BY", "REASON")
		for _, b := range blocks {
			t.row(b.Target.String(), when(b.Since), a.left(b.Until), b.By, b.Reason)
		}
		a.print(t)
	})
}
