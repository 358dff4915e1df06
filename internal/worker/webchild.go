package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/worker/link"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/handover"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/waf/coraza"
)

// The descriptors of a proxy worker: it listens on the first for the daemon, and gets all others from it.
const (
	fdControl = 3
	fdWebExe  = 4
	fdWork    = 5
	fdRoots   = 6 // and those behind it; a root that was not there is closed
)

// WebArgs is what a proxy worker is told before it gives up everything.
type WebArgs struct {
	Version string
	Roots   []string // folders below which files may be served; their descriptors come with them
	// Work is a folder of its own, for the cache and for what does not fit into memory; its descriptor comes with it, as its
	// path may lead through folders that the user cannot enter.
	Work string
	// Seccomp is what happens to system calls that are not expected: "filter", "log", "strict" or "off".
	Seccomp string
}

// web is a proxy worker.
type web struct {
	args   WebArgs
	log    *slog.Logger
	server *proxy.Server
	certs  *webCerts
	access *accessLog
	struck *strikeTeller
	lands  webCountries
	weak   []string

	mu       sync.Mutex
	sockets  []WebSocket // kept to hand them on
	keys     proxy.Keys  // kept to hand them on
	serving  bool
	draining bool
	served   map[string]io.Closer // of sockets of streams, by name
	ended    chan struct{}
}

// Web is the whole of "platformd worker proxy": it confines the process, waits for the daemon to say what to serve, and
// serves that until it is told to drain. It goes on when the daemon is gone.
func Web(args WebArgs, stderr io.Writer) int {
	unix.Close(fdWebExe)
	level := slog.LevelInfo
	w := &web{args: args, log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})), certs: newWebCerts(time.Now), served: map[string]io.Closer{}, ended: make(chan struct{})}
	if err := w.run(); err != nil {
		fmt.Fprintln(stderr, "proxy worker:", clean(err.Error()))
		return 1
	}
	return 0
}

func (w *web) run() error {
	var err error
	var roots []int
	for i := range w.args.Roots {
		if _, err := unix.FcntlInt(uintptr(fdRoots+i), unix.F_GETFD, 0); err == nil {
			roots = append(roots, fdRoots+i)
		}
	}
	var relay *handover.Relay
	work := ""
	if w.args.Work != "" {
		if err := errors.Join(unix.Fchdir(fdWork), unix.Close(fdWork)); err != nil {
			return fmt.Errorf("enter %s: %w", w.args.Work, err)
		}
		work = "."
		// The sandbox lets no socket be bound.
		if relay, err = handover.Open(work); err != nil {
			return err
		}
		defer relay.Close()
	}
	if w.weak, err = confineWeb(roots, work, w.args.Seccomp); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	for _, fd := range roots {
		unix.Close(fd)
	}
	f := os.NewFile(fdControl, "control")
	control, err := net.FileListener(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("take the control socket: %w", err)
	}
	w.access, w.struck = newAccessLog(), newStrikeTeller()
	if work != "" {
		if err := os.MkdirAll(formsDir, 0o700); err != nil {
			return fmt.Errorf("make folder %s: %w", formsDir, err)
		}
		sweepForms(time.Now().Add(-time.Hour))
	}
	w.server, err = proxy.NewServer(proxy.Options{Certificates: w.certs, Reporter: w.access, Dropped: w.access.dropped.Load, Log: w.log, Roots: w.args.Roots, Work: work,
		Host: w.hostCounts, Strikes: w.struck, Countries: &w.lands, WAF: coraza.New(formsDir), Handover: relay})
	if err != nil {
		return err
	}
	go w.access.run(w.ended)
	go w.struck.run(w.ended)
	go w.tidy()
	go w.control(control.(*net.UnixListener))
	<-w.ended
	return nil
}

// sweepForms removes what workers that were killed have left; one that still drains may have files that are younger.
func sweepForms(before time.Time) {
	entries, _ := os.ReadDir(formsDir)
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.ModTime().Before(before) {
			_ = os.Remove(filepath.Join(formsDir, e.Name()))
		}
	}
}

// control takes one daemon after the other; a new one takes the place of the last. One that only brings something is gone
// again when that was taken.
func (w *web) control(l *net.UnixListener) {
	l.SetUnlinkOnClose(false)
	end := func() {}
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			w.log.Error("accept the daemon", "error", err)
			time.Sleep(time.Second)
			continue
		}
		h, sockets, rest, err := heard(c)
		if err != nil {
			w.log.Warn("greet the daemon", "error", err)
			c.Close()
			continue
		}
		if h.Parcel != "" {
			if err = w.unpack(h.Parcel, sockets); err == nil {
				err = greet(c, w.args.Version, nil)
			}
			if err != nil {
				w.log.Warn("take what the daemon brings", "parcel", clean(h.Parcel), "error", err)
			}
			c.Close()
			continue
		}
		end()
		ctx, cancel := context.WithCancel(context.Background())
		end = cancel
		go w.daemon(ctx, c, sockets, rest)
	}
}

// unpack takes what was brought.
func (w *web) unpack(parcel string, sockets []WebSocket) error {
	switch {
	case parcel == parcelStreams:
		return w.takeStreams(sockets)
	case parcel == parcelCountries && len(sockets) == 1:
		return w.lands.take(sockets[0].File)
	}
	closeSockets(sockets)
	return errors.New("nobody knows what it is")
}

