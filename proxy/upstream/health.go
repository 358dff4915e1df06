package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/upstream/h1"
)

// watch checks a server until ctx ends.
func (s *Set) watch(ctx context.Context, m *server, name string, h Health) {
	every := or(h.Interval, 10*time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case s.checking <- struct{}{}: // only so many at once
		case <-ctx.Done():
			return
		}
		reason := m.check(ctx, &h)
		<-s.checking
		if ctx.Err() != nil {
			return
		}
		if m.checked(&h, reason, s.now()) {
			if reason == "" {
				s.log.Info("back end is well again", "group", name, "server", m.conf.URL)
			} else {
				s.log.Warn("back end is down", "group", name, "server", m.conf.URL, "reason", reason)
			}
			s.changed(name)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// check asks a server once, and says why it is not well, "" where it is.
func (s *server) check(ctx context.Context, h *Health) string {
	ctx, cancel := context.WithTimeout(ctx, or(h.Timeout, 5*time.Second))
	defer cancel()
	var err error
	switch h.Type {
	case checkTCP:
		err = s.checkDial(ctx, false)
	case checkTLS:
		err = s.checkDial(ctx, true)
	default:
		err = s.checkHTTP(ctx, h)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func (s *server) checkDial(ctx context.Context, secure bool) error {
	u := *s.url
	if u.Scheme == "udp" { // which says nothing of whether anybody is there
		u.Scheme = "tcp"
	}
	c, err := dialer(&s.conf, &u)(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if !secure {
		return nil
	}
	conf, err := tlsConfig(&s.conf)
	if err != nil {
		return err
	}
	if conf.ServerName == "" {
		conf.ServerName = s.url.Hostname()
	}
	return tls.Client(c, conf).HandshakeContext(ctx)
}

// checkHTTP asks by the connections of the server, as requests do.
func (s *server) checkHTTP(ctx context.Context, h *Health) error {
	path, host := h.Path, h.Host
	if path == "" {
		path = "/"
	}
	if host == "" {
		host = s.url.Host
	}
	resp, err := s.link.Do(ctx, &h1.Request{Method: http.MethodGet, Target: path, Host: host, Fields: []h1.Field{{Name: "User-Agent", Value: "platformd-health"}}, Safe: true, Into: http.Header{}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for taken := 0; taken < maxCheck; {
		b, err := resp.Body.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		taken += len(b)
	}
	if want := h.statuses(); !slices.Contains(want, resp.Status) {
		return fmt.Errorf("status is %d and not %s", resp.Status, strings.Trim(fmt.Sprint(want), "[]"))
	}
	return nil
}

// maxCheck is how much of a check's answer is read, so that its connection can be used again.
const maxCheck = 64 << 10
