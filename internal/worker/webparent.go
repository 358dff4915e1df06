package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/platformd/platformd/internal/worker/link"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/metrics"
	"github.com/platformd/platformd/proxy/upstream"
)

// WebConfig is how proxy workers are started and talked to.
type WebConfig struct {
	// UID and GID are the unprivileged user; see Config.
	UID, GID int
	// RunDir holds the sockets over which workers are found again; only root may enter it.
	RunDir string
	// WorkDir belongs to the worker's user.
	WorkDir string
	Roots   []string
	Version string
	// Seccomp is the mode of the next worker; nil is "filter".
	Seccomp func() string
	// Patience is how long a worker may not answer before it is taken for hung; 0 is a minute.
	Patience time.Duration
	// Hung is called when a worker was killed because it did not answer whoever wanted to adopt it; it may be nil.
	Hung func()
	// Args and Exe are as in Config; the kind of worker is added.
	Args []string
	Exe  string
	Log  *slog.Logger
	// Certificate answers a worker that asks for a name, and Logs takes its records, lines of JSON. Both are hostile input.
	Certificate func(ctx context.Context, name string) (WebPair, error)
	Logs        func([]byte)
	// Strike takes what clients did, checked and no more often than strikeRate. It is hostile input all the same: a worker
	// that was taken over can have anybody struck.
	Strike func(context.Context, limits.Strike)
	// Counts are what the host counts, for who scrapes the proxy. It is asked as often as a worker likes, and may be nil.
	Counts func(context.Context) []metrics.Sample
}

func (cfg WebConfig) seccomp() string {
	if cfg.Seccomp == nil {
		return "filter"
	}
	return cfg.Seccomp()
}

func (cfg WebConfig) patience() time.Duration {
	if cfg.Patience == 0 {
		return time.Minute
	}
	return cfg.Patience
}

// WebProcess is a proxy worker that runs. Its methods may be called from many goroutines.
type WebProcess struct {
	Version string
	// Sockets are those that it listens on. They are the caller's to close.
	Sockets []WebSocket

	cfg  WebConfig
	path string
	link *link.Link
	gone chan struct{}
	took strikeTaker
}

// StartWeb starts a worker on sockets. It outlives this process: whoever comes next finds it by AdoptWeb.
func StartWeb(ctx context.Context, cfg WebConfig, sockets []WebSocket) (*WebProcess, error) {
	path, control, err := controlSocket(cfg.RunDir)
	if err != nil {
		return nil, fmt.Errorf("start proxy worker: %w", err)
	}
	defer control.Close()
	pid, err := spawnWeb(cfg, control)
	if err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("start proxy worker: %w", err)
	}
	if err := writeMark(path, pid); err != nil {
		cfg.Log.Warn("note which process the proxy worker is", "error", err) // it works; it can only not be killed
	}
	p, err := cfg.connect(ctx, path, sockets)
	if err != nil {
		_, _ = killMarked(path) // nobody would ever find it
		return nil, fmt.Errorf("start proxy worker: %w", err)
	}
	closeSockets(p.Sockets) // the caller has them
	p.Sockets = sockets
	return p, nil
}

// controlSocket listens at a path of which there was none yet.
func controlSocket(dir string) (string, *os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	path := filepath.Join(dir, "proxy-"+strconv.FormatInt(time.Now().UnixNano(), 36)+".sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return "", nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return "", nil, err
	}
	f, err := l.File()
	return path, f, err
}

// formsDir is where, in its own folder, a worker puts files that live as long as a request. Libraries take it for granted
// that there is such a place.
const formsDir = "forms"

