package nft

import (
	"errors"
	"fmt"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall"
)

// listener is the socket of Watch. While somebody listens, the kernel writes a message for each element of a bulk load,
// whether a filter throws it away or not, which doubles what the load costs. So the socket leaves the group meanwhile;
// afterwards it reports a change by nobody, because what others did was not heard.
type listener struct {
	mu     sync.Mutex
	conn   *netlink.Conn // nil where nobody watches
	report func(firewall.ChangedBy)
	loads  int // under way
}

func (l *listener) open(c *netlink.Conn, report func(firewall.ChangedBy)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.report = c, report
	if l.loads > 0 {
		return nil // the end of the load joins
	}
	return c.JoinGroup(unix.NFNLGRP_NFTABLES)
}

func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.report = nil, nil
}

// deaf calls load while nothing listens.
func (l *listener) deaf(load func() error) error {
	if err := l.count(1); err != nil {
		return err
	}
	err := load()
	// A socket that cannot join again stays deaf; the error ends the load, and whoever watches looks each minute anyway.
	return errors.Join(err, l.count(-1))
}

func (l *listener) count(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.loads
	l.loads += n
	var err error
	switch {
	case l.conn == nil:
	case before == 0:
		err = l.conn.LeaveGroup(unix.NFNLGRP_NFTABLES)
	case l.loads == 0:
		if err = l.conn.JoinGroup(unix.NFNLGRP_NFTABLES); err == nil {
			l.report(firewall.ChangedBy{})
		}
	}
	if err != nil {
		l.loads -= n
		return fmt.Errorf("watch nftables around a load: %w", err)
	}
	return nil
}
