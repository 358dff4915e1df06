package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/api/wire"
)

func newAppCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the apps", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runAppList(cmd.Context()) }}
	show := &cobra.Command{Use: "show NAME", Short: "Show an app", Args: exactly(1, "app show blog"), ValidArgsFunction: a.completeApps(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAppShow(cmd.Context(), args[0]) }}
	c := noun("app", "Install, update and look after apps", list, show, newAppInstallCommand(a), newAppImportCommand(a), newAppUpdateCommand(a), newAppRollbackCommand(a), newAppConfigureCommand(a),
		newAppVerbCommand(a, "start", "Start an app that was stopped"), newAppVerbCommand(a, "stop", "Stop an app; it answers 503 until it is started"),
		newAppVerbCommand(a, "restart", "Make an app's container anew"), newAppLogsCommand(a), newAppEventsCommand(a), newAppUninstallCommand(a),
		newAppCatalogCommand(a), newAppPlanCommand(a), newAppExecCommand(a), newAppDebugCommand(a), newAppRepairCommand(a), newAppCloneCommand(a), newAppStatsCommand(a), newAppSchemaCommand(a))
	c.Long = `Install, update and look after apps. An app runs in a container with a read-only root file system and without privileges, in a network of
its own, and is reached by its domain through the proxy. What it may use of the host is in its manifest.`
	return c
}

// completeApps completes the name of an app as one of the first n arguments.
func (a *app) completeApps(n int) completion {
	return a.complete(n, func(ctx context.Context) ([]string, error) {
		all, err := a.client().Apps(ctx)
		return names(all, func(p wire.App) string { return p.Name + "\t" + p.Title }), err
	})
}

func (a *app) runAppList(ctx context.Context) error {
	all, err := a.client().Apps(ctx)
	if err != nil {
		return err
	}
	return a.show(all, func() {
		if len(all) == 0 {
			a.printf("there is no app; install one with: platformctl app install FILE --domain app.example.org\n")
			return
		}
		t := newTable("APP", "STATE", "SINCE", "DOMAIN", "VERSION", "NOTES")
		for _, p := range all {
			notes := p.Reason
			if p.Next != "" {
				notes = "updating to " + p.Next
			}
			t.row(p.Name, p.State, when(p.Since), p.Domain, p.Release, notes)
		}
		a.print(t)
	})
}

func (a *app) runAppShow(ctx context.Context, name string) error {
	p, err := a.client().App(ctx, name)
	if err != nil {
		return err
	}
	return a.show(p, func() {
		var ports []string
		for _, o := range p.Ports {
			ports = append(ports, fmt.Sprintf("%s %d/%s to %d", o.Name, o.Host, o.Protocol, o.Container))
		}
		state := p.State
		if p.Reason != "" {
			state += ": " + p.Reason
		}
		t := newTable("", "")
		for _, row := range [][2]string{{"app", p.Name}, {"title", p.Title}, {"state", state}, {"since", when(p.Since)}, {"domain", p.Domain}, {"version", p.Release},
			{"image", p.Image}, {"image id", p.ImageID}, {"runs as", p.User}, {"network", p.Network + ", " + p.Address}, {"ports", strings.Join(ports, ", ")},
			{"memory", p.Limits.Memory.String()}, {"cpus", fmt.Sprint(p.Limits.CPUs)}, {"processes", fmt.Sprint(p.Limits.PIDs)}, {"next", p.Next}, {"previous", p.Previous}, {"last update", p.UpdateFailed}} {
			if row[1] != "" {
				t.row(row[0], row[1])
			}
		}
		a.print(t)
	})
}

func newAppVerbCommand(a *app, verb, short string) *cobra.Command {
	var o changeOptions
	var w waitOptions
	c := &cobra.Command{Use: verb + " NAME", Short: short, Args: exactly(1, "app "+verb+" blog"), ValidArgsFunction: a.completeApps(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.longChange(cmd.Context(), w, args[0], verb+" "+args[0], func(ctx context.Context) (wire.ChangeResult, error) {
				return a.client().TellApp(ctx, o.Options, args[0], verb)
			})
		}}
	o.addFlags(c)
	w.addFlags(c)
	return c
}