func spawnWeb(cfg WebConfig, control *os.File) (int, error) {
	if cfg.Exe == "" {
		cfg.Exe = "/proc/self/exe"
	}
	exe, err := os.Open(cfg.Exe)
	if err != nil {
		return 0, fmt.Errorf("open program: %w", err)
	}
	defer exe.Close()
	files := []*os.File{control, exe, nil}
	if cfg.WorkDir != "" {
		work, err := os.Open(cfg.WorkDir)
		if err != nil {
			return 0, fmt.Errorf("open the worker's folder: %w", err)
		}
		defer work.Close()
		files[2] = work
	}
	for _, root := range cfg.Roots {
		f, err := os.Open(root) // nil where it is not there
		if err == nil {
			defer f.Close()
		}
		files = append(files, f)
	}
	attr, weak := (&Pool{cfg: Config{UID: cfg.UID, GID: cfg.GID}}).attributes(false)
	attr.Pdeathsig, attr.Setpgid, attr.Setsid = 0, false, true
	start := func() (*exec.Cmd, error) {
		cmd := exec.Command("/proc/self/fd/" + strconv.Itoa(fdWebExe))
		cmd.Args = append(append([]string{}, cfg.Args...), "proxy", "--release", cfg.Version, "--roots", strings.Join(cfg.Roots, ":"), "--work", cfg.WorkDir, "--seccomp", cfg.seccomp())
		cmd.Env = []string{"GOTRACEBACK=single", "TMPDIR=" + formsDir}
		cmd.Dir = "/"
		cmd.Stderr = os.Stderr
		cmd.ExtraFiles = files
		cmd.SysProcAttr = attr
		return cmd, cmd.Start()
	}
	cmd, err := start()
	if errors.Is(err, syscall.EPERM) && attr.Cloneflags != 0 {
		attr.Cloneflags = 0
		weak = append(weak, "no namespaces of its own: not permitted here")
		cmd, err = start()
	}
	if err != nil {
		return 0, err
	}
	if len(weak) > 0 {
		cfg.Log.Warn("worker is confined less than it should be", "job", "proxy", "weak", weak)
	}
	pid := cmd.Process.Pid
	go func() { _ = cmd.Wait() }()
	return pid, nil
}

// AdoptWeb finds workers that a daemon before this one has left, newest last. Sockets on which nobody answers are removed, and
// whoever does not say hello within the patience of cfg is killed, because the sockets it holds are needed.
func AdoptWeb(ctx context.Context, cfg WebConfig) []*WebProcess {
	paths, _ := filepath.Glob(filepath.Join(cfg.RunDir, "proxy-*.sock"))
	var out []*WebProcess
	for _, path := range paths {
		p, err := cfg.adopt(ctx, path)
		switch {
		case err == nil:
			out = append(out, p)
		case errors.Is(err, syscall.ECONNREFUSED):
			removeSocket(path)
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
			killed, killErr := killMarked(path)
			cfg.Log.Warn("a proxy worker that was left does not answer", "socket", path, "killed", killed, "error", errors.Join(err, killErr))
			if killed && cfg.Hung != nil {
				cfg.Hung()
			}
		default:
			cfg.Log.Warn("talk to a proxy worker that was left", "socket", path, "error", err)
		}
	}
	return out
}

// adopt connects to a worker that may be slow to answer.
func (cfg WebConfig) adopt(ctx context.Context, path string) (*WebProcess, error) {
	for begun := time.Now(); ; {
		p, err := cfg.connect(ctx, path, nil)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil || time.Since(begun) >= cfg.patience() {
			return p, err
		}
	}
}

