package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/platformd/platformd/internal/bans"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/sqlite"
)

func corruptDatabase(err error) bool {
	var corrupt *sqlite.CorruptError
	return errors.As(err, &corrupt)
}

// source is where a process was started from, as the API shows it.
func (d *Daemon) source(pid int) string { return askerOf("/proc", pid).String() }

// followLogs follows what sshd writes, until ctx ends: the journal where there is one, else auth.log. The daemon only
// moves bytes; a process without privileges makes strikes of them.
func (d *Daemon) followLogs(ctx context.Context) {
	const pause = 5 * time.Second
	for ctx.Err() == nil {
		started := time.Now()
		err := d.followLog(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.health.Set(health.Condition{ID: "log-reader", Severity: health.Warning, Message: "failed logins over SSH cannot be seen: " + err.Error(),
				Remedy: "nobody is banned for them meanwhile; the limit on new SSH connections is in force"})
		}
		if time.Since(started) > time.Minute {
			d.health.Clear("log-reader")
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// journalArgs select what a program named sshd logged as root. The worker checks the same again. journalctl ends by itself
// when nobody reads what it writes.
func journalArgs() []string {
	return []string{"--follow", "--lines=0", "--quiet", "--output=json", "--output-fields=MESSAGE,_COMM,_UID,_PID", "_UID=0",
		"_COMM=sshd", "_COMM=sshd-session", "_COMM=sshd-auth"}
}

func (d *Daemon) followLog(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if d.cfg.AuthLog == "" && haveJournal() {
		cmd := exec.CommandContext(ctx, "journalctl", journalArgs()...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		defer func() { cancel(); _ = cmd.Wait() }()
		return d.strikesFrom(ctx, out, bans.Journal)
	}
	path := d.cfg.AuthLog
	if path == "" {
		path = "/var/log/auth.log"
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(tail(ctx, path, w)) }()
	return d.strikesFrom(ctx, r, bans.Syslog)
}

func haveJournal() bool {
	_, err := os.Stat("/run/systemd/journal/stdout")
	if err != nil {
		return false
	}
	_, err = exec.LookPath("journalctl")
	return err == nil
}

// strikesFrom pipes a log through a worker and counts what comes out.
func (d *Daemon) strikesFrom(ctx context.Context, r io.Reader, format bans.LogFormat) error {
	pr, pw := io.Pipe()
	defer pr.Close()
	var once sync.Once
	stop := func(err error) { once.Do(func() { pw.CloseWithError(err) }) }
	go func() { stop(d.lists.pool.Follow(ctx, format, r, pw)) }()
	in := bufio.NewScanner(pr)
	in.Buffer(make([]byte, 4<<10), 4<<10)
	for in.Scan() {
		var rep bans.Report
		if err := json.Unmarshal(in.Bytes(), &rep); err != nil || !rep.Source.IsValid() || rep.Reason != bans.SSHD || rep.Weight < 1 || rep.Weight > 5 {
			return fmt.Errorf("log worker wrote what it should not")
		}
		if err := d.strike(ctx, bans.Strike{Source: rep.Source, Reason: rep.Reason, Detail: rep.Detail, Time: d.now(), Weight: rep.Weight}); err != nil {
			return err
		}
	}
	return errors.Join(in.Err(), ctx.Err())
}

// tail copies what is appended to a file from now on, also after it was rotated or truncated.
func tail(ctx context.Context, path string, w io.Writer) error {
	written, stop := writes(path)
	defer stop()
	var f *os.File
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	first := true
	for ctx.Err() == nil {
		if f == nil {
			var err error
			if f, err = os.Open(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			if f != nil && first {
				if _, err := f.Seek(0, io.SeekEnd); err != nil {
					return err
				}
			}
			first = false
		}
		if f != nil {
			if _, err := io.Copy(w, f); err != nil {
				return err
			}
			if rotated(f, path) {
				f.Close()
				f = nil
				continue
			}
		}
		if !written(ctx) {
			break
		}
	}
	return ctx.Err()
}

// Pauses between looks at a log: at the least, where much is written, and where the kernel does not tell of writes.
const (
	logPause = 50 * time.Millisecond
	logLook  = 500 * time.Millisecond
)

// writes waits each time it is called until something may have happened to a file, also where the file does not exist yet;
// false is that ctx ended. The kernel tells, so that nothing is done while nothing is written.
func writes(path string) (wait func(context.Context) bool, stop func()) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(filepath.Dir(path)); err != nil {
			w.Close()
		}
	}
	if err != nil { // no more inotify instances for this user, or no such folder yet
		return func(ctx context.Context) bool { return sleep(ctx, logLook) }, func() {}
	}
	return func(ctx context.Context) bool {
		for {
			select {
			case <-ctx.Done():
				return false
			case e, ok := <-w.Events:
				if ok && filepath.Clean(e.Name) != filepath.Clean(path) {
					continue
				}
			case <-w.Errors: // some events were lost
			}
			return sleep(ctx, logPause)
		}
	}, func() { w.Close() }
}

// sleep reports whether ctx still runs afterwards.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// rotated reports whether path is another file now, or the same one cut short; the latter is read from its start.
func rotated(f *os.File, path string) bool {
	have, err := f.Stat()
	if err != nil {
		return true
	}
	now, err := os.Stat(path)
	if err != nil {
		return false // the old one may still be written until the new one is there
	}
	if !os.SameFile(have, now) {
		return true
	}
	if at, err := f.Seek(0, io.SeekCurrent); err == nil && now.Size() < at {
		return true
	}
	return false
}
