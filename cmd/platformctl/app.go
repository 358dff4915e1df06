package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
)

// app is what every command shares.
type app struct {
	in       io.Reader
	out, err io.Writer
	now      func() time.Time
	env      func(string) string

	socket string
	json   bool
}

// run executes one command line and says how the process ends.
func (a *app) run(ctx context.Context, args []string) int {
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && codeOf(err) == exitInternal {
		err = nil // ended by the user, as --follow always is
	}
	for _, line := range a.explain(err) {
		fmt.Fprintln(a.err, "platformctl: "+line)
	}
	return codeOf(err)
}

func newRootCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "platformctl",
		Short: "Ask platformd about this host's firewall, and change it",
		Long: `platformctl talks to platformd over a unix socket. Every list can be printed with --json, every change tried with --dry-run.

Exit codes are listed by: platformctl help exit-codes`,
		Version:       version,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%s%v; see: %s --help", prefix(cmd), err, cmd.CommandPath())
	})
	c.SetVersionTemplate("platformctl {{.Version}}\n")
	c.CompletionOptions.HiddenDefaultCmd = false
	f := c.PersistentFlags()
	f.StringVar(&a.socket, "socket", "", "unix socket of platformd (default $PLATFORM_SOCKET, else "+wire.DefaultSocket+")")
	f.BoolVar(&a.json, "json", false, "print what the API answered, as JSON")
	c.SuggestionsMinimumDistance = 2
	c.AddGroup(&cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "change", Title: "Change:"},
		&cobra.Group{ID: "history", Title: "History:"}, &cobra.Group{ID: "more", Title: "More:"})
	grouped(c, "look", newStatusCommand(a), newExplainCommand(a), newDropsCommand(a), newTopCommand(a), newDoctorCommand(a),
		newBlockedCommand(a), newAllowedCommand(a))
	grouped(c, "change", newPortsCommand(a), newBlockCommand(a), newUnblockCommand(a), newAllowCommand(a), newUnallowCommand(a),
		newFeedsCommand(a), newGeoCommand(a), newLimitsCommand(a), newBansCommand(a), newFirewallCommand(a),
		newAppCommand(a), newRouteCommand(a), newStreamCommand(a), newUpstreamCommand(a), newPageCommand(a), newProxyCommand(a), newCertsCommand(a), newDNSCommand(a), newSettingsCommand(a), newConfirmCommand(a))
	grouped(c, "history", newHistoryCommand(a), newDiffCommand(a), newRollbackCommand(a), newExportCommand(a), newPlanCommand(a),
		newApplyCommand(a), newActivityCommand(a))
	grouped(c, "more", newVersionCommand(a), newDocsCommand())
	c.AddCommand(newExitCodesTopic())
	c.SetHelpCommandGroupID("more")
	c.SetCompletionCommandGroupID("more")
	return c
}

func grouped(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// prefix names a command in a message: "ports open: ".
func prefix(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return ""
	}
	return strings.TrimPrefix(cmd.CommandPath(), "platformctl ") + ": "
}

// noSuchCommand refuses arguments of a command that only has subcommands, and names what is near.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("%sthere is no command %q", prefix(cmd), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage("%s; see: %s --help", text, cmd.CommandPath())
}

// noun is a command that only has subcommands.
func noun(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	c.AddCommand(subcommands...)
	return c
}

// noArgs is cobra.NoArgs with a sentence of ours.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%stakes no arguments, but was given %q", prefix(cmd), args)
	}
	return nil
}

// needs wants at least n arguments, and says by the example what they are.
func needs(n int, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usage("%san argument is missing; write for example: platformctl %s", prefix(cmd), example)
		}
		return nil
	}
}

// exactly wants n arguments.
func exactly(n int, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%stakes %d argument(s), but was given %d; write for example: platformctl %s", prefix(cmd), n, len(args), example)
		}
		return nil
	}
}

func (a *app) client() *client.Client { return client.New(a.socketPath()) }

// socketPath is what the flag says, else the environment, else the default.
func (a *app) socketPath() string {
	return cmp.Or(a.socket, a.env("PLATFORM_SOCKET"), wire.DefaultSocket)
}

// printJSON prints v for programs.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// show prints v as JSON where that was asked for, else calls human.
func (a *app) show(v any, human func()) error {
	if a.json {
		return a.printJSON(v)
	}
	human()
	return nil
}
