package stream

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Sessions are the clients of one UDP socket. The zero value needs its first two fields.
type Sessions struct {
	Conn *net.UDPConn
	// Open is asked about each client that has no session, before anything is made for it; nil turns the datagram away. It must
	// be quick: nobody else's datagrams are read meanwhile.
	Open func(client, local netip.AddrPort) *Flow

	mu      sync.Mutex
	all     map[ends]*session
	fresh   list.List // whose client has not answered to an answer yet, the one that was used last in front
	lasting list.List
	closed  bool
	reading bool
}

// Flow is what a session is for.
type Flow struct {
	// Idle is how long nothing may pass, Most how many sessions there may be on the socket. Where there are as many, the one
	// that was used longest ago goes: first among those whose client never answered to an answer, as one does not whose address
	// is forged.
	Idle time.Duration
	Most int
	// Connect finds the back end. It may take its time: a few datagrams are kept until then.
	Connect func(context.Context) (Back, error)
	// Ended is called when the session is over: bytes from the client and to it, and why.
	Ended func(received, sent int64, why string)
}

// Back is the back end of one session.
type Back struct {
	Conn *net.UDPConn
	// Prefix is put before each datagram for it.
	Prefix []byte
	// Refused is called where nobody is there, and Close, which closes Conn, when the session is over.
	Refused func()
	Close   func() error
}

// Why a session ended, besides EndedIdle.
const (
	EndedRefused = "the back end refuses datagrams"
	EndedEvicted = "there were too many sessions"
	EndedClosed  = "the proxy ended"
)

// ends are who talks to whom.
type ends struct{ client, local netip.AddrPort }

const (
	maxDatagram = 64 << 10
	maxPending  = 8 // datagrams that wait for the back end
)

var datagrams = sync.Pool{New: func() any { b := make([]byte, maxDatagram); return &b }}

// Run reads until the socket is closed or Stop is called.
func (s *Sessions) Run() error {
	s.mu.Lock()
	if s.all == nil {
		s.all = map[ends]*session{}
	}
	s.reading = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reading = false
	}()
	bound := addrPort(s.Conn)
	whither, err := tellWhither(s.Conn, bound.Addr())
	if err != nil {
		return err
	}
	buf, oob := make([]byte, maxDatagram), make([]byte, 256)
	for {
		n, m, _, from, err := s.Conn.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			continue // an error of an answer that was sent before
		}
		local := bound
		if a := whither(oob[:m]); a.IsValid() {
			local = netip.AddrPortFrom(a, bound.Port())
		}
		s.take(ends{netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), local}, buf[:n])
	}
}

// Stop ends reading. Sessions go on passing answers to their clients until they are idle.
func (s *Sessions) Stop() { _ = s.Conn.SetReadDeadline(time.Unix(1, 0)) }

// Len is how many sessions there are.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// Busy reports whether there are sessions, or may still be more.
func (s *Sessions) Busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reading || len(s.all) > 0
}

// Close ends all sessions and closes the socket.
func (s *Sessions) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, x := range s.all {
		x.cancel()
	}
	s.mu.Unlock()
	return s.Conn.Close()
}

// take passes a datagram to its session, which is made if there is none.
func (s *Sessions) take(e ends, data []byte) {
	s.mu.Lock()
	x := s.all[e]
	if x != nil {
		s.use(x)
		s.mu.Unlock()
		x.deliver(data)
		return
	}
	s.mu.Unlock()
	f := s.Open(e.client, e.local)
	if f == nil {
		return
	}
	x = &session{of: s, ends: e, flow: f, born: time.Now()}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		x.cancel()
		f.Ended(0, 0, EndedClosed)
		return
	}
	for len(s.all) >= max(f.Most, 1) {
		s.evict()
	}
	s.all[e] = x
	x.place = s.fresh.PushFront(x)
	s.mu.Unlock()
	x.deliver(data)
	go x.run()
}

// use notes that a client has sent something.
func (s *Sessions) use(x *session) {
	x.touch()
	if !x.lasting && x.answered.Load() {
		s.fresh.Remove(x.place)
		x.lasting, x.place = true, s.lasting.PushFront(x)
		return
	}
	s.listOf(x).MoveToFront(x.place)
}

func (s *Sessions) listOf(x *session) *list.List {
	if x.lasting {
		return &s.lasting
	}
	return &s.fresh
}

// evict ends the session that is worth least. There is one.
func (s *Sessions) evict() {
	last := s.fresh.Back()
	if last == nil {
		last = s.lasting.Back()
	}
	x := last.Value.(*session)
	s.remove(x)
	x.evicted.Store(true)
	x.cancel()
}

// remove forgets a session. The lock is held.
func (s *Sessions) remove(x *session) {
	if s.all[x.ends] == x {
		delete(s.all, x.ends)
		s.listOf(x).Remove(x.place)
	}
}

// tellWhither has the socket tell to which of our addresses a datagram was sent, and gives what reads that; an address is not
// valid where the socket has only one.
func tellWhither(c *net.UDPConn, bound netip.Addr) (func(oob []byte) netip.Addr, error) {
	switch {
	case !bound.IsUnspecified():
		return func([]byte) netip.Addr { return netip.Addr{} }, nil
	case bound.Is4():
		if err := ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true); err != nil {
			return nil, err
		}
		return func(oob []byte) netip.Addr {
			var m ipv4.ControlMessage
			if m.Parse(oob) != nil {
				return netip.Addr{}
			}
			a, _ := netip.AddrFromSlice(m.Dst)
			return a.Unmap()
		}, nil
	}
	if err := ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst, true); err != nil {
		return nil, err
	}
	return func(oob []byte) netip.Addr { // which is of IPv4 where the datagram was
		var m ipv6.ControlMessage
		if m.Parse(oob) != nil {
			return netip.Addr{}
		}
		a, _ := netip.AddrFromSlice(m.Dst)
		return a.Unmap()
	}, nil
}

// sendFrom is the control message that makes one of our addresses the source of an answer. To clients of IPv4 it is one of
// IPv4, by a socket of IPv6 too.
func sendFrom(bound, local netip.Addr) []byte {
	switch {
	case !bound.IsUnspecified() || !local.IsValid() || local.IsUnspecified():
		return nil
	case local.Is4():
		return (&ipv4.ControlMessage{Src: local.AsSlice()}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: local.AsSlice()}).Marshal()
}

func addrPort(c *net.UDPConn) netip.AddrPort {
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return a.AddrPort()
}
