package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/proxy"
)

// login sends a password to the proxy from an address of client1 and gives the status, 0 where there was no answer.
func (m *machine) sendPassword(from netip.Addr, to netip.AddrPort) int {
	m.Helper()
	c, err := m.Client1.From(from).Stream(to, 2*time.Second)
	if err != nil {
		return 0
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		m.Fatal(err)
	}
	const body = "user=admin&password=hunter2"
	fmt.Fprintf(c, "POST /login HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.66\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Who tries passwords through the proxy is refused by the kernel, at their true address, with the evidence; nobody else
// is, and an always-allowed source never.
func TestPasswordsThroughTheProxyBan(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		b := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}))
		m.Cleanup(b.Close)
		m.kill(syscall.SIGTERM)
		m.args = append(m.args, "--http", ":80")
		m.start()
		m.must(m.client.AddRoute(m.ctx, wire.Options{}, proxy.Route{Host: "a.test", Backend: b.URL, PlainHTTP: true}, false))
		m.must(m.client.Allow(m.ctx, wire.Options{}, wire.AllowRequest{Targets: []string{"198.51.100.60"}}))
		for i, a := range []string{"198.51.100.50", "2001:db8:7::50"} {
			attacker, neighbour := netip.MustParseAddr(a), netip.MustParseAddr([]string{"198.51.100.51", "2001:db8:8::51"}[i])
			m.AddSource(m.T, m.Client1, attacker)
			m.AddSource(m.T, m.Client1, neighbour)
			at := m.host(i, 80)
			if got := m.sendPassword(attacker, at); got != 401 {
				m.Fatalf("the first password of %s: got %d", a, got)
			}
			m.until(a+" is banned", func() bool {
				m.sendPassword(attacker, at)
				bans, err := m.client.Bans(m.ctx)
				return err == nil && len(bans) > i
			})
			m.until(a+" is refused", func() bool { return m.Client1.From(attacker).Dial(m.T, "tcp", at) == nstest.Filtered })
			if got := m.sendPassword(neighbour, at); got != 401 {
				m.Errorf("%v: got %d, and did nothing", neighbour, got)
			}
		}
		bans, err := m.client.Bans(m.ctx)
		if err != nil || len(bans) != 2 || bans[0].Target != "2001:db8:7::/64" || bans[1].Target != "198.51.100.50" || bans[1].Reason != "http-auth" || bans[1].Detail != "POST a.test/login 401" {
			m.Errorf("got %+v, %v", bans, err)
		}
		owner := netip.MustParseAddr("198.51.100.60")
		m.AddSource(m.T, m.Client1, owner)
		for i := range 30 {
			if got := m.sendPassword(owner, m.host(0, 80)); got != 401 {
				m.Fatalf("password %d of an always-allowed source: got %d", i, got)
			}
		}
		if bans, err := m.client.Bans(m.ctx); err != nil || len(bans) != 2 {
			m.Errorf("got %+v, %v", bans, err)
		}
		s, err := m.client.Proxy(m.ctx)
		if err != nil || s.Stats.FailedAuth < 42 || s.Stats.Limits.Strikes < 10 {
			m.Errorf("got %+v, %v", s.Stats, err)
		}
	})
}

// A client that goes on though it is told to wait is refused by the kernel too.
func TestFloodThroughTheProxyBans(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		b := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		m.Cleanup(b.Close)
		m.kill(syscall.SIGTERM)
		m.args = append(m.args, "--http", ":80")
		m.start()
		route := proxy.Route{Host: "a.test", Backend: b.URL, PlainHTTP: true}
		route.Limits.RequestsPerMinute = 10
		m.must(m.client.AddRoute(m.ctx, wire.Options{}, route, false))
		attacker := netip.MustParseAddr("198.51.100.50")
		m.AddSource(m.T, m.Client1, attacker)
		statuses := map[int]int{}
		flood := func() {
			c, err := m.Client1.From(attacker).Stream(m.host(0, 80), time.Second)
			if err != nil {
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			for range 50 {
				_ = c.SetDeadline(time.Now().Add(2 * time.Second))
				fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				statuses[resp.StatusCode]++
			}
		}
		m.until("the flood is banned", func() bool {
			flood()
			bans, err := m.client.Bans(m.ctx)
			return err == nil && len(bans) == 1 && bans[0].Reason == "http-limit"
		})
		m.until("the flood is refused", func() bool { return m.Client1.From(attacker).Dial(m.T, "tcp", m.host(0, 80)) == nstest.Filtered })
		if statuses[200] != 10 && statuses[200] != 11 || statuses[429] < 100 {
			m.Errorf("got answers %v", statuses)
		}
	})
}
