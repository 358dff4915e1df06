package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/resolver"
)

// ResolverSocket is a socket on which an app asks: File is a "udp" or "tcp" one.
type ResolverSocket struct {
	Network string
	App     string
	File    *os.File
}

// ResolverJob is what a resolver is to do until it ends.
type ResolverJob struct {
	Upstreams []netip.AddrPort
	Apps      []resolver.App
	Sockets   []ResolverSocket
	// Admit returns when the firewall lets an app reach what was found. What it gets is bounded, and that the app is one of
	// Apps is known; nothing else is.
	Admit func(ctx context.Context, f resolver.Found) error
	// Refused is told of names that apps may not ask for.
	Refused func(app, name string)
}

// Bounds of what a resolver says.
const (
	maxResolverLine = 16 << 10
	maxFoundAddrs   = 64
	maxFoundPorts   = 64
	maxAdmitting    = 64 // at once
)

// resolverOrder is the first line that a resolver reads.
type resolverOrder struct {
	Upstreams []netip.AddrPort `json:"upstreams"`
	Apps      []resolver.App   `json:"apps"`
	Sockets   []resolverPlace  `json:"sockets"` // in the order of the descriptors from fdExe+1 on
}

type resolverPlace struct {
	Network string `json:"network"`
	App     string `json:"app"`
}

// resolverSays is a line from a resolver, resolverHears the answer to one that has Found.
type resolverSays struct {
	ID      uint64          `json:"id,omitempty"`
	Found   *resolver.Found `json:"found,omitempty"`
	Refused string          `json:"refused,omitempty"`
	App     string          `json:"app,omitempty"`
	Weak    []string        `json:"weak,omitempty"`
}

type resolverHears struct {
	ID uint64 `json:"id"`
	OK bool   `json:"ok"`
}

// Resolve runs "platformd worker resolver" until ctx ends or it does. It is confined as one for a job is, without files, and
// reaches the network. The sockets stay the caller's.
func (p *Pool) Resolve(ctx context.Context, job ResolverJob) error {
	exe, err := os.Open(p.cfg.Exe)
	if err != nil {
		return fmt.Errorf("open program: %w", err)
	}
	defer exe.Close()
	order := resolverOrder{Upstreams: job.Upstreams, Apps: job.Apps}
	files := []*os.File{nil, nil, exe}
	for _, s := range job.Sockets {
		order.Sockets, files = append(order.Sockets, resolverPlace{s.Network, s.App}), append(files, s.File)
	}
	first, err := json.Marshal(order)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, hears, err := os.Pipe() // a file: nothing has to be copied when the child is gone
	if err != nil {
		return err
	}
	said, says := io.Pipe()
	defer func() { in.Close(); hears.Close(); said.Close() }()
	go func() { _, _ = hears.Write(append(first, '\n')) }()
	t := &resolverTalk{job: job, hears: hears, turns: make(chan struct{}, maxAdmitting)}
	talk := make(chan error, 1)
	go func() {
		defer cancel() // one that says what none says is ended
		talk <- t.listen(ctx, said)
	}()
	attr, weak := p.attributes(false)
	stderr := &capped{most: 8 << 10}
	weak, err = p.spawn(ctx, attr, weak, func() *exec.Cmd {
		cmd := exec.CommandContext(ctx, "/proc/self/fd/"+strconv.Itoa(fdExe))
		cmd.Args = p.args("resolver")
		cmd.Env = []string{"GOMEMLIMIT=64MiB", "GOTRACEBACK=single"}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, says, stderr
		cmd.ExtraFiles = files
		return cmd
	})
	if len(weak) > 0 {
		p.cfg.Log.Warn("worker is confined less than it should be", "job", "resolver", "weak", weak)
	}
	says.Close()
	if heard := <-talk; heard != nil && !errors.Is(heard, io.EOF) {
		err = heard
	}
	if text := clean(lastLine(stderr.buf.String())); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// resolverTalk is the daemon's end.
type resolverTalk struct {
	job   ResolverJob
	turns chan struct{}
	mu    sync.Mutex
	hears io.Writer
}

// listen reads lines until the child ends. It believes nothing: what is out of bounds ends it.
func (t *resolverTalk) listen(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxResolverLine)
	for lines.Scan() {
		var m resolverSays
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&m); err != nil {
			return fmt.Errorf("resolver: %w", err)
		}
		known := func(app string) bool {
			return slices.ContainsFunc(t.job.Apps, func(a resolver.App) bool { return a.Name == app })
		}
		switch {
		case m.Found != nil:
			f := *m.Found
			if !known(f.App) || len(f.Addrs) == 0 || len(f.Addrs) > maxFoundAddrs || len(f.Ports) > maxFoundPorts {
				return errors.New("resolver: what was found is out of bounds")
			}
			select {
			case t.turns <- struct{}{}:
			default:
				t.answer(resolverHears{m.ID, false})
				continue
			}
			go func() {
				defer func() { <-t.turns }()
				t.answer(resolverHears{m.ID, t.job.Admit(ctx, f) == nil})
			}()
		case m.Refused != "" && known(m.App):
			t.job.Refused(m.App, clean(m.Refused))
		default:
			return errors.New("resolver: says nothing that is known")
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("resolver: %w", err)
	}
	return io.EOF
}

