package appkeep

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/internal/activity"
)

// Defaults of apps.Health, and after how many checks in a row an app counts as unhealthy.
const (
	checkEvery    = 15 * time.Second
	checkTimeout  = 5 * time.Second
	startGrace    = 2 * time.Minute
	unhealthyFrom = 3
	maxStatusLine = 512
)

// healthy waits until a version answers, at most for its grace time.
func (k *Keeper) healthy(ctx context.Context, a *apps.App, v *apps.Version) error {
	grace := cmp.Or(time.Duration(v.Manifest.Health.Grace), startGrace)
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	name := apps.ContainerName(a.Name, v.Slot)
	var last error
	for {
		if last = k.ask(ctx, a, v); last == nil {
			return nil
		}
		have, err := k.cfg.Engine.Observe(ctx)
		i := slices.IndexFunc(have.Containers, func(s apps.Seen) bool { return s.Name == name })
		if err == nil && (i < 0 || !have.Containers[i].Running) {
			code, oom, _ := k.cfg.Engine.Ended(ctx, name)
			if oom {
				return errors.New("it needed more memory than its limit, and was ended")
			}
			return fmt.Errorf("its container ended with status %d; platformctl app logs %s says more", code, a.Name)
		}
		pause(ctx, k.cfg.Poll)
		if ctx.Err() != nil {
			return fmt.Errorf("it did not become healthy within %v: %w", grace, last)
		}
	}
}

// check asks an app that runs how it is.
func (k *Keeper) check(ctx context.Context, workers *sync.WaitGroup, a *apps.App) {
	k.mu.Lock()
	b := k.book(a.Name)
	if b.checking {
		k.mu.Unlock()
		return
	}
	b.checking = true
	k.mu.Unlock()
	workers.Go(func() {
		err := k.ask(ctx, a, &a.Current)
		k.mu.Lock()
		b.checking = false
		before := b.failures
		k.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		k.scheduleCheck(a, err == nil)
		switch {
		case err == nil:
			if before >= unhealthyFrom {
				k.record(ctx, activity.AppRecovered, a.Name, activity.OK, "it answers again")
			}
			k.well(ctx, a)
		case before+1 >= unhealthyFrom:
			if before+1 == unhealthyFrom {
				k.record(ctx, activity.AppUnhealthy, a.Name, activity.Failed, lines(err))
			}
			k.set(a.Name, Unhealthy, lines(err))
		}
		k.Wake()
	})
}

// scheduleCheck counts a check, and says when the next one is due: soon after one that failed.
func (k *Keeper) scheduleCheck(a *apps.App, ok bool) {
	every := cmp.Or(time.Duration(a.Current.Manifest.Health.Interval), checkEvery)
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.book(a.Name)
	b.failures++
	if ok {
		b.failures = 0
	} else {
		every = min(every, 2*time.Second)
	}
	b.checkAt = k.cfg.Now().Add(every)
}

// ask says why a version is not well, or nil.
func (k *Keeper) ask(ctx context.Context, a *apps.App, v *apps.Version) error {
	m := &v.Manifest
	if len(a.Debug) > 0 {
		return nil
	}
	c := k.cfg.Current()
	port := m.HTTP.Port
	if port == 0 {
		i := slices.IndexFunc(m.Ports, func(p apps.Port) bool { return p.Protocol != "udp" })
		if i < 0 {
			return nil // that it runs is all that can be asked
		}
		port = m.Ports[i].Container
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(time.Duration(m.Health.Timeout), checkTimeout))
	defer cancel()
	at := netip.AddrPortFrom(c.Address(a, v.Slot), port)
	if m.HTTP.Port == 0 || m.HTTP.Scheme == "h2c" {
		return ping(ctx, at)
	}
	status, err := statusOf(ctx, at, a.Domain, cmp.Or(m.Health.Path, "/"))
	if err != nil {
		return err
	}
	if len(m.Health.Statuses) > 0 && !slices.Contains(m.Health.Statuses, status) || len(m.Health.Statuses) == 0 && status >= 500 {
		return fmt.Errorf("%s answers with status %d", cmp.Or(m.Health.Path, "/"), status)
	}
	return nil
}

func ping(ctx context.Context, at netip.AddrPort) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return fmt.Errorf("port %d does not answer: %w", at.Port(), reason(err))
	}
	return c.Close()
}

// statusOf asks for a page and reads the status line, and nothing behind it: an app is not to be trusted, and this process
// has every privilege.
func statusOf(ctx context.Context, at netip.AddrPort, host, path string) (int, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return 0, fmt.Errorf("port %d does not answer: %w", at.Port(), reason(err))
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return 0, err
	}
	ask := "GET " + path + " HTTP/1.1\r\nHost: " + cmp.Or(host, at.String()) + "\r\nUser-Agent: platformd-health\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(c, ask); err != nil {
		return 0, fmt.Errorf("port %d: %w", at.Port(), reason(err))
	}
	line, err := bufio.NewReaderSize(io.LimitReader(c, maxStatusLine), maxStatusLine).ReadString('\n')
	status, ok := parseStatus(line)
	if !ok {
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("port %d accepts a connection and does not answer: %w", at.Port(), reason(err))
		}
		return 0, fmt.Errorf("port %d does not speak HTTP", at.Port())
	}
	return status, nil
}

// parseStatus reads the status line of RFC 9112, section 4: "HTTP/1.1 200 OK".
func parseStatus(line string) (int, bool) {
	if len(line) < len("HTTP/1.1 200") || !strings.HasPrefix(line, "HTTP/1.") || line[8] != ' ' {
		return 0, false
	}
	n, err := strconv.ParseUint(line[9:12], 10, 16)
	return int(n), err == nil && n >= 100 && n < 600 && (len(line) == 12 || strings.IndexByte(" \r\n", line[12]) >= 0)
}

// reason is an error of the network without the addresses that the sentence has already.
func reason(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
