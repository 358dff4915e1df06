// Command platform-compose reads a Docker Compose file for `platformctl app import`, in a process of its own: a request as JSON on
// the standard input, an answer on the standard output. It opens no file and no connection.
package main

import (
	"fmt"
	"os"

	"github.com/platformd/platformd/apps/compose"
)

func main() {
	if err := compose.Serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "platform-compose:", err)
		os.Exit(1)
	}
}
