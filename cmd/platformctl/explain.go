package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
)

func newExplainCommand(a *app) *cobra.Command {
	var q client.Question
	c := &cobra.Command{
		Use:   "explain ADDRESS",
		Short: "Say what happens to a new connection from an address, and why",
		Long: `Say what happens to a new connection from an address, and why: the rule, list, ban or limit that decides, since when and until when.
With --app it is a connection from that app to the address.
Each answer is checked against the kernel; it ends with 3 where the kernel disagrees.`,
		Example: "  platformctl explain 192.0.2.7\n  platformctl explain 2001:db8::7 --port 22\n  platformctl explain 192.0.2.7 --port 53 --proto udp\n  platformctl explain 10.0.0.5 --port 443 --app blog",
		Args:    exactly(1, "explain 192.0.2.7 --port 22"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Address = args[0]
			return a.runExplain(cmd.Context(), q)
		},
	}
	f := c.Flags()
	f.StringVar(&q.Port, "port", "", "the port it wants; without, only what holds for every port is asked")
	f.StringVar(&q.Protocol, "proto", "", "tcp or udp; tcp where it is not given")
	f.StringVar(&q.App, "app", "", "the app that wants to reach the address")
	_ = c.RegisterFlagCompletionFunc("app", a.completeApps(0))
	f.StringVar(&q.Interface, "interface", "", "where it comes in")
	return c
}

func (a *app) runExplain(ctx context.Context, q client.Question) error {
	var check checker
	check.address(q.Address)
	check.protocol(q.Protocol)
	if n, err := strconv.ParseUint(q.Port, 10, 16); q.Port != "" && (err != nil || n == 0) {
		check.bad("--port %q: must be a number from 1 to 65535", q.Port)
	}
	if err := check.err(); err != nil {
		return err
	}
	x, err := a.client().Explain(ctx, q)
	if err != nil {
		return err
	}
	if err := a.show(x, func() { a.printExplanation(x, q) }); err != nil {
		return err
	}
	if len(x.Disagree) > 0 {
		return &codedError{code: exitNotVerified}
	}
	return nil
}

func (a *app) printExplanation(x wire.Explanation, q client.Question) {
	v := x.Verdict
	what := x.Address
	if q.App != "" {
		what = "app " + printable(q.App) + " to " + what
	}
	if q.Port != "" {
		what += " to port " + q.Port
	}
	verdict := a.paint(green, "admitted")
	if !v.Admitted {
		verdict = a.paint(red, "refused")
	}
	a.printf("%s: %s by %s", what, verdict, printable(v.Rule))
	if v.Limit != "" {
		a.printf(", within limit %s", printable(v.Limit))
	}
	if !v.Until.IsZero() {
		a.printf(", until %s (%s left)", when(v.Until), a.left(v.Until))
	}
	a.printf("\n\n")
	for i, s := range v.Steps {
		a.printf("  %d. %s %s\n", i+1, printable(s.Question), printable(s.Answer))
	}
	for _, b := range x.Behind {
		a.printf("  behind it: %s\n", strings.TrimSpace(printable(b)))
	}
	a.printf("\nkernel: %s\n", x.Kernel)
	for _, d := range x.Disagree {
		a.printf("  %s\n", a.paint(red, printable(d)))
	}
}
