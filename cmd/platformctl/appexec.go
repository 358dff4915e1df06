package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/api/client"
)

func newAppExecCommand(a *app) *cobra.Command {
	var tty bool
	c := &cobra.Command{Use: "exec NAME -- COMMAND ...", Short: "Run a program in the container of an app", Args: needs(2, "app exec blog -- ls /data"), ValidArgsFunction: a.completeApps(1),
		Long: `Run a program in the container of an app, confined as the app is. Input and output are those of this command, and it ends with the exit code of
the program; an error of platformctl itself ends with its own code and a sentence. The activity log says who ran which program, without
its arguments.`,
		Example: "  platformctl app exec blog -- ls -l /data\n  platformctl app exec blog --tty -- sh",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runAppExec(cmd.Context(), tty, args[0], args[1:])
		}}
	c.Flags().BoolVarP(&tty, "tty", "t", false, "with a terminal, for programs that talk to people")
	return c
}

func (a *app) runAppExec(ctx context.Context, tty bool, name string, command []string) error {
	e := client.Exec{Command: command, TTY: tty, In: a.in, Out: a.out, Errors: a.err}
	if tty {
		in, ok := a.in.(*os.File)
		if !ok {
			return usage("app exec: --tty needs a terminal as its input")
		}
		restore, err := raw(in)
		if err != nil {
			return usage("app exec: --tty needs a terminal as its input")
		}
		defer restore()
		e.Resize = sizes(ctx, in)
	}
	code, err := a.client().ExecApp(ctx, name, e)
	if err != nil || code == 0 {
		return err
	}
	return &codedError{code, ""}
}

// raw hands every key to the program, until restore.
func raw(f *os.File) (restore func(), err error) {
	var before *unix.Termios
	control(f, func(fd int) {
		if before, err = unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return
		}
		now := *before
		// As cfmakeraw(3).
		now.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		now.Oflag &^= unix.OPOST
		now.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		now.Cflag = now.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(fd, unix.TCSETS, &now)
	})
	if err != nil {
		return nil, fmt.Errorf("set the terminal: %w", err)
	}
	return func() { control(f, func(fd int) { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }) }, nil
}

// control does something to a file without changing how it is read.
func control(f *os.File, do func(fd int)) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// sizes gives the size of the terminal now, and whenever it changes.
func sizes(ctx context.Context, f *os.File) <-chan [2]uint16 {
	out := make(chan [2]uint16, 1)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		defer signal.Stop(changed)
		for {
			control(f, func(fd int) {
				if ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
					select {
					case <-out: // the last one counts
					default:
					}
					out <- [2]uint16{ws.Row, ws.Col}
				}
			})
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return out
}
