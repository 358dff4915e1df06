package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
)

// nameServer runs a name server in client1, which the host is told to ask.
func (m *machine) nameServer(records ...string) {
	m.Helper()
	known := map[string][]dns.RR{}
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			m.Fatal(err)
		}
		known[rr.Header().Name] = append(known[rr.Header().Name], rr)
	}
	answer := func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		if _, there := known[q.Question[0].Name]; !there {
			reply.Rcode = dns.RcodeNameError
		}
		for _, rr := range known[q.Question[0].Name] {
			if rr.Header().Rrtype == q.Question[0].Qtype {
				reply.Answer = append(reply.Answer, rr)
			}
		}
		_ = w.WriteMsg(reply)
	}
	if err := m.Client1.Do(func() error {
		c, err := net.ListenPacket("udp", netip.AddrPortFrom(m.Client1.V4, 53).String())
		if err != nil {
			return err
		}
		s := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(answer)}
		go func() { _ = s.ActivateAndServe() }()
		m.Cleanup(func() { c.Close() })
		return nil
	}); err != nil {
		m.Fatal(err)
	}
	path := filepath.Join(m.dir, "resolv.conf")
	m.write(path, "nameserver "+m.Client1.V4.String()+"\n")
	if err := unix.Mount(path, "/etc/resolv.conf", "", unix.MS_BIND, ""); err != nil { // of this test's mounts alone
		m.Fatal(err)
	}
}

// confined checks that a worker can do nothing as somebody: no user of power, no capabilities, none to be gained, few system calls.
func (m *machine) confined(worker string) {
	m.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		m.Fatal(err)
	}
	seen := false
	for _, path := range found {
		line, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(line), "platformd\x00worker\x00"+worker) {
			continue
		}
		seen = true
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err != nil {
			m.Fatal(err)
		}
		for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(status), want) {
				m.Errorf("worker %s: %q is not so:\n%s", worker, want, status)
			}
		}
		if strings.Contains(string(status), "Uid:\t0\t") {
			m.Errorf("worker %s runs as root", worker)
		}
	}
	if !seen {
		m.Errorf("there is no worker %s", worker)
	}
}

// Names are found from within containers by the engine's own resolver; what a name of a list led to is reached when the answer
// is there, and nothing that is not public is ever answered.
func TestAppsFindNames(t *testing.T) {
	for _, driver := range []string{"nft", "iptables"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			onMachine(t, "", func(m *machine) {
				m.nameServer("files.test. 30 IN A 198.51.100.2", "files.test. 30 IN AAAA 2001:db8:1::2", "other.test. 30 IN A 203.0.113.2",
					"inside.test. 30 IN A 10.0.0.5", "inside.test. 30 IN AAAA fd00:ec2::254")
				a := &appsOf{machine: m, d: m.withApps()}
				m.must(m.client.SetFirewall(m.ctx, wire.Options{}, wire.FirewallRequest{Driver: &driver}))
				for _, n := range []*nstest.NS{m.Client1, m.Client2} {
					n.Serve(m.T, "tcp", 80)
					n.Serve(m.T, "tcp", 443)
				}
				m.install("blog", "blog.test", quietWeb(""))
				m.install("shop", "shop.test", quietWeb(`egress: {mode: list, hosts: ["files.test:443"]}`+"\n"))
				m.install("quiet", "quiet.test", quietWeb("egress: {mode: none}\n"))
				a.find()
				look := func(app, name string) string {
					out, err := a.d.Try("exec", "platform-"+app+"-a", "/bin/busybox", "nslookup", name)
					if err != nil {
						return "refused"
					}
					return out
				}
				finds := func(app, name, want string) {
					m.Helper()
					m.until(app+" finds "+name, func() bool { return strings.Contains(look(app, name), want) })
				}
				files := [2]netip.AddrPort{netip.AddrPortFrom(m.Client1.V4, 443), netip.AddrPortFrom(m.Client1.V6, 443)}
				finds("blog", "other.test", "203.0.113.2")
				for _, app := range []string{"blog", "shop"} {
					if got := look(app, "inside.test"); strings.Contains(got, "10.0.0.5") || strings.Contains(got, "fd00:ec2") {
						m.Errorf("%s was told where the host's network is: %s", app, got)
					}
				}
				for _, c := range [][2]string{{"shop", "other.test"}, {"quiet", "files.test"}} {
					if got := look(c[0], c[1]); got != "refused" {
						m.Errorf("%s found %s: %s", c[0], c[1], got)
					}
				}
				for i := range 2 {
					a.dial(from(a.shop), "tcp", files[i], nstest.Filtered)
				}
				finds("shop", "files.test", "198.51.100.2")
				for i := range 2 {
					a.dial(from(a.shop), "tcp", files[i], nstest.Open)
					a.dial(from(a.shop), "tcp", netip.AddrPortFrom(files[i].Addr(), 80), nstest.Filtered)
					a.dial(from(a.shop), "tcp", netip.AddrPortFrom(m.Client2.Addrs()[i], 443), nstest.Filtered)
				}
				if !strings.Contains(strings.Join(m.events("shop"), ""), "other.test") {
					m.Errorf("nobody was told of the name that was refused: %v", m.events("shop"))
				}
				x, err := m.client.Explain(m.ctx, client.Question{Address: "10.0.0.5", Port: "443", App: "shop"})
				if err != nil || x.Verdict.Admitted || x.Verdict.Rule != "not a public address: private" || x.Kernel != "agrees" {
					m.Errorf("why does shop not reach 10.0.0.5: %+v, %v", x, err)
				}
				m.until("drops name the app", func() bool {
					drops, err := m.client.Drops(m.ctx, 0, 100)
					for _, d := range drops {
						if d.Reason == "egress:shop" {
							return true
						}
					}
					return err != nil
				})
				if s, err := m.client.Status(m.ctx); err != nil || !s.Firewall.Verified {
					m.Errorf("the firewall is not verified: %+v, %v", s, err)
				}
				if r := m.recorded("drift-found"); driver == "nft" && len(r) > 0 { // with iptables, the engine's rules before ours are drift
					m.Errorf("what the resolver admitted was taken for drift: %+v", r)
				}
				m.confined("resolver")
				m.kill(syscall.SIGTERM)
				m.start()
				a.dial(from(a.shop), "tcp", netip.AddrPortFrom(files[0].Addr(), 80), nstest.Filtered)
				finds("shop", "files.test", "198.51.100.2")
				a.dial(from(a.shop), "tcp", files[0], nstest.Open)
			})
		})
	}
}
