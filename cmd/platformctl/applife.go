package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/api/wire"
)

// manifestFor reads a manifest from a file, or from the catalog where there is no such file, and says what it is called in
// messages.
func (a *app) manifestFor(ctx context.Context, arg string) (file string, data []byte, err error) {
	if arg == "-" {
		data, err = a.readFile(arg)
		return "stdin", data, err
	}
	if _, err := os.Stat(arg); !errors.Is(err, fs.ErrNotExist) || strings.ContainsAny(arg, "/.") {
		data, err := a.readFile(arg)
		return arg, data, err
	}
	all, err := a.client().Catalog(ctx)
	if err != nil {
		return "", nil, err
	}
	for _, c := range all {
		if c.Name == arg {
			return "catalog/" + arg + ".yaml", []byte(c.Manifest), nil
		}
	}
	return "", nil, &codedError{exitNotFound, fmt.Sprintf("%s: is neither a file nor in the catalog; platformctl app catalog lists what is", arg)}
}

func (a *app) completeCatalog() completion {
	return a.complete(1, func(ctx context.Context) ([]string, error) {
		all, err := a.client().Catalog(ctx)
		return names(all, func(c wire.CatalogApp) string { return c.Name + "\t" + c.Description }), err
	})
}

func newAppCatalogCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "catalog [NAME]", Short: "List the apps that can be installed by name, or show the manifest of one", Args: cobra.MaximumNArgs(1),
		Example: "  platformctl app catalog\n  platformctl app catalog gitea > gitea.yaml", ValidArgsFunction: a.completeCatalog(),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.client().Catalog(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.show(all, func() {
					t := newTable("NAME", "VERSION", "NEEDS", "WHAT IT DOES")
					for _, c := range all {
						t.row(c.Name, c.Release, strings.Join(c.Addons, ", "), c.Description)
					}
					a.print(t)
				})
			}
			for _, c := range all {
				if c.Name == args[0] {
					return a.show(c, func() { a.printf("%s", c.Manifest) })
				}
			}
			return &codedError{exitNotFound, fmt.Sprintf("%s: is not in the catalog; platformctl app catalog lists what is", args[0])}
		}}
}

