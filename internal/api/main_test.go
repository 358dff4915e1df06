package api_test

import (
	"os"
	"testing"

	"github.com/platformd/platformd/internal/worker"
)

// TestMain is also the worker: the daemon starts its own program for that.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "worker" {
		if os.Args[2] == "logs" {
			os.Exit(worker.Logs(os.Args[3], os.Stdin, os.Stdout, os.Stderr))
		}
		os.Exit(worker.Outbound(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
