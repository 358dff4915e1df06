package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"
)

// Config is how children are started.
type Config struct {
	// UID and GID are the unprivileged user. Zero leaves the child with the parent's user, which Result.Weak then says.
	UID, GID int
	// TempDir holds the nameless files that children write to; it must exist.
	TempDir string
	// Args is the command line that makes Exe run Outbound; empty is "platformd worker outbound".
	Args []string
	// Exe is the program; empty is the running one, also when its file was replaced meanwhile.
	Exe       string
	UserAgent string
	Log       *slog.Logger
}

// Pool runs jobs, one at a time. Its methods may be called from many goroutines.
type Pool struct {
	cfg  Config
	turn chan struct{}
	// warned is what was last logged about weak confinement; it belongs to who has the turn.
	warned string
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Pool, error) {
	if cfg.UID < 0 || cfg.GID < 0 || (cfg.UID == 0) != (cfg.GID == 0) {
		return nil, fmt.Errorf("new worker pool: user %d and group %d: give both, or neither", cfg.UID, cfg.GID)
	}
	if st, err := os.Stat(cfg.TempDir); err != nil {
		return nil, fmt.Errorf("new worker pool: %w", err)
	} else if !st.IsDir() {
		return nil, fmt.Errorf("new worker pool: %s is not a folder", cfg.TempDir)
	}
	if len(cfg.Args) == 0 {
		cfg.Args = []string{"platformd", "worker", "outbound"}
	}
	if cfg.Exe == "" {
		cfg.Exe = "/proc/self/exe"
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "platformd"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{cfg: cfg, turn: make(chan struct{}, 1)}, nil
}

// request is what the child gets on its standard input.
type request struct {
	Job       Job    `json:"job"`
	UserAgent string `json:"user_agent"`
}

// Run does one job in a process of its own and returns when that process is gone. Jobs wait for each other. The Result is
// never nil, and with an error has only RetryAfter and Weak. A file that has the ETag of the job is not read again, and
// costs no process.
func (p *Pool) Run(ctx context.Context, job Job) (*Result, error) {
	res := &Result{}
	if err := job.check(); err != nil {
		return res, fmt.Errorf("worker job: %w", err)
	}
	res.job = job
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return res, fmt.Errorf("worker job %s %s: %w", job.Kind, job.Source, ctx.Err())
	}
	var in *os.File
	if job.isFile() {
		f, stamp, err := openSource(job)
		if err != nil {
			return res, err
		}
		defer f.Close()
		if res.ETag = stamp; stamp == job.ETag {
			res.NotModified = true
			return res, nil
		}
		in = f
	}
	out, err := nameless(p.cfg.TempDir)
	if err != nil {
		return res, fmt.Errorf("worker job %s %s: %w", job.Kind, job.Source, err)
	}
	if err := p.run(ctx, res, in, out); err != nil {
		out.Close()
		return res, err
	}
	if res.ranges == nil && res.geo == nil {
		out.Close()
	}
	return res, nil
}

func (p *Pool) run(ctx context.Context, res *Result, in, out *os.File) error {
	fail := func(err error) error {
		return fmt.Errorf("worker job %s %s: %w", res.job.Kind, clean(res.job.Source), err)
	}
	input, err := json.Marshal(request{res.job, p.cfg.UserAgent})
	if err != nil {
		return fail(err)
	}
	if len(input) > maxJob {
		return fail(fmt.Errorf("job has %d bytes, at most %d are allowed", len(input), maxJob))
	}
	// The child ends by itself at its timeout, with a better message; this is for one that does not.
	ctx, cancel := context.WithTimeout(ctx, res.job.Timeout+5*time.Second)
	defer cancel()
	output, weak, err := p.process(ctx, input, in, out)
	res.Weak = weak
	if err != nil {
		p.warn(res)
		return fail(err)
	}
	if err := decode(output, &res.reply); err != nil {
		return fail(fmt.Errorf("result is not what a worker says: %w", err))
	}
	if err := res.reply.check(); err != nil {
		return fail(fmt.Errorf("result is not what a worker says: %w", err))
	}
	res.Weak = append(res.Weak, res.reply.Weak...)
	p.warn(res)
	res.RetryAfter = res.reply.RetryAfter
	if res.reply.Error != "" {
		return errors.New(res.reply.Error)
	}
	if in == nil {
		res.ETag, res.LastModified = res.reply.ETag, res.reply.LastModified
		if res.reply.NotModified && (res.job.ETag != "" || res.job.LastModified != "") {
			res.NotModified = true
			return nil
		}
	}
	if res.reply.NotModified {
		return fail(errors.New("result is not what a worker says: not modified, but nobody asked"))
	}
	if err := res.open(out); err != nil {
		return fail(err)
	}
	return nil
}

func decode(output []byte, r *reply) error {
	dec := json.NewDecoder(bytes.NewReader(output))
	dec.DisallowUnknownFields()
	return dec.Decode(r)
}

// warn logs a weakness when it is another than the last time.
func (p *Pool) warn(res *Result) {
	said := strings.Join(res.Weak, "; ")
	if said != "" && said != p.warned {
		p.cfg.Log.Warn("worker is confined less than it should be", "job", res.job.Kind, "weak", said)
	}
	p.warned = said
}

// nameless is a new file that is gone when its last descriptor is closed.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".worker-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openSource opens a file for the child. The stamp changes when the file does.
func openSource(job Job) (*os.File, string, error) {
	f, err := os.OpenFile(job.Source, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hold us up
	if err != nil {
		return nil, "", fmt.Errorf("open source: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	most := job.Feed.Bytes
	if most <= 0 {
		most = 64 << 20
	}
	if job.Kind == ParseGeo {
		most = job.Geo.OrDefaults().Bytes
	}
	if err == nil && st.Size() > most {
		err = fmt.Errorf("%d bytes, at most %d are allowed", st.Size(), most)
	}
	if err != nil {
		f.Close()
		return nil, "", fmt.Errorf("open source %s: %w", job.Source, err)
	}
	var inode uint64
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		inode = sys.Ino
	}
	return f, fmt.Sprintf("file:%d-%d-%d", st.ModTime().UnixNano(), st.Size(), inode), nil
}