func newAppUninstallCommand(a *app) *cobra.Command {
	var o changeOptions
	var data bool
	c := &cobra.Command{Use: "uninstall NAME", Short: "Remove an app; its data stays unless --data is given", Args: exactly(1, "app uninstall blog"), ValidArgsFunction: a.completeApps(1),
		Long: `Remove an app: its container, network and routes. Its data and secrets stay, and an app of the same name finds them again, unless --data is given.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.client().UninstallApp(cmd.Context(), o.Options, args[0], data)
			what := "uninstalled " + args[0] + "; its data is kept"
			if data {
				what = "uninstalled " + args[0] + " with its data"
			}
			return a.changed(r, err, what, args[0]+" is not installed")
		}}
	c.Flags().BoolVar(&data, "data", false, "remove its data and secrets too; there is no way back")
	o.addFlags(c)
	return c
}

func newAppLogsCommand(a *app) *cobra.Command {
	var tail int
	var follow bool
	c := &cobra.Command{Use: "logs NAME", Short: "Show what an app wrote", Args: exactly(1, "app logs blog"), ValidArgsFunction: a.completeApps(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := a.client().App(cmd.Context(), args[0]); err != nil {
				return err
			}
			for l, err := range a.client().AppLogs(cmd.Context(), args[0], tail, follow) {
				switch {
				case cmd.Context().Err() != nil:
					return nil
				case err != nil:
					return err
				case a.json:
					if err := a.printJSONLine(l); err != nil {
						return err
					}
				default:
					a.printf("%s\n", printable(l.Line))
				}
			}
			return nil
		}}
	c.Flags().IntVarP(&tail, "tail", "n", 100, "how many of the last lines")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with those that come, until interrupted")
	return c
}

func newAppEventsCommand(a *app) *cobra.Command {
	var only bool
	c := &cobra.Command{Use: "events NAME", Short: "Show what happened to an app, and follow what happens", Args: exactly(1, "app events blog"), ValidArgsFunction: a.completeApps(1),
		Long: "Show what happened to an app: what the activity log says, then the steps that the daemon remembers since it was started, then each as it comes, until interrupted.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.pastEvents(cmd.Context(), args[0]); err != nil || only {
				return err
			}
			return follow(cmd.Context(), a, a.client().FollowApp(cmd.Context(), args[0], 0), func(e wire.AppEvent) error {
				if a.json {
					return a.printJSONLine(e)
				}
				a.printf("%s  %s\n", when(e.At), eventText(e))
				return nil
			})
		}}
	c.Flags().BoolVar(&only, "past", false, "only what the activity log says; follow nothing")
	return c
}

// pastEvents prints the newest records of the activity log about an app, oldest first.
func (a *app) pastEvents(ctx context.Context, name string) error {
	found, err := a.client().Activity(ctx, wire.ActivityFilter{Object: name, Limit: 100, Newest: true})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(x, y wire.Record) int { return x.Time.Compare(y.Time) })
	for _, r := range found {
		if !strings.HasPrefix(string(r.Action), "app-") {
			continue
		}
		e := wire.AppEvent{At: r.Time, App: name, Text: strings.TrimRight(fmt.Sprintf("%s by %s: %s", r.Action, r.Actor, r.Message), ": ")}
		if a.json {
			if err := a.printJSONLine(e); err != nil {
				return err
			}
			continue
		}
		a.printf("%s  %s\n", when(e.At), eventText(e))
	}
	return nil
}

func eventText(e wire.AppEvent) string {
	text := printable(e.Text)
	switch {
	case e.State != "" && text != "":
		return e.State + ": " + text
	case e.State != "":
		return e.State
	case e.Total > 0:
		return fmt.Sprintf("%s: %v of %v", text, apps.Size(e.Done).Round(), apps.Size(e.Total).Round())
	}
	return text
}

// settleTime is how long the end of long work is waited for.
const settleTime = 15 * time.Minute
