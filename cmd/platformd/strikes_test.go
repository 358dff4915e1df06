package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
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
		m.must(m.client.Allow(m.ctx, wire.Options{}, wire.AllowRequest{Targets: []string{"198.51.100.60-198.51.100.62"}}))
		attacker, owner := netip.MustParseAddr("198.51.100.50"), netip.MustParseAddr("198.51.100.61")
		m.AddSource(m.T, m.Client1, attacker)
		m.AddSource(m.T, m.Client1, owner)
		statuses := map[int]int{}
		flood := func(from netip.Addr) {
			c, err := m.Client1.From(from).Stream(m.host(0, 80), time.Second)
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
		// What is always allowed is not limited either, as soon as the proxy was told.
		m.until("an always-allowed source is not limited", func() bool {
			clear(statuses)
			flood(owner)
			return statuses[200] == 50
		})
		clear(statuses)
		m.until("the flood is banned", func() bool {
			flood(attacker)
			bans, err := m.client.Bans(m.ctx)
			return err == nil && len(bans) == 1 && bans[0].Reason == "http-limit"
		})
		m.until("the flood is refused", func() bool { return m.Client1.From(attacker).Dial(m.T, "tcp", m.host(0, 80)) == nstest.Filtered })
		if statuses[200] != 10 && statuses[200] != 11 || statuses[429] < 100 {
			m.Errorf("got answers %v", statuses)
		}
	})
}

// Country data that the daemon read reaches the proxy, and what it is changed to as well.
func TestCountriesReachTheProxy(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		b := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		m.Cleanup(b.Close)
		m.kill(syscall.SIGTERM)
		m.args = append(m.args, "--http", ":80")
		data := filepath.Join(m.dir, "countries.csv")
		m.write(data, "8.8.8.0,8.8.8.255,US\n2a00::,2a00:ffff:ffff:ffff:ffff:ffff:ffff:ffff,DE\n")
		m.start()
		m.must(m.client.AddRoute(m.ctx, wire.Options{}, proxy.Route{Host: "a.test", Backend: b.URL, PlainHTTP: true, Countries: &proxy.Countries{Allow: []string{"US"}}}, false))
		doc, err := m.client.Document(m.ctx, 0, "yaml")
		if err != nil {
			m.Fatal(err)
		}
		with := strings.Replace(string(doc), "firewall:\n", "firewall:\n  geo_data:\n    - {path: "+data+", format: csv}\n", 1)
		m.must(m.client.Apply(m.ctx, wire.Options{}, "document.yaml", []byte(with)))
		if _, err := m.client.UpdateGeo(m.ctx); err != nil {
			m.Fatal(err)
		}
		american, german := netip.MustParseAddr("8.8.8.50"), netip.MustParseAddr("2a00:1::50")
		m.AddSource(m.T, m.Client1, american)
		m.AddSource(m.T, m.Client1, german)
		status := func(i int, from netip.Addr) int {
			c, err := m.Client1.From(from).Stream(m.host(i, 80), 5*time.Second)
			if err != nil {
				m.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return 0
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		m.until("the proxy knows the country", func() bool { return status(0, american) == 200 })
		if got := status(1, german); got != 403 {
			m.Errorf("another country: got %d", got)
		}
		if got := status(0, netip.Addr{}); got != 403 {
			m.Errorf("an unknown country: got %d", got)
		}
		m.write(data, "8.8.8.0,8.8.8.255,FR\n2a00::,2a00:ffff:ffff:ffff:ffff:ffff:ffff:ffff,US\n")
		if _, err := m.client.UpdateGeo(m.ctx); err != nil {
			m.Fatal(err)
		}
		m.until("the proxy knows the new countries", func() bool { return status(0, american) == 403 && status(1, german) == 200 })
	})
}