// connect takes the place of whoever talked to the worker before.
func (cfg WebConfig) connect(ctx context.Context, path string, sockets []WebSocket) (*WebProcess, error) {
	d := net.Dialer{Timeout: helloWithin}
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	c := nc.(*net.UnixConn)
	p := &WebProcess{cfg: cfg, path: path, gone: make(chan struct{})}
	var rest []byte
	if err = greet(c, cfg.Version, sockets); err == nil {
		p.Version, p.Sockets, rest, err = greeted(c)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	p.link = link.New(&prefixed{UnixConn: c, first: rest}, link.Config{MaxFrame: maxFromWorker, Handle: p.handle, Raw: cfg.Logs, Handlers: 16, WriteWithin: 2 * cfg.patience()})
	go func() {
		defer close(p.gone)
		if err := p.link.Run(context.WithoutCancel(ctx)); err != nil {
			cfg.Log.Warn("listen to the proxy worker", "error", err)
		}
	}()
	return p, nil
}

func closeSockets(sockets []WebSocket) {
	for _, s := range sockets {
		s.File.Close()
	}
}

// handle answers the worker.
func (p *WebProcess) handle(ctx context.Context, method string, params json.RawMessage) (any, error) {
	if method == webStrike {
		x, ok, err := p.took.take(params, time.Now())
		if ok && p.cfg.Strike != nil {
			p.cfg.Strike(ctx, x)
		}
		return nil, err
	}
	if method == webCounts && p.cfg.Counts != nil {
		return p.cfg.Counts(ctx), nil
	}
	if method != webCertificate {
		return nil, errors.New("unknown method")
	}
	var name string
	if err := json.Unmarshal(params, &name); err != nil || len(name) > 255 || name != clean(name) {
		return nil, errors.New("not a name")
	}
	return p.cfg.Certificate(ctx, name)
}

// Gone is closed when the worker has ended, or cannot be talked to any more.
func (p *WebProcess) Gone() <-chan struct{} { return p.gone }

// Ping returns when the worker has answered; an error that it gives is an answer too.
func (p *WebProcess) Ping(ctx context.Context) error {
	err := p.link.Ask(ctx, webPing, nil, nil)
	if _, said := errors.AsType[*link.RemoteError](err); said {
		return nil
	}
	return err
}

// Abandon ends the talk with a worker that does not answer: whoever waits for it gets an error, and Gone is closed. The process
// goes on until Kill.
func (p *WebProcess) Abandon() { p.link.Close() }

// Kill ends a worker that cannot be talked to any more, and frees what it holds. It reports whether there was one: it does
// nothing to one that has ended.
func (p *WebProcess) Kill() (bool, error) {
	killed, err := killMarked(p.path)
	if err != nil {
		return false, fmt.Errorf("kill proxy worker: %w", err)
	}
	return killed, nil
}

// Configure puts a configuration in force. An error that wraps a *link.RemoteError is the worker's: nothing has changed.
func (p *WebProcess) Configure(ctx context.Context, c proxy.Config) error {
	return p.link.Ask(ctx, webConfigure, c, nil)
}

// Test says what Configure would.
func (p *WebProcess) Test(ctx context.Context, c proxy.Config) error {
	return p.link.Ask(ctx, webTest, c, nil)
}

// Challenge publishes the answers to all open challenges.
func (p *WebProcess) Challenge(ctx context.Context, c Challenges) error {
	return p.link.Ask(ctx, webChallenges, c, nil)
}

// Refresh makes the worker fetch certificates anew.
func (p *WebProcess) Refresh(ctx context.Context, names []string) error {
	return p.link.Ask(ctx, webRefresh, names, nil)
}

// SetKeys gives the worker the secrets that workers share.
func (p *WebProcess) SetKeys(ctx context.Context, k proxy.Keys) error {
	return p.link.Ask(ctx, webKeys, k, nil)
}

// Keys are those that the worker was given last.
func (p *WebProcess) Keys(ctx context.Context) (proxy.Keys, error) {
	var k proxy.Keys
	err := p.link.Ask(ctx, webOldKeys, nil, &k)
	return k, err
}

// maxParts bounds what one worker tells another of clients.
const maxParts = 64

// HandLimits gives what this worker knows of clients (limits, penalties, failures that may become strikes) to the one that takes
// its place, which takes it only where it makes limits stricter. It may be called again, and is then for what came in between.
func (p *WebProcess) HandLimits(ctx context.Context, to *WebProcess) error {
	from := 0
	for range maxParts {
		var part limits.Snapshot
		if err := p.link.Ask(ctx, webLimits, from, &part); err != nil {
			return fmt.Errorf("hand limits over: %w", err)
		}
		if err := to.link.Ask(ctx, webTakeLimits, part, nil); err != nil {
			return fmt.Errorf("hand limits over: %w", err)
		}
		if part.Next <= from {
			return nil
		}
		from = part.Next
	}
	return nil
}

// Status asks the worker how it is.
func (p *WebProcess) Status(ctx context.Context) (WebStatus, error) {
	var s WebStatus
	err := p.link.Ask(ctx, webStatus, nil, &s)
	for i := range s.Weak {
		s.Weak[i] = clean(s.Weak[i])
	}
	return s, err
}

// Upstreams says how the servers of a group are, of all groups where it is "". Of very many only the first come.
func (p *WebProcess) Upstreams(ctx context.Context, group string) ([]upstream.Status, error) {
	var out []upstream.Status
	err := p.link.Ask(ctx, webUpstreams, group, &out)
	return checkedStatuses(out), err
}

// Purge drops what caches hold: everything, or what an address, a glob or "tag:NAME" names. It gives how much that was.
func (p *WebProcess) Purge(ctx context.Context, what string) (int, error) {
	var n int
	err := p.link.Ask(ctx, webPurge, what, &n)
	return n, err
}

// Drain lets the worker finish what it is doing and end. Its control socket is removed, so that nobody adopts it.
func (p *WebProcess) Drain(ctx context.Context, d WebDrain) error {
	os.Remove(p.path)
	err := p.link.Ask(ctx, webDrain, d, nil)
	if errors.Is(err, link.ErrClosed) { // it has ended, perhaps before it could say so; or it was abandoned, and will not
		if _, err = killMarked(p.path); errors.Is(err, errNoMark) {
			err = nil
		}
		return err
	}
	if err == nil {
		os.Remove(markPath(p.path)) // from now on it ends by itself
	}
	return err
}
