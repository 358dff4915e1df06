package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/worker"
)

// told is the sockets of streams that a worker has, by name.
type told struct {
	to    *worker.WebProcess
	names []string
}

// wantedStreams are the sockets of the streams in the document.
func (e *edge) wantedStreams() []worker.WebSocket {
	c := e.current()
	var out []worker.WebSocket
	for i := range c.Streams {
		kind := worker.KindTCP
		if c.Streams[i].UDP() {
			kind = worker.KindUDP
		}
		for _, addr := range c.Streams[i].Listen() {
			out = append(out, worker.WebSocket{Kind: kind, Addr: addr})
		}
	}
	return out
}

// listenStreams opens the sockets of streams that are wanted, and closes others. A port that is taken is a condition, keeps
// nothing else from being served, and is tried again.
func (e *edge) listenStreams() error {
	wanted := e.wantedStreams()
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []worker.WebSocket
	for _, s := range e.streams {
		if slices.ContainsFunc(wanted, func(w worker.WebSocket) bool { return sameSocket(w, s) }) {
			all = append(all, s)
		} else {
			s.File.Close()
		}
	}
	var errs []error
	for _, w := range wanted {
		if slices.ContainsFunc(all, func(s worker.WebSocket) bool { return sameSocket(w, s) }) {
			continue
		}
		f, err := openSocket(w.Kind, w.Addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("stream %s/%s: %w", w.Addr, w.Kind, err))
			continue
		}
		w.File = f
		all = append(all, w)
	}
	e.streams = all
	err := errors.Join(errs...)
	if err != nil {
		e.health.Set(health.Condition{ID: "proxy-streams", Severity: health.Critical, Message: "streams cannot listen: " + err.Error(),
			Remedy: "stop what listens there (ss -ltnup shows it), or give the stream another port or addresses; it is tried again by itself"})
	} else {
		e.health.Clear("proxy-streams")
	}
	return err
}

// bringStreams gives the worker the sockets of streams, where it has not got exactly those.
func (e *edge) bringStreams(ctx context.Context) error {
	e.mu.Lock()
	p, sockets := e.process, slices.Clone(e.streams)
	e.mu.Unlock()
	names := socketNames(sockets)
	if p == nil || e.told.to == p && slices.Equal(e.told.names, names) {
		return nil
	}
	if err := p.Streams(ctx, sockets); err != nil {
		return err
	}
	e.told = told{p, names}
	return nil
}

func socketNames(sockets []worker.WebSocket) []string {
	var out []string
	for _, s := range sockets {
		out = append(out, s.Kind+" "+s.Addr)
	}
	slices.Sort(out)
	return out
}
