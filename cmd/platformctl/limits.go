package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/ratelimit"
)

func newLimitsCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the limit classes", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runLimitsList(cmd.Context()) }}
	c := noun("limits", "How much one source may do", list, newLimitsSetCommand(a), newLimitsResetCommand(a))
	c.Long = `How much one source may do. A source is an IPv4 address or an IPv6 /64.

"5/10s" is five at once, and then one every two seconds. "50/s burst 100" lets a hundred through at once. "concurrent 20" is
how many may be open at the same time. "off" is no limit. The class "syn" limits new TCP connections to all ports together.`
	return c
}

func (a *app) runLimitsList(ctx context.Context) error {
	limits, err := a.client().Limits(ctx)
	if err != nil {
		return err
	}
	return a.show(limits, func() {
		t := newTable("CLASS", "LIMIT", "DEFAULT", "WHEN FULL", "WHAT")
		for _, l := range limits {
			t.row(l.Name, l.Limit, l.Default, l.WhenFull, l.Description)
		}
		a.print(t)
	})
}

func newLimitsSetCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use: "set CLASS LIMIT", Short: "Set a limit class, or make a new one",
		Example: "  platformctl limits set ssh 10/m\n  platformctl limits set http 200/s burst 500 concurrent 100\n  platformctl limits set syn 100/s",
		Args:    needs(2, "limits set ssh 5/10s"), ValidArgsFunction: a.complete(1, a.limitClasses),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, limit := args[0], strings.Join(args[1:], " ")
			var check checker
			check.class(name)
			_, err := ratelimit.Parse(limit)
			check.add(err)
			if err := check.err(); err != nil {
				return err
			}
			r, err := a.client().SetLimit(cmd.Context(), o.Options, name, limit)
			return a.changed(r, err, "set limit "+name+" to "+limit, "limit "+name+" is "+limit)
		},
	}
	o.addFlags(c)
	return c
}

func newLimitsResetCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use: "reset CLASS", Short: "Set a limit class back to its default, or remove one of your own", Args: exactly(1, "limits reset ssh"),
		ValidArgsFunction: a.complete(1, a.limitClasses),
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			check.class(args[0])
			if err := check.err(); err != nil {
				return err
			}
			r, err := a.client().ResetLimit(cmd.Context(), o.Options, args[0])
			return a.changed(r, err, "reset limit "+args[0], "limit "+args[0]+" is as by default")
		},
	}
	o.addFlags(c)
	return c
}
