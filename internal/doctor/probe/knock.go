package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// scan is one probe that runs on the thread in the namespace.
type scan struct {
	cfg      Config
	wire     Wire
	pace     *pace
	suspects []suspect
}

// suspect is a port that disagreed once.
type suspect struct {
	job
	got Result
}

// jobs asks the policy about each target.
func (s *scan) jobs(rs *firewall.Ruleset, in []target) ([]job, error) {
	out := make([]job, len(in))
	for i, t := range in {
		e, err := expect(rs, s.cfg.Lookup, s.wire, t)
		if err != nil {
			return nil, err
		}
		out[i] = job{t, e}
	}
	return out, nil
}

// confirm knocks again where something disagreed, and asks the policy again: a machine that is busy is silent now and then,
// and a policy changes. What time or a limit does not allow to be tried again stands as it was seen.
func (s *scan) confirm(ctx context.Context) ([]Disagreement, error) {
	const rounds = 2
	for range rounds {
		rs, err := s.cfg.Ruleset()
		if err != nil || rs.Off {
			return nil, err
		}
		var list []target
		for _, x := range s.suspects {
			list = append(list, x.target)
		}
		jobs, err := s.jobs(rs, list)
		if err != nil {
			return nil, err
		}
		seen := map[target]Result{}
		if _, err := s.knock(ctx, jobs, confirmTime/rounds, func(j job, got Result) { seen[j.target] = got }); err != nil {
			return nil, err
		}
		var still []suspect
		for i, j := range jobs {
			got, again := seen[j.target]
			if !again {
				got = s.suspects[i].got
			}
			if j.expect.disagrees(got) {
				still = append(still, suspect{j, got})
			}
		}
		s.suspects = still
	}
	var out []Disagreement
	for _, x := range s.suspects {
		out = append(out, Disagreement{Protocol: x.target.proto, To: x.target.to, Got: x.got, Admitted: x.expect.admitted, Rule: x.expect.rule})
	}
	return out, nil
}

// attempt is a knock that waits for an answer.
type attempt struct {
	fd    int
	job   job
	since time.Time
}

// knock tries jobs until none are left or the time is over, and calls report for each with what came of it. left is how
// many were not tried. The sockets are made by the calling thread, because that is what is in the namespace.
func (s *scan) knock(ctx context.Context, jobs []job, limit time.Duration, report func(job, Result)) (left int, err error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return len(jobs), fmt.Errorf("probe: epoll: %w", err)
	}
	defer unix.Close(poll)
	q := newQueue(s.pace, jobs)
	open := map[int]*attempt{}
	var order []*attempt // by age
	defer func() {
		for fd := range open {
			unix.Close(fd)
		}
	}()
	finish := func(a *attempt, r Result) {
		delete(open, a.fd)
		unix.Close(a.fd)
		s.pace.done(a.job)
		report(a.job, r)
	}
	begin := s.cfg.Now()
	events := make([]unix.EpollEvent, atOnce)
	for {
		now := s.cfg.Now()
		wait, late := patience, now.Sub(begin) > limit-patience
		for !late && len(open) < atOnce {
			j, ok, w := q.next(now)
			if !ok {
				if w > 0 {
					wait = min(wait, w)
				}
				break
			}
			fd, r, err := start(poll, j.target)
			if err != nil {
				s.pace.done(j)
				return q.len(), fmt.Errorf("probe %s %v: %w", j.target.proto, j.target.to, err)
			}
			if r != "" {
				s.pace.done(j)
				report(j, r)
				continue
			}
			a := &attempt{fd, j, now}
			open[fd], order = a, append(order, a)
		}
		if ctx.Err() != nil {
			return q.len(), ctx.Err()
		}
		if len(open) == 0 && (late || q.len() == 0) {
			return q.len(), nil
		}
		n, err := unix.EpollWait(poll, events, int(wait/time.Millisecond)+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return q.len(), fmt.Errorf("probe: epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if a := open[int(e.Fd)]; a != nil {
				finish(a, outcome(a, e.Events))
			}
		}
		now = s.cfg.Now()
		for len(order) > 0 {
			a := order[0]
			if open[a.fd] == a {
				if now.Sub(a.since) < patience {
					break
				}
				finish(a, Silent)
			}
			order = order[1:]
		}
	}
}

// start sends the first packet of a knock. A result means that it was answered at once, and the socket is closed.
func start(poll int, t target) (fd int, r Result, err error) {
	to, family := sockaddr(t.to)
	kind := unix.SOCK_STREAM
	if t.proto == firewall.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, "", err
	}
	defer func() {
		if err != nil || r != "" {
			unix.Close(fd)
		}
	}()
	if t.proto == firewall.TCP {
		// A reset at the end: nothing waits in TIME_WAIT on either side.
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return fd, "", err
		}
	}
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		r, err := classify(err)
		return fd, r, err
	}
	wants := uint32(unix.EPOLLOUT)
	if t.proto == firewall.UDP {
		wants = unix.EPOLLIN
		if _, err := unix.Write(fd, []byte{'\n'}); err != nil {
			r, err := classify(err)
			return fd, r, err
		}
	}
	return fd, "", unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: wants, Fd: int32(fd)})
}

// outcome is what an event says.
func outcome(a *attempt, events uint32) Result {
	n, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		if r, err := classify(unix.Errno(n)); err == nil {
			return r
		}
		return Rejected
	}
	if events&(unix.EPOLLOUT|unix.EPOLLIN) != 0 {
		return Open
	}
	return Silent
}

// classify tells what came back from what went wrong here.
func classify(err error) (Result, error) {
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return Refused, nil
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOPROTOOPT),
		errors.Is(err, unix.EHOSTDOWN):
		return Rejected, nil // the codes of ICMP destination unreachable, as the kernel translates them
	case errors.Is(err, unix.ETIMEDOUT):
		return Silent, nil
	}
	return "", err
}
