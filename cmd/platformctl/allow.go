package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

type allowOptions struct {
	changeOptions
	request wire.AllowRequest
}

func newAllowCommand(a *app) *cobra.Command {
	var o allowOptions
	c := &cobra.Command{
		Use:   "allow ADDRESS|PREFIX|FROM-TO ...",
		Short: "Put addresses on the always-allow list: no block, feed, country, ban or limit concerns them",
		Long: `Put addresses on the always-allow list: no block, feed, country, ban or limit concerns them. It opens no port; what is closed
for everybody stays closed for them.`,
		Example: "  platformctl allow 203.0.113.7 --comment office",
		Args:    needs(1, "allow 203.0.113.7"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.request.Targets = args
			return a.runAllow(cmd.Context(), o)
		},
	}
	o.addFlags(c)
	c.Flags().StringVar(&o.request.Comment, "comment", "", "whose address it is")
	return c
}

func (a *app) runAllow(ctx context.Context, o allowOptions) error {
	var check checker
	check.targets(o.request.Targets)
	if err := check.err(); err != nil {
		return err
	}
	r, err := a.client().Allow(ctx, o.Options, o.request)
	what := strings.Join(o.request.Targets, ", ")
	return a.changed(r, err, "always allowed: "+what, what+" is always allowed")
}

func newUnallowCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use:     "unallow ADDRESS|PREFIX|FROM-TO ...",
		Short:   "Take addresses off the always-allow list",
		Example: "  platformctl unallow 203.0.113.7",
		Args:    needs(1, "unallow 203.0.113.7"), ValidArgsFunction: a.completeAllowed(),
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			check.targets(args)
			if err := check.err(); err != nil {
				return err
			}
			r, err := a.client().Unallow(cmd.Context(), o.Options, args...)
			what := strings.Join(args, ", ")
			return a.changed(r, err, "no longer always allowed: "+what, what+" is not on the list")
		},
	}
	o.addFlags(c)
	return c
}

func newAllowedCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "allowed", Short: "List the always-allow list", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runAllowed(cmd.Context()) },
	}
}

func (a *app) runAllowed(ctx context.Context) error {
	list, err := a.client().Allowed(ctx)
	if err != nil {
		return err
	}
	return a.show(list, func() {
		if len(list) == 0 {
			a.printf("nothing is always allowed; add your own address with: platformctl allow 203.0.113.7\n")
			return
		}
		t := newTable("TARGET", "COMMENT")
		for _, x := range list {
			t.row(x.Target.String(), x.Comment)
		}
		a.print(t)
	})
}
