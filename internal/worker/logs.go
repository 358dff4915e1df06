package worker

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/bans"
)

// Follow runs "platformd worker logs FORMAT" until in ends or ctx does: a child that makes strikes of log lines. What it
// writes goes to out, and must be checked there. It is confined as one for a job is, and has neither network nor files.
func (p *Pool) Follow(ctx context.Context, format bans.LogFormat, in io.Reader, out io.Writer) (err error) {
	exe, err := os.Open(p.cfg.Exe)
	if err != nil {
		return fmt.Errorf("open program: %w", err)
	}
	defer exe.Close()
	attr, weak := p.attributes(true)
	stderr := &capped{most: 8 << 10}
	weak, err = p.spawn(ctx, attr, weak, func() *exec.Cmd {
		cmd := exec.CommandContext(ctx, "/proc/self/fd/"+strconv.Itoa(fdExe))
		cmd.Args = p.args("logs", string(format))
		cmd.Env = []string{"GOMEMLIMIT=64MiB", "GOTRACEBACK=single"}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, stderr
		cmd.ExtraFiles = []*os.File{nil, nil, exe}
		return cmd
	})
	if len(weak) > 0 {
		p.cfg.Log.Warn("worker is confined less than it should be", "job", "logs", "weak", weak)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if text := clean(lastLine(stderr.buf.String())); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// args are the command line of a child that is another worker than the configured one.
func (p *Pool) args(words ...string) []string {
	return append(slices.Clone(p.cfg.Args[:len(p.cfg.Args)-1]), words...)
}

// Logs is the whole of "platformd worker logs FORMAT".
func Logs(format string, stdin io.Reader, stdout, stderr io.Writer) int {
	unix.Close(fdExe)
	if format != string(bans.Journal) && format != string(bans.Syslog) {
		fmt.Fprintf(stderr, "log format %q: must be journal or syslog\n", clean(format))
		return 1
	}
	if _, err := confine(false); err != nil {
		fmt.Fprintln(stderr, "confine worker:", err)
		return 1
	}
	if _, err := confineFiles(false); err != nil {
		fmt.Fprintln(stderr, "confine worker:", err)
		return 1
	}
	if err := bans.Read(stdin, bans.LogFormat(format), stdout, time.Now); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
