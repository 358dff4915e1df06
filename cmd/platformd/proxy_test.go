package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/certs/pebbletest"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/proxy"
)

// withProxy starts platformd again, with the proxy on ports 80 and 443 and a back end behind it.
func (m *machine) withProxy() (backend string) {
	m.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello "+r.Header.Get("X-Real-Ip"))
	})}
	go s.Serve(l)
	m.Cleanup(func() { s.Close() })
	m.kill(syscall.SIGTERM)
	m.args = append(m.args, "--http", ":80", "--https", ":443")
	m.start()
	return "http://" + l.Addr().String()
}

// browser is a client of the proxy at an address of this host, that takes roots for the authorities it knows.
func (m *machine) browser(at netip.Addr, roots *x509.CertPool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(at.String(), port))
	}}
	m.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func page(c *http.Client, url string) (string, *http.Response, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), resp, err
}

// A route gets a certificate from a real CA, over the plain HTTP port that redirects everything else; and what was got goes
// on being served when the daemon is killed, and by the next one.
func TestRouteGetsItsCertificate(t *testing.T) {
	onMachine(t, metricsDocument, func(m *machine) {
		backend := m.withProxy()
		ca := pebbletest.Start(m.T, pebbletest.Config{HTTPPort: 80, TLSPort: 443, DNS: pebbletest.StartDNS(m.T)})
		email, agreed := "admin@example.test", true
		m.must(m.client.SetUpCerts(m.ctx, wire.Options{}, wire.CertSetup{Email: &email, TermsAgreed: &agreed, CA: &wire.CertAuthority{Name: "pebble", Directory: ca.Directory, Root: ca.Root}}))
		m.must(m.client.AddRoute(m.ctx, wire.Options{}, proxy.Route{Host: "app.test", Backend: backend}, false))
		local := netip.MustParseAddr("127.0.0.1")
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca.IssuerRoot())
		c := m.browser(local, roots)
		m.until("the certificate of the CA is served", func() bool {
			body, resp, err := page(c, "https://app.test/")
			return err == nil && resp.StatusCode == 200 && resp.ProtoMajor == 2 && body == "hello 127.0.0.1"
		})
		list, err := m.client.Certs(m.ctx)
		if err != nil || len(list) == 0 || !strings.HasPrefix(list[0].Source, "acme:pebble") {
			m.Errorf("got %+v, %v", list, err)
		}
		if body, resp, err := page(c, "http://app.test/x"); err != nil || resp.StatusCode != 301 || resp.Header.Get("Location") != "https://app.test/x" {
			m.Errorf("plain HTTP: got %+v %q, %v", resp, body, err)
		}
		for i := range m.Host1 {
			if f := m.scrape(m.host(i, 80)); value(f, "platformd_cert_renewals_total") != 1 || value(f, "platformd_proxy_certificate_days_left", "name", "app.test") <= 0 {
				m.Errorf("counted %v certificates, good for %v days", value(f, "platformd_cert_renewals_total"), value(f, "platformd_proxy_certificate_days_left", "name", "app.test"))
			}
		}
		m.kill(syscall.SIGKILL)
		c.CloseIdleConnections()
		if body, _, err := page(c, "https://app.test/"); body != "hello 127.0.0.1" {
			m.Errorf("without the daemon: got %q, %v", body, err)
		}
		m.start()
		c.CloseIdleConnections()
		if body, _, err := page(c, "https://app.test/"); body != "hello 127.0.0.1" {
			m.Errorf("after the next start: got %q, %v", body, err)
		}
		if s, err := m.client.Proxy(m.ctx); err != nil || !s.Serving || s.Stats.Requests < 4 {
			m.Errorf("the worker was not adopted: %+v, %v", s, err)
		}
	})
}

// The proxy is reached from outside by TCP and UDP, v4 and v6, as the ports are open; a port that is taken is a condition.
func TestProxyIsReachedAsPortsAreOpen(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		squatter, err := net.Listen("tcp", ":80")
		if err != nil {
			m.Fatal(err)
		}
		m.kill(syscall.SIGTERM)
		m.args = append(m.args, "--http", ":80", "--https", ":443")
		m.start()
		if s, there := m.condition("proxy-listen"); !there || !s.Firewall.Verified {
			m.Errorf("a taken port: got %+v", s.Conditions)
		}
		squatter.Close()
		m.until("the port is listened on", func() bool { _, there := m.condition("proxy-listen"); return !there })
		for i := range 2 {
			c, err := m.Client1.From(netip.Addr{}).Stream(m.host(i, 80), 10*time.Second)
			if err != nil {
				m.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n")
			answer, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") {
				m.Errorf("%v: got %.80q, %v", m.host(i, 80), answer, err)
			}
		}
	})
}

// insecure is c's transport, taking any certificate: the one that a host signs itself.
func insecure(c *http.Client) http.RoundTripper {
	tr := c.Transport.(*http.Transport)
	tr.TLSClientConfig.InsecureSkipVerify = true
	return tr
}

// An app reaches the host's public address on 443 from its own network, by IPv4 and IPv6: the proxy answers it as anybody else,
// and knows it by its own address. Where the port is closed to others, it is to the app too.
func TestAppReachesThePublicAddress(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		backend := m.withProxy()
		m.must(m.client.AddRoute(m.ctx, wire.Options{}, proxy.Route{Host: "app.test", Backend: backend}, false))
		ask := func(from nstest.From, at netip.AddrPort) (string, error) {
			raw, err := from.Stream(at, 5*time.Second)
			if err != nil {
				return "", err
			}
			defer raw.Close()
			if err := raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				return "", err
			}
			c := tls.Client(raw, &tls.Config{ServerName: "app.test", InsecureSkipVerify: true})
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return "", err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return string(b), err
		}
		for i, own := range m.Container.Addrs() {
			got, err := ask(m.Container.From(netip.Addr{}), m.host(i, 443))
			if err != nil || got != "hello "+own.String() {
				m.Errorf("the app to %v: got %q, %v", m.host(i, 443), got, err)
			}
			if got, err := ask(m.Container.From(netip.Addr{}), netip.AddrPortFrom(m.Host2[i], 443)); err != nil || got != "hello "+own.String() {
				m.Errorf("the app to %v: got %q, %v", m.Host2[i], got, err)
			}
		}
		ports, err := m.client.Ports(m.ctx)
		if err != nil {
			m.Fatal(err)
		}
		for _, p := range ports {
			if strings.Contains(fmt.Sprint(p.Ports), "443") {
				m.must(m.client.ClosePorts(m.ctx, wire.Options{}, p.Name))
			}
		}
		for i := range m.Host1 {
			for _, n := range []*nstest.NS{m.Container, m.Client1} {
				if got := n.From(netip.Addr{}).Dial(m.T, "tcp", m.host(i, 443)); got != nstest.Filtered {
					m.Errorf("%s to a closed %v: got %s", n.Name, m.host(i, 443), got)
				}
			}
		}
	})
}