func newAppPlanCommand(a *app) *cobra.Command {
	var name, domain string
	c := &cobra.Command{Use: "plan FILE|NAME", Short: "Show what an installation or update would change", Args: exactly(1, "app plan wiki-2.yaml"), ValidArgsFunction: a.completeApps(1),
		Long: `Show what an installation or update to a manifest would change, in the document and in the container engine; nothing is changed. With the
name of an installed app: what differs from the document in the engine now. It ends with code 9 where there is something to change.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := a.plan(cmd.Context(), args[0], name, domain)
			if err != nil {
				return err
			}
			if err := a.show(p, func() { a.printPlan(p) }); err != nil || len(p.Document)+len(p.Steps) == 0 {
				return err
			}
			return &codedError{exitChanges, ""}
		}}
	c.Flags().StringVar(&name, "name", "", "what it is called here (default the manifest's id)")
	c.Flags().StringVar(&domain, "domain", "", "the host name that it would be reached by")
	return c
}

func (a *app) plan(ctx context.Context, arg, name, domain string) (wire.AppPlan, error) {
	if _, err := os.Stat(arg); errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(arg, "/.") && arg != "-" {
		if _, err := a.client().App(ctx, arg); err == nil {
			return a.client().PlanInstalledApp(ctx, arg)
		}
	}
	file, data, err := a.manifestFor(ctx, arg)
	if err != nil {
		return wire.AppPlan{}, err
	}
	return a.client().PlanApp(ctx, name, domain, file, data)
}

func (a *app) printPlan(p wire.AppPlan) {
	if len(p.Document)+len(p.Steps) == 0 {
		a.printf("%s is as the document says\n", p.App)
		return
	}
	if p.Installs {
		a.printf("%s would be installed\n", p.App)
	} else {
		for _, c := range p.Document {
			a.printf("  %s: %s -> %s\n", c.Path, short(c.Before), short(c.After))
		}
	}
	for _, s := range p.Steps {
		a.printf("  %s\n", printable(s))
	}
}

// short is a value of the document in a few words.
func short(raw []byte) string {
	s := printable(string(bytes.TrimSpace(raw)))
	if s == "" {
		return "nothing"
	}
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return s
}

func newAppDebugCommand(a *app) *cobra.Command {
	var o changeOptions
	var w waitOptions
	c := &cobra.Command{Use: "debug NAME [-- COMMAND ...]", Short: "Replace the process of an app, with a writable root", Args: needs(1, "app debug blog"), ValidArgsFunction: a.completeApps(1),
		Long: `Replace the process of an app by another one of its image, sleep infinity where none is named, and make its root file system writable. All other
walls stay, its data is there, and its route answers 503. Look around with platformctl app exec; platformctl app start ends it, and what was
written to the root file system is gone.`,
		Example: "  platformctl app debug blog\n  platformctl app exec blog --tty -- sh\n  platformctl app start blog",
		RunE: func(cmd *cobra.Command, args []string) error {
			command := args[1:]
			if len(command) == 0 {
				command = []string{"sleep", "infinity"}
			}
			return a.longChange(cmd.Context(), w, args[0], "debug "+args[0], func(ctx context.Context) (wire.ChangeResult, error) {
				return a.client().DebugApp(ctx, o.Options, args[0], command)
			})
		}}
	o.addFlags(c)
	w.addFlags(c)
	return c
}

func newAppRepairCommand(a *app) *cobra.Command {
	var o changeOptions
	var w waitOptions
	c := &cobra.Command{Use: "repair NAME", Short: "Make network, volumes and containers of an app anew", Args: exactly(1, "app repair blog"), ValidArgsFunction: a.completeApps(1),
		Long: "Make network, volumes and containers of an app anew, as the document says. Its data stays.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.longChange(cmd.Context(), w, args[0], "repair "+args[0], func(ctx context.Context) (wire.ChangeResult, error) {
				return a.client().RepairApp(ctx, o.Options, args[0])
			})
		}}
	o.addFlags(c)
	w.addFlags(c)
	return c
}

func newAppCloneCommand(a *app) *cobra.Command {
	var o changeOptions
	var w waitOptions
	var domain string
	c := &cobra.Command{Use: "clone NAME NEW", Short: "Copy an app and its data under another name", Args: exactly(2, "app clone blog try --domain try.example.org"), ValidArgsFunction: a.completeApps(1),
		Long: `Copy an app and its data under another name and domain. The app is stopped while its data is copied. The copy has secrets of its own, its
published ports are closed until they are chosen, and it cannot be rolled back. Apps with a database cannot be copied yet.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.longChange(cmd.Context(), w, args[1], "clone "+args[0]+" as "+args[1], func(ctx context.Context) (wire.ChangeResult, error) {
				return a.client().CloneApp(ctx, o.Options, args[0], args[1], domain)
			})
		}}
	c.Flags().StringVar(&domain, "domain", "", "the host name that the copy is reached by")
	o.addFlags(c)
	w.addFlags(c)
	return c
}

func newAppStatsCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "stats [NAME]", Short: "Show how much of the host apps use, or what one used over time", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeApps(1),
		Long: "Show how much of the host each app used last. With a name: what it used over the last week, every five minutes, and over the last hour every ten seconds.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 1 {
				all, err := a.client().AppStats(ctx, args[0])
				if err != nil {
					return err
				}
				return a.show(all, func() { a.printStats("TIME", all, func(s wire.AppSample) string { return when(s.At) }) })
			}
			installed, err := a.client().Apps(ctx)
			if err != nil {
				return err
			}
			last := map[string]wire.AppSample{}
			var rows []wire.AppSample
			var of []string
			for _, p := range installed {
				all, err := a.client().AppStats(ctx, p.Name)
				if err != nil {
					return err
				}
				if len(all) > 0 {
					s := all[len(all)-1]
					last[p.Name], rows, of = s, append(rows, s), append(of, p.Name)
				}
			}
			return a.show(last, func() {
				i := -1
				a.printStats("APP", rows, func(wire.AppSample) string { i++; return of[i] })
			})
		}}
}

func (a *app) printStats(head string, list []wire.AppSample, first func(wire.AppSample) string) {
	t := newTable(head, "CPU", "MEMORY", "PROCESSES", "RECEIVED/S", "SENT/S", "DISK")
	for _, s := range list {
		t.row(first(s), fmt.Sprintf("%.0f%%", 100*s.CPU), apps.Size(s.Memory).Round(), fmt.Sprint(s.PIDs), apps.Size(s.Received).Round(), apps.Size(s.Sent).Round(), apps.Size(s.Disk).Round())
	}
	a.print(t)
}