func (t *resolverTalk) answer(a resolverHears) {
	line, err := json.Marshal(a)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = t.hears.Write(append(line, '\n')) // one that is gone hears nothing
}

// Resolver is the whole of "platformd worker resolver".
func Resolver(stdin io.Reader, stdout, stderr io.Writer) int {
	unix.Close(fdExe)
	if err := resolve(stdin, stdout); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func resolve(stdin io.Reader, stdout io.Writer) error {
	if err := lower(unix.RLIMIT_CORE, 0); err != nil {
		return fmt.Errorf("confine worker: %w", err)
	}
	if err := lower(unix.RLIMIT_DATA, limitData); err != nil {
		return fmt.Errorf("confine worker: %w", err)
	}
	if _, err := surrender(); err != nil {
		return fmt.Errorf("confine worker: %w", err)
	}
	if _, err := (files{connect: true}).confine(); err != nil {
		return fmt.Errorf("confine worker: %w", err)
	}
	if _, err := confineCalls("filter"); err != nil {
		return fmt.Errorf("confine worker: %w", err)
	}
	lines := bufio.NewReaderSize(stdin, 64<<10)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	var order resolverOrder
	if err := json.Unmarshal(first, &order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	asks := &asking{out: stdout, waiting: map[uint64]chan bool{}}
	r, err := resolver.New(resolver.Config{Upstreams: order.Upstreams, Admit: asks.admit, Refused: asks.refused})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	errs := make(chan error, len(order.Sockets)+1)
	turns := map[string]resolver.Turns{}
	for i, s := range order.Sockets {
		at := slices.IndexFunc(order.Apps, func(a resolver.App) bool { return a.Name == s.App })
		if at < 0 {
			return fmt.Errorf("socket of app %q: there is no such app", s.App)
		}
		app := &order.Apps[at]
		if turns[s.App] == nil {
			turns[s.App] = resolver.NewTurns()
		}
		f := os.NewFile(uintptr(fdExe+1+i), s.Network)
		switch {
		case f == nil:
			return fmt.Errorf("socket of app %q is missing", s.App)
		case strings.HasPrefix(s.Network, "udp"):
			c, err := net.FilePacketConn(f)
			if err != nil {
				return fmt.Errorf("socket of app %q: %w", s.App, err)
			}
			go func() { errs <- r.ServeUDP(ctx, c, app, turns[s.App]) }()
		default:
			l, err := net.FileListener(f)
			if err != nil {
				return fmt.Errorf("socket of app %q: %w", s.App, err)
			}
			go func() { errs <- r.ServeTCP(ctx, l, app, turns[s.App]) }()
		}
		f.Close()
	}
	go func() { errs <- asks.hear(lines) }()
	return <-errs
}

// asking is the worker's end: it asks the daemon to admit what was found.
type asking struct {
	mu      sync.Mutex
	out     io.Writer
	last    uint64
	waiting map[uint64]chan bool
}

func (a *asking) say(m resolverSays) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = a.out.Write(append(line, '\n'))
	return err
}

func (a *asking) admit(ctx context.Context, f resolver.Found) error {
	done := make(chan bool, 1)
	a.mu.Lock()
	if len(a.waiting) >= maxAdmitting/2 {
		a.mu.Unlock()
		return errors.New("too much is to be admitted at once")
	}
	a.last++
	id := a.last
	a.waiting[id] = done
	err := a.say(resolverSays{ID: id, Found: &f})
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waiting, id)
		a.mu.Unlock()
	}()
	if err != nil {
		return err
	}
	select {
	case ok := <-done:
		if !ok {
			return errors.New("not admitted")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *asking) refused(app, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.say(resolverSays{App: app, Refused: name})
}

// hear reads the daemon's answers until it is gone.
func (a *asking) hear(in *bufio.Reader) error {
	dec := json.NewDecoder(in)
	for {
		var m resolverHears
		if err := dec.Decode(&m); err != nil {
			return err
		}
		a.mu.Lock()
		if c := a.waiting[m.ID]; c != nil {
			c <- m.OK
		}
		a.mu.Unlock()
	}
}
