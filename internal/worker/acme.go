package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/certs/issue"
	"github.com/platformd/platformd/internal/certs/order"
)

// ACME does a job with a certificate authority or a DNS provider in a process of its own: "platformd worker acme". What
// the process asks for meanwhile is asked of cache, from one goroutine at a time; cache decides what it believes. Several
// jobs may run at once. A job that fails is a result; an error means that the process did not do as it should.
func (p *Pool) ACME(ctx context.Context, job order.Job, cache order.Cache) (order.Result, error) {
	fail := func(err error) (order.Result, error) {
		return order.Result{}, fmt.Errorf("worker job %s: %w", clean(job.String()), err)
	}
	job.UserAgent = p.cfg.UserAgent
	first, err := json.Marshal(job)
	if err != nil || len(first) > order.MaxLine {
		return fail(errors.New("the job is too large"))
	}
	exe, err := os.Open(p.cfg.Exe)
	if err != nil {
		return fail(fmt.Errorf("open program: %w", err))
	}
	defer exe.Close()
	toChild, fromParent, err := pipes()
	if err != nil {
		return fail(err)
	}
	defer toChild.close()
	defer fromParent.close()
	// The process ends by itself in time, with a better message; this is for one that does not.
	ctx, cancel := context.WithTimeout(ctx, job.Timeout+10*time.Second)
	defer cancel()
	attr, weak := p.attributes(false)
	stderr := &capped{most: 8 << 10}
	ended := make(chan error, 1)
	go func() {
		var err error
		weak, err = p.spawn(ctx, attr, weak, func() *exec.Cmd {
			cmd := exec.CommandContext(ctx, "/proc/self/fd/"+strconv.Itoa(fdExe))
			cmd.Args = p.args("acme")
			cmd.Env = []string{"GOMEMLIMIT=128MiB", "GOTRACEBACK=single"}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = toChild.r, fromParent.w, stderr
			cmd.ExtraFiles = []*os.File{nil, nil, exe}
			return cmd
		})
		// So that the dialogue ends with the process, and not before.
		fromParent.w.Close()
		toChild.r.Close()
		ended <- err
	}()
	res, err := converse(ctx, toChild.w, fromParent.r, first, cache)
	if err != nil {
		cancel()
	}
	toChild.w.Close()
	endErr := <-ended
	if err != nil && endErr != nil {
		if text := clean(lastLine(stderr.buf.String())); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
	}
	if err != nil {
		return fail(err)
	}
	if weak = append(weak, res.Weak...); len(weak) > 0 {
		p.cfg.Log.Debug("worker is confined less than it should be", "job", "acme", "weak", weak)
	}
	return res, nil
}

// pipe is one direction of the dialogue.
type pipe struct{ r, w *os.File }

func (p pipe) close() { p.r.Close(); p.w.Close() } // a second time for some, which does nothing

func pipes() (a, b pipe, err error) {
	if a.r, a.w, err = os.Pipe(); err != nil {
		return a, b, err
	}
	if b.r, b.w, err = os.Pipe(); err != nil {
		a.close()
	}
	return a, b, err
}

// converse answers what the process asks until it is done.
func converse(ctx context.Context, to io.Writer, from io.Reader, first []byte, cache order.Cache) (order.Result, error) {
	none := order.Result{}
	if _, err := to.Write(append(first, '\n')); err != nil {
		return none, fmt.Errorf("send job: %w", err)
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, order.MaxLine)
	for range order.MaxAsks {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return none, fmt.Errorf("the process says too much: %w", err)
			}
			if err := ctx.Err(); err != nil {
				return none, err
			}
			return none, errors.New("the process ended before it was done")
		}
		var ask order.Ask
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&ask); err != nil {
			return none, errors.New("the process says what no worker says")
		}
		if ask.Op == "done" {
			if ask.Result == nil {
				return none, errors.New("the process is done without a result")
			}
			if err := ask.Result.Check(); err != nil {
				return none, fmt.Errorf("result is not what a worker says: %w", err)
			}
			return *ask.Result, nil
		}
		answer, err := json.Marshal(answerTo(ctx, ask, cache))
		if err != nil {
			return none, err
		}
		if _, err := to.Write(append(answer, '\n')); err != nil {
			return none, errors.New("the process ended before it was done")
		}
	}
	return none, fmt.Errorf("the process asks more than %d times", order.MaxAsks)
}