// daemon talks to one daemon until one of them ends.
func (w *web) daemon(ctx context.Context, c *net.UnixConn, sockets []WebSocket, rest []byte) {
	if err := greet(c, w.args.Version, w.take(sockets)); err != nil {
		w.log.Warn("greet the daemon", "error", err)
		c.Close()
		return
	}
	l := link.New(&prefixed{UnixConn: c, first: rest}, link.Config{MaxFrame: maxFromDaemon, Handle: w.handle})
	w.certs.link.Store(l)
	w.access.to(l)
	w.struck.to(l)
	if err := l.Run(ctx); err != nil {
		w.log.Warn("listen to the daemon", "error", err)
	}
	w.certs.link.CompareAndSwap(l, nil)
	w.access.forget(l)
	w.struck.forget(l)
}

// take keeps the first sockets that come.
func (w *web) take(sockets []WebSocket) []WebSocket {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sockets) > 0 {
		closeSockets(sockets)
	} else {
		w.sockets = sockets
	}
	return w.sockets
}

func (w *web) handle(ctx context.Context, method string, params json.RawMessage) (any, error) {
	switch method {
	case webConfigure, webTest:
		var c proxy.Config
		if err := json.Unmarshal(params, &c); err != nil {
			return nil, err
		}
		if method == webTest {
			return nil, w.server.Test(c)
		}
		if err := w.server.Configure(c); err != nil {
			return nil, err
		}
		w.certs.prefetch(ctx, c.Names())
		return nil, w.serve()
	case webChallenges:
		var c Challenges
		if err := json.Unmarshal(params, &c); err != nil {
			return nil, err
		}
		return nil, w.certs.challenge(c)
	case webRefresh:
		var names []string
		if err := json.Unmarshal(params, &names); err != nil {
			return nil, err
		}
		w.certs.refresh(ctx, names)
		return nil, nil
	case webDrain:
		var d WebDrain
		if err := json.Unmarshal(params, &d); err != nil {
			return nil, err
		}
		go w.drain(d)
		return nil, nil
	case webPurge:
		var what string
		if err := json.Unmarshal(params, &what); err != nil {
			return nil, err
		}
		return w.server.Purge(what)
	case webUpstreams:
		var group string
		if err := json.Unmarshal(params, &group); err != nil {
			return nil, err
		}
		return statusesOf(w.server.Upstreams(), group), nil
	case webKeys:
		var k proxy.Keys
		if err := json.Unmarshal(params, &k); err != nil {
			return nil, errors.New("what came are no keys") // the cause may quote them
		}
		if err := w.server.SetKeys(k); err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.keys = k
		return nil, nil
	case webOldKeys:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.keys, nil
	case webLimits:
		var from int
		if err := json.Unmarshal(params, &from); err != nil {
			return nil, err
		}
		return w.server.Limits(from), nil
	case webTakeLimits:
		var part limits.Snapshot
		if err := json.Unmarshal(params, &part); err != nil {
			return nil, err
		}
		return nil, w.server.TakeLimits(part)
	case webPing:
		w.mu.Lock() // which a worker that is stuck would hold
		defer w.mu.Unlock()
		return nil, nil
	case webStatus:
		return w.status(), nil
	}
	return nil, fmt.Errorf("method %q is unknown", clean(method))
}

// serve begins to accept, once, and on sockets of streams as they are configured.
func (w *web) serve() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.serving {
		return w.serveStreams()
	}
	w.serving = true
	for _, s := range w.sockets {
		if s.OfStream() {
			continue
		}
		if s.Kind == "quic" {
			pc, err := net.FilePacketConn(s.File)
			if err != nil {
				return fmt.Errorf("take socket %s: %w", s.Addr, err)
			}
			serve, err := w.server.ListenQUIC(pc)
			if err != nil {
				return err
			}
			go w.report(s, serve)
			continue
		}
		l, err := net.FileListener(s.File)
		if err != nil {
			return fmt.Errorf("take socket %s: %w", s.Addr, err)
		}
		go w.report(s, func() error { return w.server.Serve(l, s.Kind == "https") })
	}
	return w.serveStreams()
}

func (w *web) report(s WebSocket, serve func() error) {
	if err := serve(); err != nil {
		w.log.Error("serve", "socket", s.Kind, "address", s.Addr, "error", err)
	}
}

// drain ends the process when all is answered.
func (w *web) drain(d WebDrain) {
	ctx, cancel := context.WithTimeout(context.Background(), d.Grace)
	defer cancel()
	w.mu.Lock()
	w.draining = true
	closeSockets(w.sockets) // others have them; a port must not stay taken for as long as this takes
	w.sockets = nil
	w.mu.Unlock()
	err := w.server.Drain(ctx, d.Idle)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		w.log.Warn("drain", "error", err)
	}
	_ = w.server.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.ended:
	default:
		w.access.flush()
		close(w.ended)
	}
}

func (w *web) status() WebStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return WebStatus{Serving: w.serving, Connections: w.server.Connections(), Dropped: w.access.dropped.Load(), DroppedStrikes: w.struck.dropped.Load(), Weak: w.weak, Stats: w.server.Statistics(), Streams: w.server.Streams()}
}
