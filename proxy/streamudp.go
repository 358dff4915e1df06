package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/platformd/platformd/proxy/announce"
	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/limits"
	"github.com/platformd/platformd/proxy/stream"
)

// ServeDatagrams takes what comes on a socket of the stream with a key until the socket is closed, or the server drains.
func (s *Server) ServeDatagrams(key string, c *net.UDPConn) error {
	socket := &stream.Sessions{Conn: c, Open: func(client, local netip.AddrPort) *stream.Flow {
		return s.openSession(key, announce.Parties{From: client, To: unmapped(local)})
	}}
	if !s.streams.listen(socket) {
		return c.Close()
	}
	return errors.Join(socket.Run(), s.streams.unlisten(socket))
}

// openSession begins a session of UDP, where the client may have one. Nobody is struck for datagrams, whose source may be
// anybody, and those that are refused are counted and not logged.
func (s *Server) openSession(key string, ends announce.Parties) *stream.Flow {
	t := s.table.Load()
	st := t.streams[key]
	if st == nil {
		return nil
	}
	client := unmapped(ends.From).Addr()
	exempt := t.exempt.has(client)
	if s.refusesStream(st, client, exempt) != "" {
		s.stats.blocked.Add(1)
		st.counts.refused.Add(1)
		return nil
	}
	pass := new(limits.Pass)
	if v := s.limits.Admit(pass, limits.Request{Client: client, Exempt: exempt}, nil, st.limits); v.Status != 0 {
		s.limits.Done(pass)
		st.counts.refused.Add(1)
		return nil
	}
	st.counts.total.Add(1)
	st.counts.open.Add(1)
	start := time.Now()
	a := Access{Time: start, Client: client, Protocol: "UDP", Stream: key}
	return &stream.Flow{Idle: st.idle, Most: st.Limits.sessions(),
		Connect: func(ctx context.Context) (stream.Back, error) {
			return s.connectSession(ctx, st, ends, &a)
		},
		Ended: func(received, sent int64, why string) {
			s.limits.Done(pass)
			a.Received, a.Sent, a.Took, a.Ended = received, sent, field.Duration(time.Since(start)), why
			if a.Backend == "" && why != stream.EndedClosed && why != stream.EndedEvicted {
				a.Reason, a.Ended = why, ""
				st.counts.failed.Add(1)
			}
			st.counts.received.Add(received)
			st.counts.sent.Add(sent)
			st.counts.open.Add(-1)
			s.report(a)
		}}
}

func (s *Server) connectSession(ctx context.Context, st *streaming, ends announce.Parties, a *Access) (stream.Back, error) {
	c, err := st.back.Connect(ctx, unmapped(ends.From).Addr())
	if err != nil {
		return stream.Back{}, err
	}
	u, ok := c.Conn.(*net.UDPConn)
	if !ok {
		c.Close()
		return stream.Back{}, errors.New("it takes no datagrams")
	}
	out := stream.Back{Conn: u, Refused: c.Refused, Close: c.Close}
	if c.Announcement != "" {
		if out.Prefix, err = ends.Header(c.Announcement, true); err != nil {
			c.Close()
			return stream.Back{}, err
		}
	}
	a.Backend = c.URL
	return out, nil
}
