package main

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/cache"
	"github.com/platformd/platformd/proxy/upstream"
)

// counted is one sample of a scrape.
type counted struct {
	labels map[string]string
	value  float64
}

// scrape reads the counts as Prometheus does, from a neighbour.
func (m *machine) scrape(at netip.AddrPort) map[string][]counted {
	m.Helper()
	c, err := m.Client1.From(netip.Addr{}).Stream(at, 10*time.Second)
	if err != nil {
		m.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /__metrics HTTP/1.1\r\nHost: whatever.test\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		m.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		m.Fatalf("scrape %v: %s, %v", at, resp.Status, err)
	}
	out := map[string][]counted{}
	for name, f := range families {
		for _, x := range f.GetMetric() {
			one := counted{labels: map[string]string{}, value: x.GetCounter().GetValue() + x.GetGauge().GetValue()}
			for _, l := range x.GetLabel() {
				one.labels[l.GetName()] = l.GetValue()
			}
			out[name] = append(out[name], one)
		}
	}
	return out
}

// value is the sample with these labels, as pairs; -1 where there is none.
func value(of map[string][]counted, name string, labels ...string) float64 {
	want := map[string]string{}
	for i := 0; i+1 < len(labels); i += 2 {
		want[labels[i]] = labels[i+1]
	}
	for _, x := range of[name] {
		if maps.Equal(x.labels, want) {
			return x.value
		}
	}
	return -1
}

// metricsDocument lets neighbours read the counts.
const metricsDocument = `{"version": 1, "firewall": {"ports": [{"name": "web", "protocol": "tcp", "ports": ["80", "443"]}, {"name": "ssh", "protocol": "tcp", "ports": ["22"], "limit": "ssh"}]},
	"proxy": {"metrics": {"path": "/__metrics", "allow": ["0.0.0.0/0", "::/0"]}}}`

// One scrape has the counts of the proxy, of its back ends, and of the host, as docs/metrics.md lists them; without the daemon
// it has those of the proxy.
func TestMetricsAreScraped(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	onMachine(t, metricsDocument, func(m *machine) {
		b := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		m.Cleanup(b.Close)
		m.kill(syscall.SIGTERM)
		m.args = append(m.args, "--http", ":80", "--https", ":443")
		m.start()
		m.must(m.client.AddUpstream(m.ctx, wire.Options{}, upstream.Group{Name: "app", Servers: []upstream.Server{{URL: b.URL}, {URL: "http://127.0.0.1:1"}}, Health: &upstream.Health{Type: "tcp", Interval: 50e6, Unhealthy: 1}}, false))
		m.must(m.client.AddRoute(m.ctx, wire.Options{}, proxy.Route{Host: "a.test", Backend: "upstream:app", PlainHTTP: true, Cache: &cache.Config{}}, false))
		m.must(m.client.AddStream(m.ctx, wire.Options{}, proxy.Stream{Port: 5432, Backend: &upstream.Group{Servers: []upstream.Server{{URL: strings.Replace(b.URL, "http", "tcp", 1)}}}}, wire.StreamOptions{}))
		m.block("192.0.2.0/24", "2001:db8:bad::/48")
		for range 2 {
			if err := m.client.Strike(m.ctx, wire.StrikeRequest{Source: "203.0.113.7", Reason: "sshd"}); err != nil {
				m.Fatal(err)
			}
		}
		m.sees(81, nstest.Filtered)
		m.becomes(22, nstest.Filtered) // nobody listens there; the limit comes to bear
		if got := m.sendPassword(netip.Addr{}, m.host(0, 80)); got != 200 {
			m.Fatalf("the back end: got %d", got)
		}
		var f map[string][]counted
		for i := range m.Host1 {
			m.until("everything is counted", func() bool {
				f = m.scrape(m.host(i, 80))
				return value(f, "platformd_proxy_upstream_up", "upstream", "app", "server", "http://127.0.0.1:1") == 0 && value(f, "platformd_refused_packets_total", "reason", "closed") >= 2 &&
					value(f, "platformd_rate_limit_hits_total", "limit", "ssh") >= 2 &&
					value(f, "platformd_proxy_requests_total", "route", "a.test/", "method", "write", "status", "2xx") == 1
			})
		}
		for _, x := range []struct {
			want float64
			name string
			of   []string
		}{
			{1, "platformd_up", nil},
			{1, "platformd_proxy_upstream_up", []string{"upstream", "app", "server", b.URL}},
			{1, "platformd_proxy_upstream_requests_total", []string{"upstream", "app", "server", b.URL}},
			{0, "platformd_proxy_upstream_requests", []string{"upstream", "app", "server", b.URL}},
			{2, "platformd_blocked_ips", []string{"by", "block"}},
			{0, "platformd_blocked_ips", []string{"by", "ban"}},
			{2, "platformd_strikes_total", []string{"reason", "sshd"}},
			{2, "platformd_failed_auth_attempts_total", []string{"service", "ssh"}},
			{0, "platformd_cert_renewals_total", nil},
			{0, "platformd_signature_failures_total", nil},
			{0, "platformd_conditions", []string{"severity", "critical"}},
			{1, "platformd_events_total", []string{"action", "address-blocked"}},
		} {
			if got := value(f, x.name, x.of...); got != x.want {
				m.Errorf("%s %v: got %v, want %v", x.name, x.of, got, x.want)
			}
		}
		if got := value(f, "platformd_cert_expires_timestamp_seconds", "name", "a.test"); got < float64(time.Now().Unix()) {
			m.Errorf("the certificate of a.test ends at %v", got)
		}
		if s, err := m.client.Proxy(m.ctx); err != nil || s.DroppedStrikes != 0 || len(s.Upstreams) != 3 { // one is that of the stream
			m.Errorf("proxy status: got %+v, %v", s, err)
		}
		// The page lists what there is, and nothing else.
		listed := map[string]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| (`platformd_[^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
			for _, name := range strings.Split(row[1], ", ") {
				listed[strings.Trim(name, "`")] = true
			}
		}
		got := slices.Sorted(maps.Keys(f))
		if want := slices.Sorted(maps.Keys(listed)); !slices.Equal(got, want) {
			m.Errorf("docs/metrics.md lists\n%s\nand there are\n%s", strings.Join(want, "\n"), strings.Join(got, "\n"))
		}

		m.kill(syscall.SIGKILL)
		f = m.scrape(m.host(0, 80))
		if value(f, "platformd_up") != 0 || value(f, "platformd_proxy_requests_total", "route", "a.test/", "method", "write", "status", "2xx") != 1 || value(f, "platformd_blocked_ips", "by", "block") != -1 {
			m.Errorf("without the daemon: up is %v", value(f, "platformd_up"))
		}
	})
}
