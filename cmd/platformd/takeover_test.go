package main

import (
	"bufio"
	"fmt"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/ratelimit"
)

// A daemon that has to replace the worker it finds gives the next one what the old one knows of clients: nobody has a fresh
// allowance, by IPv4 and IPv6, and who did nothing has all of it.
func TestLimitsOutliveTheTakeOver(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		backend := m.withProxy()
		m.kill(syscall.SIGTERM)
		m.args = m.args[:len(m.args)-2] // no HTTPS at first
		m.start()
		r := proxy.Route{Host: "a.test", Backend: backend, PlainHTTP: true}
		r.Limits.Requests = &ratelimit.Limit{Rate: 3, Per: time.Hour}
		m.must(m.client.AddRoute(m.ctx, wire.Options{}, r, false))
		ask := func(i int, from netip.Addr) int {
			c, err := m.Client1.From(from).Stream(m.host(i, 80), 10*time.Second)
			if err != nil {
				m.Fatal(err)
			}
			defer c.Close()
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				m.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		for i := range m.Host1 {
			for n, want := range []int{200, 200, 200, 429} {
				if got := ask(i, netip.Addr{}); got != want {
					m.Fatalf("request %d to %v: got %d, want %d", n, m.Host1[i], got, want)
				}
			}
		}
		old := m.workerPID()
		m.kill(syscall.SIGTERM)
		m.args = append(m.args, "--https", ":443")
		m.start()
		m.until("the old worker has ended", func() bool { return !alive(old) })
		others := []netip.Addr{netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("2001:db8:77::1")}
		for i := range m.Host1 {
			if got := ask(i, netip.Addr{}); got != 429 {
				m.Errorf("%v, after the take-over: got %d", m.Host1[i], got)
			}
			m.AddSource(m.T, m.Client1, others[i])
			if got := ask(i, others[i]); got != 200 {
				m.Errorf("somebody new at %v: got %d", m.Host1[i], got)
			}
		}
	})
}
