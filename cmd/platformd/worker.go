package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/worker"
)

// newWorkerCommand has the processes without privileges that platformd starts for itself.
func newWorkerCommand() *cobra.Command {
	c := &cobra.Command{Use: "worker", Short: "Processes that platformd starts for itself", Hidden: true}
	c.AddCommand(
		&cobra.Command{Use: "outbound", Short: "Fetch and read one source", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
			os.Exit(worker.Outbound(os.Stdin, os.Stdout, os.Stderr))
		}},
		&cobra.Command{Use: "acme", Short: "Talk to one certificate authority or DNS provider", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
			os.Exit(worker.ACME(os.Stdin, os.Stdout, os.Stderr))
		}},
		&cobra.Command{Use: "logs FORMAT", Short: "Make strikes of log lines", Args: cobra.ExactArgs(1), Run: func(_ *cobra.Command, args []string) {
			os.Exit(worker.Logs(args[0], os.Stdin, os.Stdout, os.Stderr))
		}},
		&cobra.Command{Use: "resolver", Short: "Answer the name questions of apps", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
			os.Exit(worker.Resolver(os.Stdin, os.Stdout, os.Stderr))
		}},
		newWebCommand(),
	)
	return c
}

// newWebCommand is the proxy.
func newWebCommand() *cobra.Command {
	var args worker.WebArgs
	var roots string
	c := &cobra.Command{Use: "proxy", Short: "Serve HTTPS", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
		args.Roots = filepath.SplitList(roots)
		os.Exit(worker.Web(args, os.Stderr))
	}}
	f := c.Flags()
	f.StringVar(&args.Version, "release", "", "what the daemon that started it was")
	f.StringVar(&roots, "roots", "", "folders below which files may be served, with colons between them")
	f.StringVar(&args.Seccomp, "seccomp", "filter", "what happens to system calls that are not expected: filter, log, strict or off")
	f.StringVar(&args.Work, "work", "", "folder of its own")
	return c
}
