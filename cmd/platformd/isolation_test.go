package main

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
)

// quietWeb is a manifest of a web server with more lines.
func quietWeb(more string) string {
	return `version: 1
id: web
image: busybox
http: {port: 8080}
entrypoint: [/bin/busybox, httpd, -f, -p, "8080", -h, /www]
health: {path: /index.html, statuses: [200], interval: 1s, grace: 20s}
` + more
}

// contained is the network of an app's container, as it is at the moment.
func (m *machine) contained(d *nstest.Docker, app string, number int) *nstest.NS {
	m.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(d.Run(m.T, nil, "inspect", "-f", "{{.State.Pid}}", "platform-"+app+"-a")))
	if err != nil || pid == 0 {
		m.Fatalf("app %s does not run: %v", app, err)
	}
	v4 := netip.AddrFrom4([4]byte{10, 212, 0, byte(16*number + 2)})
	v6 := netip.MustParseAddr(fmt.Sprintf("fd70:6c61:7466:%x::2", number))
	return nstest.Of(m.T, app, pid, fmt.Sprintf("br-app%d", number), v4, v6)
}

// appsOf are the containers of three apps: one may talk to every public address, one to one of them, one to nobody.
type appsOf struct {
	*machine
	d                 *nstest.Docker
	round             int
	serving           string
	blog, shop, quiet *nstest.NS
}

func (a *appsOf) find() {
	a.Helper()
	a.blog, a.shop, a.quiet = a.contained(a.d, "blog", 1), a.contained(a.d, "shop", 2), a.contained(a.d, "quiet", 3)
}

// What apps may not reach, they do not reach, and what they may, they do: with both drivers, after the engine was restarted, and
// while the daemon is dead.
func TestAppsAreIsolated(t *testing.T) {
	for _, driver := range []string{"nft", "iptables"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel() // processes of their own, which mostly wait
			onMachine(t, "", func(m *machine) {
				for _, s := range []string{"iptables", "ip6tables"} {
					m.Host.Sysctl(m.T, "net/bridge/bridge-nf-call-"+s, "0")
				}
				a := &appsOf{machine: m, d: m.withApps()}
				m.must(m.client.SetFirewall(m.ctx, wire.Options{}, wire.FirewallRequest{Driver: &driver}))
				m.open("2222")
				m.Host.Serve(m.T, "tcp", 2222)
				m.Host.Serve(m.T, "udp", 53)
				for _, port := range []uint16{80, 443} {
					m.Client1.Serve(m.T, "tcp", port)
					m.Client2.Serve(m.T, "tcp", port)
				}
				for _, s := range notPublic() {
					m.AddSource(m.T, m.Client1, netip.MustParseAddr(s))
				}
				m.install("blog", "blog.test", quietWeb(`ports: [{name: game, container: 9000, limit: ssh}, {name: voice, protocol: udp, container: 9001}]`+"\n"))
				m.install("shop", "shop.test", quietWeb(`egress: {mode: list, hosts: ["198.51.100.2:443", "[2001:db8:1::2]:443"]}`+"\n"))
				m.install("quiet", "quiet.test", quietWeb("egress: {mode: none}\n"))
				for _, s := range []string{"iptables", "ip6tables"} {
					if b, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-" + s); err != nil || strings.TrimSpace(string(b)) != "1" {
						m.Errorf("frames within bridges pass by %s: %q, %v", s, b, err)
					}
				}
				a.all("installed")
				a.d.Restart(m.T)
				m.until("the apps run again", func() bool {
					return strings.Count(a.d.Run(m.T, nil, "ps", "-q", "--filter", "label=platform.app"), "\n") == 3 && m.verified()
				})
				for _, app := range []string{"blog", "shop", "quiet"} {
					m.until(app+" is well", func() bool { x, err := m.client.App(m.ctx, app); return err == nil && x.State == "running" })
				}
				a.all("after the engine was restarted")
				m.kill(syscall.SIGKILL)
				a.all("without the daemon")
			})
		})
	}
}

func (m *machine) verified() bool {
	s, err := m.client.Status(m.ctx)
	return err == nil && s.Firewall.Verified
}

// notPublic are addresses that somebody answers at, and no app may reach.
func notPublic() []string {
	return []string{"10.0.0.5", "192.168.7.7", "100.64.0.5", "169.254.169.254", "fd00:ec2::254", "fd12:3456::5"}
}

func (a *appsOf) all(when string) {
	a.Helper()
	a.Log(when)
	a.round++
	a.find()
	a.inwards()
	a.outwards()
	a.aside()
	a.forged()
}

func (a *appsOf) dial(src nstest.From, proto string, to netip.AddrPort, want nstest.Result) {
	a.Helper()
	got := src.Dial(a.T, proto, to)
	if want == nstest.Open {
		got = src.Eventually(a.T, proto, to, want)
	}
	if got != want {
		a.Errorf("%s %v: %s %v: got %s, want %s", src.Name, src.Src, proto, to, got, want)
	}
}

func from(n *nstest.NS) nstest.From { return n.From(netip.Addr{}) }

