package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/apps/compose/report"
	"github.com/platformd/platformd/internal/api/wire"
)

type appImportOptions struct {
	changeOptions
	waitOptions
	report.Options
	out, domain, envFile  string
	set                   []string
	install, lossy, whole bool
}

func newAppImportCommand(a *app) *cobra.Command {
	var o appImportOptions
	c := &cobra.Command{
		Use: "import FILE", Short: "Make a manifest of a Docker Compose file",
		Long: `Make a manifest of a Docker Compose file. One service becomes the app; databases become addons, and the environment of the app is rewritten to
them. What becomes of every setting is told by line on the error output: changed, with what holds in its place, or left out, with the reason
and the remedy. Where anything is left out the command ends with code 2, unless --lossy says that this is as it should be.

Nothing but the file is read: variables are those of --env-file and --set. The manifest is written to the standard output, to -o, or installed.`,
		Example: `  platformctl app import docker-compose.yml -o wiki.yaml
  platformctl app import docker-compose.yml --env-file .env --set DOMAIN=wiki.example.org --lossy --install --domain wiki.example.org`,
		Args: exactly(1, "app import docker-compose.yml -o wiki.yaml"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runAppImport(cmd.Context(), o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.Name, "name", "", "the id of the manifest (default the project, else the service)")
	f.StringVar(&o.Service, "service", "", "the service that becomes the app")
	f.Uint16Var(&o.HTTPPort, "http-port", 0, "where it serves HTTP")
	f.StringVar(&o.envFile, "env-file", "", "a file of NAME=VALUE lines for ${NAME}")
	f.StringArrayVar(&o.set, "set", nil, "a value for ${NAME}, as NAME=VALUE; may be given several times")
	f.StringVarP(&o.out, "output", "o", "", "the file to write, or a folder to write ID.yaml in")
	f.BoolVar(&o.install, "install", false, "install it at once")
	f.StringVar(&o.domain, "domain", "", "with --install: the host name that it is reached by")
	f.BoolVar(&o.lossy, "lossy", false, "what is left out is no mistake")
	f.BoolVar(&o.whole, "all", false, "tell of settings that are taken as they are, too")
	o.changeOptions.addFlags(c)
	o.waitOptions.addFlags(c)
	return c
}

func (a *app) runAppImport(ctx context.Context, o appImportOptions, file string) error {
	data, err := a.readFile(file)
	if err != nil {
		return err
	}
	req := report.Request{File: data, Options: o.Options}
	if o.envFile != "" {
		if req.EnvFile, err = a.readFile(o.envFile); err != nil {
			return err
		}
	}
	var check checker
	if req.Options.Variables = pairs(&check, "set", o.set); check.err() != nil {
		return check.err()
	}
	answer, err := a.readCompose(ctx, req)
	if err != nil {
		return err
	}
	if answer.Error != "" {
		return usage("%s: %s", file, answer.Error)
	}
	r, manifest := answer.Result, answer.Manifest
	for _, l := range r.Lines {
		if !a.json && (o.whole || l.Status != report.Taken) {
			fmt.Fprintln(a.err, printable(file+":"+l.String()))
		}
	}
	lost := r.LeftOut()
	refused := usage("%s: %d settings are left out; mend what matters, or say --lossy", file, lost)
	if lost > 0 && !o.lossy && o.install {
		return refused
	}
	switch {
	case o.install:
		name := r.Manifest.ID
		return a.longChange(ctx, o.waitOptions, name, "install "+name, func(ctx context.Context) (wire.ChangeResult, error) {
			return a.client().InstallApp(ctx, o.changeOptions.Options, name, o.domain, file, manifest)
		})
	case a.json:
		err = a.printJSON(r)
	case o.out == "":
		_, err = a.out.Write(manifest)
	default:
		err = writeManifest(o.out, r.Manifest.ID, manifest)
	}
	if err == nil && lost > 0 && !o.lossy {
		return refused
	}
	return err
}

func writeManifest(path, id string, manifest []byte) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, id+".yaml")
	}
	// It may hold passwords of the compose file.
	if err := os.WriteFile(path, manifest, 0o600); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	return nil
}
