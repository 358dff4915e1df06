package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/iptables"
	"github.com/platformd/platformd/firewall/nft"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/daemon"
)

// version is set by the build.
var version = "dev"

// options are the flags of platformd itself.
type options struct {
	dataDir, socket, config, driver, authLog, http, https, dockerHost string
	roots                                                             []string
	patience                                                          time.Duration
	verbose                                                           bool
}

func newRootCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:   "platformd",
		Short: "Keep this host as its document says",
		Long: `platformd keeps the firewall of the network namespace that it is started in, and answers platformctl on a unix socket.
With --http and --https it is an HTTPS proxy too, which runs in a process without privileges and outlives it.

It runs in the foreground. Stopping or killing it leaves the rules in force; "platformctl firewall off" removes them.`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), o) },
	}
	f := c.PersistentFlags()
	f.StringVar(&o.dataDir, "data-dir", "/var/lib/platform", "folder for everything that must survive a restart")
	f.StringVar(&o.driver, "driver", "", "firewall driver, nft or iptables, whatever the document says")
	f = c.Flags()
	f.StringVar(&o.socket, "socket", api.DefaultSocket, "unix socket for the API")
	f.StringVar(&o.config, "config", "", "document for the first start, YAML or JSON; later starts use what is stored")
	f.StringVar(&o.authLog, "auth-log", "", "file in which sshd logs, instead of the journal")
	f.StringVar(&o.http, "http", "", "address for plain HTTP, such as :80; without it nothing listens")
	f.StringVar(&o.https, "https", "", "address for HTTPS and HTTP/3, such as :443; without it nothing listens")
	f.StringSliceVar(&o.roots, "file-root", []string{"/srv", "/var/www"}, "folder below which the proxy may serve files; may be given several times")
	f.StringVar(&o.dockerHost, "docker-host", os.Getenv("DOCKER_HOST"), "container engine for apps, as a unix socket (default $DOCKER_HOST, else unix:///var/run/docker.sock)")
	f.DurationVar(&o.patience, "proxy-patience", time.Minute, "how long the proxy's worker may not answer before another takes its place")
	f.BoolVar(&o.verbose, "verbose", false, "log more")
	c.AddCommand(newRestoreCommand(&o), newGuardCommand(&o), newWorkerCommand())
	return c
}

// memoryLimit makes the collector give memory back instead of keeping twice of what a bulk load needed.
const memoryLimit = 96 << 20

func run(ctx context.Context, o options) error {
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(50)
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	first, err := firstDocument(o.config)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(o.dataDir)
	if err != nil {
		return err
	}
	d, err := daemon.New(ctx, daemon.Config{
		DataDir: dir, Socket: o.socket, Driver: o.driver, Drivers: drivers(), Version: version, Log: log, Now: time.Now,
		First: first, StartGuard: startGuard, AuthLog: o.authLog, Credentials: os.Getenv("CREDENTIALS_DIRECTORY"),
		HTTP: o.http, HTTPS: o.https, Patience: o.patience, FileRoots: o.roots, DockerHost: o.dockerHost,
	})
	if err != nil {
		return err
	}
	return errors.Join(d.Run(ctx), d.Close())
}

// drivers are those that this program has.
func drivers() daemon.Drivers {
	return daemon.Drivers{
		"nft":      func() (firewall.Driver, error) { return nft.New() },
		"iptables": func() (firewall.Driver, error) { return iptables.New(iptables.Config{}) },
	}
}

func newRestoreCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "restore-firewall",
		Short: "Put the last firewall that was in force back, without database or network (early boot)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			what, err := daemon.Restore(cmd.Context(), o.dataDir, drivers(), time.Now())
			if what != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "restored", what)
			}
			return err
		},
	}
}

// newGuardCommand is the process outside of the daemon that takes back a change nobody confirmed.
func newGuardCommand(o *options) *cobra.Command {
	var until string
	c := &cobra.Command{
		Use:    "guard",
		Short:  "Take back an unconfirmed change when its time is over (started by platformd)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			end, err := time.Parse(time.RFC3339Nano, until)
			if err != nil {
				return fmt.Errorf("--until %q: %w", until, err)
			}
			ctx, cancel := context.WithDeadline(cmd.Context(), end.Add(time.Minute))
			defer cancel()
			return daemon.TakeWayBack(ctx, o.dataDir, drivers(), time.Now)
		},
	}
	c.Flags().StringVar(&until, "until", "", "when the change is due, RFC 3339")
	return c
}

// startGuard starts the guard in a session of its own, so that it outlives the daemon however that ends. Under systemd it
// is a unit of its own, because stopping a service ends every process of it.
func startGuard(dataDir string, until time.Time) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{exe, "guard", "--data-dir", dataDir, "--until", until.Format(time.RFC3339Nano)}
	if os.Getenv("INVOCATION_ID") != "" {
		if run, err := exec.LookPath("systemd-run"); err == nil {
			args = append([]string{run, "--quiet", "--collect", "--unit=platformd-guard-" + fmt.Sprint(until.UnixNano())}, args...)
		}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}
