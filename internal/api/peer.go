package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// group is the group whose members may talk to the API.
const group = "platform"

// peer is the process at the other end of a connection, as it was when it connected.
type peer struct {
	caller Caller
	// refused says why the peer may not talk; nil is that it may.
	refused error
}

type peerKey struct{}

// callerOf is who makes the request.
func callerOf(ctx context.Context) Caller {
	p, _ := ctx.Value(peerKey{}).(peer)
	return p.caller
}

// connContext finds out once per connection who is there.
func (s *server) connContext(ctx context.Context, c net.Conn) context.Context {
	p, err := s.identify(c)
	if err != nil {
		s.cfg.Log.Warn("identify a peer", "error", err)
		p.refused = errors.New("it cannot be found out who you are")
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func (s *server) identify(c net.Conn) (peer, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return peer{}, fmt.Errorf("peer of a %T: has no credentials", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return peer{}, err
	}
	if credErr != nil {
		return peer{}, fmt.Errorf("read peer credentials: %w", credErr)
	}
	p := peer{caller: Caller{Actor: actor("/proc", int(cred.Pid), cred.Uid), Source: "local", PID: int(cred.Pid)}, refused: mayTalk(cred)}
	if s.cfg.Asker != nil && p.refused == nil {
		p.caller.Source = s.cfg.Asker(p.caller.PID)
	}
	return p, nil
}

// mayTalk says why not; the mode of the socket says the same, but may have been changed by hand.
func mayTalk(c *unix.Ucred) error {
	if c.Uid == 0 {
		return nil
	}
	u, err := user.LookupId(strconv.Itoa(int(c.Uid)))
	if err != nil {
		return fmt.Errorf("user %d: is not known here; only root and the members of group %q may use this API", c.Uid, group)
	}
	if g, err := user.LookupGroup(group); err == nil {
		ids, _ := u.GroupIds()
		if g.Gid == strconv.Itoa(int(c.Gid)) || slices.Contains(ids, g.Gid) {
			return nil
		}
	}
	return fmt.Errorf("user %q: only root and the members of group %q may use this API; use sudo, or: usermod -aG %s %s", u.Username, group, group, u.Username)
}

// actor names a user for the history and the activity log: the user of the process; for root, where the kernel remembers
// who logged in (audit login uid, proc(5)), that person with " (sudo)".
func actor(proc string, pid int, uid uint32) string {
	if uid != 0 {
		return userName(uid)
	}
	data, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "loginuid"))
	if err != nil {
		return "root"
	}
	login, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32)
	const unset = 1<<32 - 1
	if err != nil || login == 0 || login == unset {
		return "root"
	}
	return userName(uint32(login)) + " (sudo)"
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	if uid == 0 {
		return "root"
	}
	return "uid " + id
}