// inwards: only the host and published ports lead in, with the client's address and within the limit.
func (a *appsOf) inwards() {
	a.Helper()
	if a.serving != a.blog.ID(a.T) { // a container of its own each time
		a.serving = a.blog.ID(a.T)
		a.blog.Serve(a.T, "tcp", 9000)
		a.blog.Serve(a.T, "udp", 9001)
	}
	for i := range 2 {
		direct := netip.AddrPortFrom(a.blog.Addrs()[i], 8080)
		a.dial(from(a.Host), "tcp", direct, nstest.Open)
		a.dial(from(a.Client1), "tcp", direct, nstest.Filtered)
		a.dial(from(a.Client1), "udp", a.host(i, 9001), nstest.Open)
		if k := from(a.Client1).Connect(a.T, a.host(i, 9000), 5*time.Second); k.Source != a.Client1.Addrs()[i] {
			a.Errorf("the app sees %v, want %v", k.Source, a.Client1.Addrs()[i])
		}
		src := netip.MustParseAddr(fmt.Sprintf([]string{"192.0.2.%d", "2001:db8:%d::1"}[i], 10+a.round))
		a.AddSource(a.T, a.Client1, src)
		if got := a.Client1.From(src).Burst(a.T, a.host(i, 9000), 8); got != 5 {
			a.Errorf("from %v: %d of 8 connections to the published port opened, want 5", src, got)
		}
	}
}

// outwards: what each app's egress says, and nothing that is not public.
func (a *appsOf) outwards() {
	a.Helper()
	for i := range 2 {
		one, two := a.Client1.Addrs()[i], a.Client2.Addrs()[i]
		for _, c := range []struct {
			app  *nstest.NS
			to   netip.Addr
			port uint16
			want nstest.Result
		}{
			{a.blog, one, 80, nstest.Open}, {a.blog, two, 443, nstest.Open},
			{a.shop, one, 443, nstest.Open}, {a.shop, one, 80, nstest.Filtered}, {a.shop, two, 443, nstest.Filtered},
			{a.quiet, one, 443, nstest.Filtered},
		} {
			a.dial(from(c.app), "tcp", netip.AddrPortFrom(c.to, c.port), c.want)
		}
	}
	for _, s := range notPublic() {
		a.dial(from(a.blog), "tcp", netip.AddrPortFrom(netip.MustParseAddr(s), 80), nstest.Filtered)
	}
	if out, err := a.d.Try("exec", "platform-blog-a", "/bin/busybox", "nc", "-w", "1", "169.254.169.254", "80"); err == nil {
		a.Errorf("from within the container, the metadata address answers: %s", out)
	}
}

// aside: no other app, no service of the host on whichever of its addresses, no container of the same network.
func (a *appsOf) aside() {
	a.Helper()
	for i := range 2 {
		for _, port := range []uint16{8080, 22} {
			a.dial(from(a.blog), "tcp", netip.AddrPortFrom(a.shop.Addrs()[i], port), nstest.Filtered)
			a.dial(from(a.quiet), "tcp", netip.AddrPortFrom(a.blog.Addrs()[i], port), nstest.Filtered)
		}
		gateways := []string{"10.212.0.17", "10.212.0.33", "fd70:6c61:7466:1::1", "fd70:6c61:7466:2::1"}
		for _, h := range append([]netip.Addr{a.Host1[i], a.Host2[i], a.Gateway[i]}, netip.MustParseAddr(gateways[2*i]), netip.MustParseAddr(gateways[2*i+1])) {
			a.dial(from(a.blog), "tcp", netip.AddrPortFrom(h, 2222), nstest.Filtered)
		}
		a.dial(from(a.blog), "tcp", a.host(i, 443), nstest.Filtered)  // the proxy
		a.dial(from(a.shop), "tcp", a.host(i, 9000), nstest.Filtered) // another app's port, through the host
	}
	a.d.Run(a.T, nil, "run", "-d", "--rm", "--name", "stranger", "--network", "platform-blog", "--ip", "10.212.0.30", "--ip6", "fd70:6c61:7466:1::30",
		"busybox", "/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www")
	for _, s := range []string{"10.212.0.30", "fd70:6c61:7466:1::30"} {
		a.dial(from(a.Host), "tcp", netip.AddrPortFrom(netip.MustParseAddr(s), 8080), nstest.Open)
		a.dial(from(a.blog), "tcp", netip.AddrPortFrom(netip.MustParseAddr(s), 8080), nstest.Filtered)
	}
	a.d.Run(a.T, nil, "rm", "-f", "stranger")
}

// forged: sources of others, to which the way back is there.
func (a *appsOf) forged() {
	a.Helper()
	for i := range 2 {
		for _, s := range [][2]string{{"192.0.2.77", "2001:db8:77::77"}, {"10.212.0.40", "fd70:6c61:7466:2::40"}} {
			src := netip.MustParseAddr(s[i])
			a.Spoof(a.T, a.blog, src)
			a.dial(a.blog.From(src), "tcp", netip.AddrPortFrom(a.Client1.Addrs()[i], 80), nstest.Filtered)
			a.Unspoof(a.T, a.blog, src)
		}
	}
}
