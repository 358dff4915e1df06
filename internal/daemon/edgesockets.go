package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/worker"
)

// wanted are the sockets to listen on.
func (e *edge) wanted() []worker.WebSocket {
	var out []worker.WebSocket
	if e.http != "" {
		out = append(out, worker.WebSocket{Kind: "http", Addr: e.http})
	}
	if e.https != "" {
		out = append(out, worker.WebSocket{Kind: "https", Addr: e.https}, worker.WebSocket{Kind: "quic", Addr: e.https})
	}
	return out
}

func sameSocket(a, b worker.WebSocket) bool { return a.Kind == b.Kind && a.Addr == b.Addr }

// fits reports whether a worker listens on exactly what is wanted, streams aside: those can be given to it.
func (e *edge) fits(have []worker.WebSocket) bool {
	return slices.EqualFunc(e.wanted(), slices.DeleteFunc(slices.Clone(have), worker.WebSocket.OfStream), sameSocket)
}

// keepSockets keeps those that are wanted.
func (e *edge) keepSockets(have []worker.WebSocket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range have {
		if s.OfStream() {
			e.streams = append(e.streams, s) // listenStreams looks which are wanted
			continue
		}
		if slices.ContainsFunc(e.wanted(), func(w worker.WebSocket) bool { return sameSocket(w, s) }) {
			e.sockets = append(e.sockets, s)
		} else {
			s.File.Close()
		}
	}
}

// listen opens what is wanted and not open. A port that is taken is a condition, and is tried again.
func (e *edge) listen() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []worker.WebSocket
	var errs []error
	for _, w := range e.wanted() {
		if i := slices.IndexFunc(e.sockets, func(s worker.WebSocket) bool { return sameSocket(w, s) }); i >= 0 {
			all = append(all, e.sockets[i])
			continue
		}
		f, err := openSocket(w.Kind, w.Addr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.File = f
		all = append(all, w)
	}
	e.sockets = all
	err := errors.Join(errs...)
	if err != nil {
		e.health.Set(health.Condition{ID: "proxy-listen", Severity: health.Critical, Message: "the proxy cannot listen: " + err.Error(),
			Remedy: "stop what listens there (ss -ltnup shows it), or start platformd with other --http and --https; it is tried again by itself"})
	} else {
		e.health.Clear("proxy-listen")
	}
	return err
}

// openSocket opens a listening socket. Plain TCP: Landlock does not see Multipath TCP.
func openSocket(kind, addr string) (*os.File, error) {
	type filer interface {
		File() (*os.File, error)
		Close() error
	}
	var l filer
	if kind == "quic" || kind == worker.KindUDP {
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, err
		}
		u := pc.(*net.UDPConn)
		// QUIC does its own pacing and wants room for a burst; what the kernel does not grant is not needed to work.
		_, _ = u.SetReadBuffer(7<<20), u.SetWriteBuffer(7<<20)
		l = u
	} else {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		tl, err := lc.Listen(context.Background(), "tcp", addr)
		if err != nil {
			return nil, err
		}
		l = tl.(*net.TCPListener)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var set error
	if err := rc.Control(func(fd uintptr) { set = unix.SetNonblock(int(fd), true) }); err != nil {
		return nil, err
	}
	return f, set
}

// close lets go of the sockets; the worker has its own.
func (e *edge) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range slices.Concat(e.sockets, e.streams) {
		s.File.Close()
	}
	e.sockets, e.streams = nil, nil
}
