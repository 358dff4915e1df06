package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/certs/pebbletest"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/upstream"
	"github.com/platformd/platformd/ratelimit"
)

// streamTo is a stream of some servers.
func streamTo(port int, protocol string, urls ...string) proxy.Stream {
	g := &upstream.Group{}
	for _, u := range urls {
		g.Servers = append(g.Servers, upstream.Server{URL: u})
	}
	return proxy.Stream{Port: port, Protocol: protocol, Backend: g}
}

func (m *machine) addStream(s proxy.Stream) {
	m.Helper()
	m.must(m.client.AddStream(m.ctx, wire.Options{}, s, wire.StreamOptions{}))
}

// knot runs a name server on an address, with a zone whose answers are larger than a datagram should be.
func (m *machine) knot(addr string, port int) {
	m.Helper()
	dir := m.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		m.Fatal(err)
	}
	zone := "$TTL 60\n@ SOA ns.example.test. admin.example.test. 1 60 60 600 60\n@ NS ns.example.test.\nns A 127.0.0.1\nwww A 192.0.2.80\n"
	for i := range 100 {
		zone += fmt.Sprintf("big TXT \"%d %s\"\n", i, strings.Repeat("x", 200))
	}
	m.write(filepath.Join(dir, "zone"), zone)
	m.write(filepath.Join(dir, "knot.conf"), fmt.Sprintf(`
server:
    rundir: "%[1]s"
    listen: %[2]s@%[3]d
database:
    storage: "%[1]s/db"
log:
  - target: stderr
    any: info
zone:
  - domain: example.test
    storage: "%[1]s"
    file: zone
`, dir, addr, port))
	cmd := exec.Command("/usr/sbin/knotd", "-c", filepath.Join(dir, "knot.conf"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		m.Fatalf("%v; install it with: make deps", err)
	}
	m.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if m.Failed() {
			m.Log(said.String())
		}
	})
	m.until("the name server answers", func() bool {
		q := new(dns.Msg).SetQuestion("www.example.test.", dns.TypeA)
		resp, err := dns.Exchange(q, netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port)).String())
		return err == nil && len(resp.Answer) == 1
	})
}

// lookUp asks for a name from a client's namespace. An answer counts only if it comes from the address that was asked.
func (m *machine) lookUp(from *nstest.NS, network string, to netip.AddrPort, name string, kind uint16) (*dns.Msg, error) {
	var nc net.Conn
	err := from.Do(func() error {
		d := net.Dialer{Timeout: 2 * time.Second}
		var err error
		nc, err = d.DialContext(m.ctx, network, to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	c := &dns.Conn{Conn: nc}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return nil, err
	}
	if err := c.WriteMsg(new(dns.Msg).SetQuestion(name, kind)); err != nil {
		return nil, err
	}
	return c.ReadMsg()
}

// TestNameServerBehindStreams: knotd answers through streams of UDP and TCP, to IPv4 and IPv6, from each address that a client
// asks; the firewall is open for as long as the stream is there, and to whom the policy says.
func TestNameServerBehindStreams(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.knot("127.0.0.1", 5353)
		hosts := []netip.Addr{m.Host1[0], m.Host1[1], m.Host2[0], m.Host2[1]} // the last two are not on the client's link
		answers := func(from *nstest.NS, network string, host netip.Addr) bool {
			resp, err := m.lookUp(from, network, netip.AddrPortFrom(host, 53), "www.example.test.", dns.TypeA)
			return err == nil && len(resp.Answer) == 1 && strings.Contains(resp.Answer[0].String(), "192.0.2.80")
		}
		if got := m.Client1.Dial(t, "tcp", netip.AddrPortFrom(m.Host1[0], 53)); got != nstest.Filtered {
			t.Fatalf("before: the port is %s", got)
		}
		m.addStream(streamTo(53, "udp", "udp://127.0.0.1:5353"))
		m.addStream(streamTo(53, "tcp", "tcp://127.0.0.1:5353"))
		for _, host := range hosts {
			for _, network := range []string{"udp", "tcp"} {
				m.until(fmt.Sprintf("%s %v answers", network, host), func() bool { return answers(m.Client1, network, host) })
			}
			resp, err := m.lookUp(m.Client1, "udp", netip.AddrPortFrom(host, 53), "big.example.test.", dns.TypeTXT)
			if err != nil || !resp.Truncated {
				t.Errorf("a large answer by UDP from %v: %+v, %v", host, resp, err)
			}
			resp, err = m.lookUp(m.Client1, "tcp", netip.AddrPortFrom(host, 53), "big.example.test.", dns.TypeTXT)
			if err != nil || len(resp.Answer) != 100 {
				t.Errorf("a large answer by TCP from %v: %v", host, err)
			}
		}
		m.until("it is logged", func() bool {
			log, err := m.client.ProxyLog(m.ctx, wire.AccessFilter{Stream: "53/tcp", Client: m.Client1.V6.String()}, 10)
			return err == nil && len(log) >= 4 && log[0].Backend == "tcp://127.0.0.1:5353" && log[0].Sent > 0
		})
		// Another host is refused by the kernel where the policy has the port.
		m.must(m.client.OpenPorts(m.ctx, wire.Options{}, wire.PortRequest{Name: "dns", Ports: []string{"53"}, Protocol: "udp", Sources: []string{m.Client2.V4.String(), m.Client2.V6.String()}}))
		for i, host := range []netip.Addr{m.Host2[0], m.Host2[1]} {
			if !answers(m.Client2, "udp", host) {
				t.Errorf("%v does not answer who may ask", host)
			}
			if answers(m.Client1, "udp", m.Host1[i]) {
				t.Errorf("%v answers who may not ask", m.Host1[i])
			}
		}
		m.must(m.client.ClosePorts(m.ctx, wire.Options{}, "dns"))
		// The worker serves without the daemon, and the next daemon takes it over.
		m.kill(syscall.SIGKILL)
		if !answers(m.Client1, "udp", m.Host1[1]) || !answers(m.Client1, "tcp", m.Host1[1]) {
			t.Error("without the daemon nobody answers")
		}
		m.start()
		if !answers(m.Client1, "udp", m.Host2[0]) || !answers(m.Client1, "tcp", m.Host2[1]) {
			t.Error("after the next start nobody answers")
		}
		m.must(m.client.RemoveStreams(m.ctx, wire.Options{}, "53", "53/udp"))
		if got := m.Client1.Dial(t, "tcp", netip.AddrPortFrom(m.Host1[0], 53)); got != nstest.Filtered {
			t.Errorf("afterwards: the port is %s", got)
		}
	})
}

