package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Sockets of streams come and go while a worker runs. All that there are to be come over a connection of their own to the control
// socket, as country data does; it is answered by a hello when those that are gone are closed. A new one is listened on from the
// next configuration on that has its stream, or at once where the one in force has.

const parcelStreams = "streams"

// The kinds of sockets of streams.
const (
	KindTCP = "tcp"
	KindUDP = "udp"
)

// OfStream reports whether a socket is one of a stream.
func (s WebSocket) OfStream() bool { return s.Kind == KindTCP || s.Kind == KindUDP }

// name tells sockets apart.
func (s WebSocket) name() string { return s.Kind + " " + s.Addr }

// stream is the key of the stream that a socket is of.
func (s WebSocket) stream() (string, error) {
	_, port, err := net.SplitHostPort(s.Addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", fmt.Errorf("socket %s: %w", s.Addr, err)
	}
	return port + "/" + s.Kind, nil
}

// Streams gives the worker the sockets of all streams, in the place of those that it has.
func (p *WebProcess) Streams(ctx context.Context, sockets []WebSocket) error {
	if err := p.parcel(ctx, webHello{Version: p.cfg.Version, Parcel: parcelStreams}, sockets); err != nil {
		return fmt.Errorf("hand over sockets of streams: %w", err)
	}
	return nil
}

// parcel hands something over on a connection of its own, and waits until it was taken.
func (p *WebProcess) parcel(ctx context.Context, h webHello, sockets []WebSocket) error {
	d := net.Dialer{Timeout: helloWithin}
	c, err := d.DialContext(ctx, "unix", p.path)
	if err != nil {
		return err
	}
	defer c.Close()
	u := c.(*net.UnixConn)
	if err := greetWith(u, h, sockets); err != nil {
		return err
	}
	_, other, _, err := greeted(u)
	closeSockets(other)
	return err
}

// takeStreams puts sockets of streams in the place of those before. It owns them.
func (w *web) takeStreams(sockets []WebSocket) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining {
		closeSockets(sockets)
		return errors.New("the worker drains")
	}
	come := map[string]WebSocket{}
	for _, s := range sockets {
		if !s.OfStream() {
			closeSockets(sockets)
			return fmt.Errorf("a socket came that is of no stream: %s", s.Kind)
		}
		come[s.name()] = s
	}
	kept := w.sockets[:0:0]
	for _, s := range w.sockets {
		_, wanted := come[s.name()]
		switch {
		case !s.OfStream():
			kept = append(kept, s)
		case wanted:
			come[s.name()].File.Close() // it is here already
			delete(come, s.name())
			kept = append(kept, s)
		default:
			s.File.Close()
			if c := w.served[s.name()]; c != nil {
				c.Close()
				delete(w.served, s.name())
			}
		}
	}
	for _, s := range sockets {
		if c, new := come[s.name()]; new && c.File == s.File {
			kept = append(kept, s)
		}
	}
	w.sockets = kept
	if !w.serving {
		return nil
	}
	return w.serveStreams()
}

// serveStreams listens on the sockets of streams that are configured. The lock is held.
func (w *web) serveStreams() error {
	var errs []error
	for _, s := range w.sockets {
		if s.OfStream() && w.served[s.name()] == nil {
			errs = append(errs, w.serveStream(s))
		}
	}
	return errors.Join(errs...)
}

func (w *web) serveStream(s WebSocket) error {
	key, err := s.stream()
	if err != nil || !w.server.HasStream(key) {
		return err
	}
	var served io.Closer
	var serve func() error
	if s.Kind == KindUDP {
		pc, err := net.FilePacketConn(s.File)
		if err != nil {
			return fmt.Errorf("take socket %s: %w", s.Addr, err)
		}
		u, ok := pc.(*net.UDPConn)
		if !ok {
			pc.Close()
			return fmt.Errorf("take socket %s: it is none of UDP", s.Addr)
		}
		served, serve = u, func() error { return w.server.ServeDatagrams(key, u) }
	} else {
		l, err := net.FileListener(s.File)
		if err != nil {
			return fmt.Errorf("take socket %s: %w", s.Addr, err)
		}
		served, serve = l, func() error { return w.server.ServeStream(key, l) }
	}
	w.served[s.name()] = served
	go w.report(s, serve)
	return nil
}
