package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newBansCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the banned sources", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runBansList(cmd.Context()) }}
	remove := &cobra.Command{Use: "remove ADDRESS|PREFIX ...", Short: "Lift the bans of addresses", Args: needs(1, "bans remove 192.0.2.7"),
		ValidArgsFunction: a.complete(0, func(ctx context.Context) ([]string, error) {
			bans, err := a.client().Bans(ctx)
			return names(bans, func(b wire.Ban) string { return b.Target + "\t" + b.Reason }), err
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			check.targets(args)
			if err := check.err(); err != nil {
				return err
			}
			if err := a.client().Unban(cmd.Context(), args...); err != nil {
				return err
			}
			return a.show(map[string]any{"removed": args}, func() { a.printf("lifted the ban of %s\n", strings.Join(args, ", ")) })
		}}
	return noun("bans", "Sources that are banned for what they did", list, remove)
}

func (a *app) runBansList(ctx context.Context) error {
	bans, err := a.client().Bans(ctx)
	if err != nil {
		return err
	}
	return a.show(bans, func() {
		if len(bans) == 0 {
			a.printf("nobody is banned; who fails to log in several times will be. Block by hand with: platformctl block 192.0.2.7\n")
			return
		}
		t := newTable("TARGET", "REASON", "SINCE", "LEFT", "TIMES", "LAST STRIKE")
		for _, b := range bans {
			t.row(b.Target, b.Reason, when(b.Since), a.left(b.Until), fmt.Sprint(b.Count), b.Detail)
		}
		a.print(t)
	})
}
