package docker

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// Exec is a program to run in a container that runs, confined as the container is.
type Exec struct {
	Command []string
	TTY     bool
	// In may be nil. Errors gets nothing where there is a terminal, which has one output.
	In          io.Reader
	Out, Errors io.Writer
	Resize      <-chan [2]uint16 // rows and columns
}

// Exec runs a program and returns its exit code. When ctx ends it is let go of: the engine has no way to end it, but its
// input is closed.
func (e *Engine) Exec(ctx context.Context, name string, x Exec) (int, error) {
	made, err := e.api.ContainerExecCreate(ctx, name, container.ExecOptions{Cmd: x.Command, Tty: x.TTY, AttachStdin: x.In != nil, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return 0, failed("run a program in "+name, err)
	}
	conn, err := e.api.ContainerExecAttach(ctx, made.ID, container.ExecStartOptions{Tty: x.TTY})
	if err != nil {
		return 0, failed("run a program in "+name, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, conn.Close)()
	done := make(chan struct{})
	defer close(done)
	if x.In != nil {
		go func() {
			_, _ = io.Copy(conn.Conn, x.In)
			if x.TTY { // a terminal does not end: the end of a file is a key, and closing it would end the output
				_, _ = conn.Conn.Write([]byte{4})
				return
			}
			_ = conn.CloseWrite()
		}()
	}
	go func() {
		for {
			select {
			case size := <-x.Resize:
				_ = e.api.ContainerExecResize(ctx, made.ID, container.ResizeOptions{Height: uint(size[0]), Width: uint(size[1])})
			case <-done:
				return
			}
		}
	}()
	if x.TTY {
		_, err = io.Copy(x.Out, conn.Reader)
	} else {
		_, err = stdcopy.StdCopy(x.Out, x.Errors, conn.Reader)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, failed("run a program in "+name, err)
	}
	return e.execEnded(ctx, made.ID, name)
}

// execEnded is the exit code of a program whose output has ended. The engine may hear of its end a little later.
func (e *Engine) execEnded(ctx context.Context, id, name string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, endOfExec)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		end, err := e.api.ContainerExecInspect(ctx, id)
		if err != nil {
			return 0, failed("run a program in "+name, err)
		}
		if !end.Running {
			return end.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("run a program in %s: it goes on without its output", name)
		case <-tick.C:
		}
	}
}

// endOfExec is how long the engine may take to hear of it.
const endOfExec = 10 * time.Second
