package api

import (
	"context"
	"log/slog"
	"net"
)

// ServerConfig is what Serve needs beside the host.
type ServerConfig struct {
	Log     *slog.Logger
	Version string
	// Asker says from where a process was started that connects to the socket: an address, or "local".
	Asker func(pid int) string
}

// Serve answers requests until ctx ends.
func Serve(ctx context.Context, l net.Listener, h Host, cfg ServerConfig) error {
	<-ctx.Done()
	return l.Close()
}
