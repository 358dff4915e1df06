package main

import (
	"os"

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
	)
	return c
}
