package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/api/wire"
)

type appInstallOptions struct {
	changeOptions
	waitOptions
	name, domain, image, memory string
	port                        uint16
	data, env                   []string
}

func newAppInstallCommand(a *app) *cobra.Command {
	var o appInstallOptions
	c := &cobra.Command{
		Use: "install FILE | CATALOG-NAME | --image REF --http-port PORT NAME", Short: "Install an app",
		Long: `Install an app from a manifest, YAML or JSON; - is the standard input. A word that is no file is a name of the catalog. With --image a manifest is made of the flags, for an image that needs
no more than a port, folders and variables. The command returns when the app answers; with --no-wait when it is on its way.`,
		Example: `  platformctl app install wiki.yaml --domain wiki.example.org
  platformctl app install vaultwarden --domain vault.example.org
  platformctl app install --image docker.io/library/nginx:1.27 --http-port 8080 --domain www.example.org web`,
		Args: exactly(1, "app install wiki.yaml --domain wiki.example.org"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAppInstall(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.domain, "domain", "", "the host name that it is reached by")
	f.StringVar(&o.name, "name", "", "what it is called here (default the manifest's id)")
	f.StringVar(&o.image, "image", "", "an image, in the place of a manifest")
	f.Uint16Var(&o.port, "http-port", 0, "with --image: the port that it serves HTTP on")
	f.StringArrayVar(&o.data, "data", nil, "with --image: a folder that is kept, as NAME=/path; may be given several times")
	f.StringArrayVarP(&o.env, "env", "e", nil, "a variable of its environment, as KEY=VALUE; may be given several times")
	f.StringVar(&o.memory, "memory", "", "how much memory it may use, for example 512M")
	o.changeOptions.addFlags(c)
	o.waitOptions.addFlags(c)
	return c
}

func (a *app) runAppInstall(ctx context.Context, o appInstallOptions, arg string) error {
	name, file, data := o.name, arg, []byte(nil)
	var err error
	if o.image != "" {
		if name == "" {
			name = arg
		}
		file = "flags"
		data, err = o.manifest(name)
	} else {
		file, data, err = a.manifestFor(ctx, arg)
	}
	if err != nil {
		return err
	}
	shown := name
	if shown == "" {
		shown = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		if id := manifestID(data); id != "" {
			shown = id
		}
	}
	return a.longChange(ctx, o.waitOptions, shown, "install "+shown, func(ctx context.Context) (wire.ChangeResult, error) {
		return a.client().InstallApp(ctx, o.Options, name, o.domain, file, data)
	})
}

// manifestID finds the id in a manifest, for events of an app that is not installed yet; the daemon reads it properly.
func manifestID(data []byte) string {
	for line := range strings.Lines(string(data)) {
		if id, ok := strings.CutPrefix(strings.TrimLeft(line, "{ \""), "id"); ok && strings.Contains(id, ":") {
			_, value, _ := strings.Cut(id, ":")
			return strings.Trim(strings.TrimSpace(value), "\"', ")
		}
	}
	return ""
}

// manifest is made of the flags.
func (o *appInstallOptions) manifest(name string) ([]byte, error) {
	var check checker
	m := apps.Manifest{Version: apps.ManifestVersion, ID: name, Image: o.image, HTTP: apps.HTTP{Port: o.port}}
	for _, d := range o.data {
		n, path, ok := strings.Cut(d, "=")
		if !ok {
			check.bad("data %q: write it as NAME=/path", d)
		}
		m.Data = append(m.Data, apps.Data{Name: n, Path: path})
	}
	if len(o.env) > 0 {
		m.Env = pairs(&check, "env", o.env)
	}
	if o.memory != "" {
		if err := m.Limits.Memory.UnmarshalText([]byte(o.memory)); err != nil {
			check.bad("memory: %v", err)
		}
	}
	if err := check.err(); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// pairs reads KEY=VALUE.
func pairs(check *checker, flag string, list []string) map[string]string {
	out := map[string]string{}
	for _, e := range list {
		k, v, ok := strings.Cut(e, "=")
		if !ok {
			check.bad("%s %q: write it as KEY=VALUE", flag, e)
		}
		out[k] = v
	}
	return out
}

func newAppUpdateCommand(a *app) *cobra.Command {
	var o changeOptions
	w := waitOptions{update: true}
	c := &cobra.Command{Use: "update NAME FILE|CATALOG-NAME", Short: "Update an app to another manifest", Args: exactly(2, "app update blog blog-2.yaml"), ValidArgsFunction: a.completeApps(1),
		Long: `Update an app to another manifest. Its data is copied first, and the new version runs on the copy; when it does not become healthy, the
version before runs again on the data that it had. Where both manifests say "overlap", the new version is started beside the old one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, data, err := a.manifestFor(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			return a.longChange(cmd.Context(), w, args[0], "update "+args[0], func(ctx context.Context) (wire.ChangeResult, error) {
				return a.client().UpdateApp(ctx, o.Options, args[0], file, data)
			})
		}}
	o.addFlags(c)
	w.addFlags(c)
	return c
}

func newAppRollbackCommand(a *app) *cobra.Command {
	var o changeOptions
	w := waitOptions{update: true}
	var keep bool
	c := &cobra.Command{Use: "rollback NAME", Short: "Go back to the version before, and to its data", Args: exactly(1, "app rollback blog"), ValidArgsFunction: a.completeApps(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.longChange(cmd.Context(), w, args[0], "roll back "+args[0], func(ctx context.Context) (wire.ChangeResult, error) {
				return a.client().RollbackApp(ctx, o.Options, args[0], keep)
			})
		}}
	c.Flags().BoolVar(&keep, "keep-data", false, "only the software goes back; it runs on a copy of the data of now")
	o.addFlags(c)
	w.addFlags(c)
	return c
}

func newAppConfigureCommand(a *app) *cobra.Command {
	var o changeOptions
	var w waitOptions
	var domain, memory, egress string
	var cpus float64
	var pids int
	var env, unset, ports, hosts []string
	c := &cobra.Command{Use: "configure NAME", Short: "Change domain, environment, limits, ports or egress of an app", Args: exactly(1, "app configure blog --memory 1G"),
		ValidArgsFunction: a.completeApps(1),
		Example: `  platformctl app configure blog --domain www.example.org
  platformctl app configure blog --memory 1G --cpus 1.5 --env LOG_LEVEL=debug
  platformctl app configure game --port server=25566 --egress none`}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var check checker
		in := wire.AppConfigure{Env: pairs(&check, "env", env), Ports: map[string]uint16{}}
		for _, k := range unset {
			in.Env[k] = ""
		}
		for k, v := range pairs(&check, "port", ports) {
			n, err := strconv.ParseUint(v, 10, 16)
			if err != nil {
				check.bad("port %q: write it as NAME=NUMBER, 0 closes it", k+"="+v)
			}
			in.Ports[k] = uint16(n)
		}
		if cmd.Flags().Changed("domain") {
			in.Domain = &domain
		}
		if egress != "" || len(hosts) > 0 {
			in.Egress = &apps.Egress{Mode: egress, Hosts: hosts}
		}
		limits := apps.Limits{CPUs: cpus, PIDs: pids}
		if memory != "" {
			if err := limits.Memory.UnmarshalText([]byte(memory)); err != nil {
				check.bad("memory: %v", err)
			}
		}
		if limits != (apps.Limits{}) {
			in.Limits = &limits
		}
		if err := check.err(); err != nil {
			return err
		}
		return a.longChange(cmd.Context(), w, args[0], "configure "+args[0], func(ctx context.Context) (wire.ChangeResult, error) {
			return a.client().ConfigureApp(ctx, o.Options, args[0], in)
		})
	}
	f := c.Flags()
	f.StringVar(&domain, "domain", "", "the host name that it is reached by")
	f.StringVar(&memory, "memory", "", "how much memory it may use, for example 512M")
	f.Float64Var(&cpus, "cpus", 0, "how many processors it may use")
	f.IntVar(&pids, "pids", 0, "how many processes it may have")
	f.StringArrayVarP(&env, "env", "e", nil, "set a variable, as KEY=VALUE")
	f.StringArrayVar(&unset, "unset", nil, "take a variable away, so that the manifest's value holds")
	f.StringArrayVar(&ports, "port", nil, "choose the port of the host, as NAME=NUMBER; 0 closes it")
	f.StringVar(&egress, "egress", "", "whom it may talk to outside: internet, none or list")
	f.StringArrayVar(&hosts, "egress-host", nil, "with --egress list: a name, address or range, with an optional :PORT")
	o.addFlags(c)
	w.addFlags(c)
	return c
}

type waitOptions struct {
	noWait bool
	update bool // the work is an update, which may be taken back
}

func (w *waitOptions) addFlags(c *cobra.Command) {
	c.Flags().BoolVar(&w.noWait, "no-wait", false, "return at once, and let the work go on by itself")
}

// longChange makes a change whose effect takes a while, and shows what happens until the app is settled.
func (a *app) longChange(ctx context.Context, w waitOptions, name, what string, do func(context.Context) (wire.ChangeResult, error)) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	progress := a.watchApp(ctx, name)
	r, err := do(ctx)
	if err != nil || r.DryRun || !r.Changed || w.noWait {
		cancel()
		progress.wait()
		return a.changed(r, err, what+": on its way", "nothing to do for "+name)
	}
	p, err := a.settled(ctx, name)
	cancel()
	progress.wait()
	if err != nil {
		return err
	}
	if w.update && p.UpdateFailed != "" {
		return &codedError{exitNotVerified, fmt.Sprintf("app %q: %s", name, printable(p.UpdateFailed))}
	}
	if p.State != "running" && p.State != "stopped" && p.State != "debugging" {
		return &codedError{exitNotVerified, fmt.Sprintf("app %q is %s: %s", name, p.State, printable(p.Reason))}
	}
	return a.changed(r, nil, what+": done", "")
}