// TestStreamGetsItsCertificate: the name of a stream gets a certificate of a real CA, as those of routes do, and openssl takes it.
func TestStreamGetsItsCertificate(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.withProxy()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					_, _ = io.WriteString(c, "220 welcome\n")
					_, _ = io.Copy(c, c)
				}()
			}
		}()
		ca := pebbletest.Start(m.T, pebbletest.Config{HTTPPort: 80, TLSPort: 443, DNS: pebbletest.StartDNS(m.T)})
		email, agreed := "admin@example.test", true
		m.must(m.client.SetUpCerts(m.ctx, wire.Options{}, wire.CertSetup{Email: &email, TermsAgreed: &agreed, CA: &wire.CertAuthority{Name: "pebble", Directory: ca.Directory, Root: ca.Root}}))
		s := streamTo(5432, "", "tcp://"+l.Addr().String())
		s.Mode, s.Names = proxy.StreamTLS, []proxy.StreamName{{Name: "db.test"}}
		m.addStream(s)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca.IssuerRoot())
		m.until("the certificate of the CA is served", func() bool {
			c, err := tls.Dial("tcp", "127.0.0.1:5432", &tls.Config{RootCAs: roots, ServerName: "db.test"})
			if err != nil {
				return false
			}
			defer c.Close()
			b := make([]byte, 12)
			_, err = io.ReadFull(c, b)
			return err == nil && string(b) == "220 welcome\n"
		})
		file := filepath.Join(m.TempDir(), "root.pem")
		m.write(file, string(ca.IssuerRoot()))
		for _, at := range []string{"127.0.0.1:5432", "[::1]:5432"} {
			for _, version := range []string{"-tls1_2", "-tls1_3"} {
				cmd := exec.Command("openssl", "s_client", "-connect", at, "-servername", "db.test", "-verify_hostname", "db.test", "-verify_return_error", "-CAfile", file, "-quiet", "-no_ign_eof", version)
				if got, err := converse(cmd, "hello from openssl\n", "220 welcome\nhello from openssl\n"); err != nil {
					t.Errorf("openssl %s %s: %v\n%s", at, version, err, got)
				}
			}
		}
		if out, err := exec.Command("openssl", "s_client", "-connect", "127.0.0.1:5432", "-servername", "other.test").CombinedOutput(); err == nil {
			t.Errorf("openssl was served another name:\n%s", out)
		}
	})
}

// converse runs a program, says something to it, and ends its input when it has printed what is wanted.
func converse(cmd *exec.Cmd, say, want string) (string, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	end := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer end.Stop()
	_, err = io.WriteString(in, say)
	got := make([]byte, len(want))
	n, rerr := io.ReadFull(out, got)
	err = errors.Join(err, rerr, in.Close(), cmd.Wait())
	if err == nil && string(got) != want {
		err = errors.New("it printed something else")
	}
	return string(got[:n]), err
}

// TestFloodOfConnectionsBans: who connects again and again though it is turned away is refused by the kernel; others are served.
func TestFloodOfConnectionsBans(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "welcome")
				c.Close()
			}
		}()
		s := streamTo(7000, "", "tcp://"+l.Addr().String())
		s.Limits.Client = &ratelimit.Limit{Rate: 5, Per: time.Minute}
		m.addStream(s)
		welcome := func(from netip.Addr, to netip.AddrPort) bool {
			c, err := m.Client1.From(from).Stream(to, time.Second)
			if err != nil {
				return false
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			b, err := io.ReadAll(c)
			return err == nil && string(b) == "welcome"
		}
		for i, a := range []string{"198.51.100.50", "2001:db8:7::50"} {
			attacker, neighbour := netip.MustParseAddr(a), netip.MustParseAddr([]string{"198.51.100.51", "2001:db8:8::51"}[i])
			m.AddSource(m.T, m.Client1, attacker)
			m.AddSource(m.T, m.Client1, neighbour)
			at := netip.AddrPortFrom(m.Host1[i], 7000)
			m.until("the first connection of "+a+" is served", func() bool { return welcome(attacker, at) })
			m.until(a+" is banned", func() bool {
				for range 10 {
					welcome(attacker, at)
				}
				bans, err := m.client.Bans(m.ctx)
				return err == nil && len(bans) > i
			})
			m.until(a+" is refused", func() bool { return m.Client1.From(attacker).Dial(m.T, "tcp", at) == nstest.Filtered })
			if !welcome(neighbour, at) {
				t.Errorf("%v is not served, and did nothing", neighbour)
			}
		}
		bans, err := m.client.Bans(m.ctx)
		if err != nil || len(bans) != 2 || bans[1].Reason != "http-limit" || !strings.HasPrefix(bans[1].Detail, "connect 7000/tcp 429") {
			t.Errorf("got %+v, %v", bans, err)
		}
	})
}
