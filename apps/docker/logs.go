package docker

import (
	"context"
	"io"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// Logs copies what a container wrote: the last lines, and what comes while follow is set, until ctx ends.
func (e *Engine) Logs(ctx context.Context, name string, tail int, follow bool, out io.Writer) error {
	r, err := e.api.ContainerLogs(ctx, name, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow, Tail: strconv.Itoa(tail)})
	if err != nil {
		return failed("read the logs of "+name, err)
	}
	defer r.Close()
	_, err = stdcopy.StdCopy(out, out, r)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return failed("read the logs of "+name, err)
}