func answerTo(ctx context.Context, ask order.Ask, cache order.Cache) order.Answer {
	var out order.Answer
	var err error
	switch ask.Op {
	case "get":
		out.Value, err = cache.Get(ctx, ask.Key)
	case "put":
		err = cache.Put(ctx, ask.Key, ask.Value)
	case "delete":
		err = cache.Delete(ctx, ask.Key)
	default:
		err = errors.New("no such request")
	}
	if errors.Is(err, order.ErrMiss) {
		return order.Answer{Miss: true}
	}
	if err != nil {
		return order.Answer{Error: err.Error()}
	}
	return out
}

// ACME is the whole of "platformd worker acme": it confines the process, does the one job on stdin in a dialogue with the
// daemon, and returns the exit status. A job that fails is a result, with status 0.
func ACME(stdin io.Reader, stdout, stderr io.Writer) int {
	unix.Close(fdExe)
	weak, err := confine(true)
	if err != nil {
		fmt.Fprintln(stderr, "confine worker:", err)
		return 1
	}
	d := &dialogue{in: bufio.NewScanner(stdin), out: stdout, turn: make(chan struct{}, 1)}
	d.in.Buffer(nil, order.MaxLine)
	var job order.Job
	if !d.in.Scan() || json.Unmarshal(d.in.Bytes(), &job) != nil { // the reason could quote a secret
		fmt.Fprintln(stderr, "read job: it is not one line of JSON")
		return 1
	}
	more, err := confineFiles(true, programs(job)...)
	if err != nil {
		fmt.Fprintln(stderr, "confine worker:", err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), job.Timeout)
	defer cancel()
	res := doACME(ctx, job, d)
	res.Weak = append(weak, more...)
	d.turn <- struct{}{} // for good: what a library still wants to tidy up is the daemon's to do
	if err := d.send(order.Ask{Op: "done", Result: &res}); err != nil {
		fmt.Fprintln(stderr, "write result:", err)
		return 1
	}
	return 0
}

// doACME makes a result of what a library does when an answer is not what it expects.
func doACME(ctx context.Context, job order.Job, d *dialogue) (res order.Result) {
	defer func() {
		if r := recover(); r != nil {
			res = order.Result{Error: clean(fmt.Sprintf("a library cannot read what it was answered: %v", r))}
		}
	}()
	return issue.Run(ctx, job, d)
}

// programs is what a job that runs a program of the operator's has to be able to run: it with what lies beside it, and what
// a script needs.
func programs(job order.Job) []string {
	if job.DNS == nil || job.DNS.Type != "exec" {
		return nil
	}
	return append(strings.Fields("/bin /sbin /lib /lib64 /usr/bin /usr/sbin /usr/lib /usr/lib64 /usr/share /usr/local /etc/alternatives /etc/ld.so.cache /dev/null"), filepath.Dir(job.DNS.Settings["program"]))
}

// dialogue is the daemon's cache, seen from the process.
type dialogue struct {
	in   *bufio.Scanner
	out  io.Writer
	turn chan struct{}
}

func (d *dialogue) send(a order.Ask) error {
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = d.out.Write(append(line, '\n'))
	return err
}

func (d *dialogue) ask(a order.Ask) ([]byte, error) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if err := d.send(a); err != nil {
		return nil, err
	}
	var ans order.Answer
	if !d.in.Scan() || json.Unmarshal(d.in.Bytes(), &ans) != nil {
		return nil, errors.New("the daemon does not answer")
	}
	switch {
	case ans.Miss:
		return nil, order.ErrMiss
	case ans.Error != "":
		return nil, errors.New(ans.Error)
	}
	return ans.Value, nil
}

// Get implements order.Cache.
func (d *dialogue) Get(_ context.Context, key string) ([]byte, error) {
	return d.ask(order.Ask{Op: "get", Key: key})
}

// Put implements order.Cache.
func (d *dialogue) Put(_ context.Context, key string, value []byte) error {
	_, err := d.ask(order.Ask{Op: "put", Key: key, Value: value})
	return err
}

// Delete implements order.Cache.
func (d *dialogue) Delete(_ context.Context, key string) error {
	_, err := d.ask(order.Ask{Op: "delete", Key: key})
	return err
}
