// Command platformctl asks platformd, over its unix socket, and tells people or programs what it says.
//
// There is one file for each noun. A command checks what it was given before it asks the daemon, names every mistake at
// once, and ends with one of the codes of exit.go. With --json it prints what the API answered, as it is. It changes
// nothing by itself: it knows no firewall, opens no database, and needs no more rights than the socket asks for.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, now: time.Now, env: os.Getenv}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
