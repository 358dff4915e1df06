package conformance

import (
	"bufio"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
)

// RunDocker shows with a real Docker engine that a published port obeys the policy, by the port it is published as, for IPv4
// and IPv6, whether the engine or the policy was there first, and after the engine was restarted.
func RunDocker(t *testing.T, newDriver New) {
	nstest.Run(t, func(t *testing.T) {
		e := newEnv(t, newDriver)
		policy := func(services ...firewall.Service) *firewall.Ruleset {
			rs := closed(services...)
			rs.Forward.Bridges = firewall.DefaultBridges()
			return rs
		}
		e.Client1.Serve(t, "tcp", 80)
		e.apply(policy()) // before the engine is there
		docker := e.StartDocker(t)
		docker.Run(t, nil, "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www")

		// The engine has put its chain before ours; the next Apply is enough.
		rs := policy()
		e.apply(rs)
		e.dockerStates(docker, policy)

		docker.Restart(t)
		docker.Run(t, nil, "start", "web")
		// Without a new Apply. Docker 20.10 has no chain for others in IPv6 and puts its rules before everybody's: there
		// the iptables driver needs an Apply, which the repair of drift makes.
		e.sees(anyone(e.Client1), "tcp", e.host(0, 8080), nstest.Filtered)
		if e.d.Name() == "nft" {
			e.sees(anyone(e.Client1), "tcp", e.host(1, 8080), nstest.Filtered)
		}
		e.dockerStates(docker, policy)

		e.apply(&firewall.Ruleset{Off: true})
		e.answers(true)
		docker.Run(t, nil, "rm", "-f", "web")
	})
}

func (e *env) dockerStates(docker *nstest.Docker, policy func(...firewall.Service) *firewall.Ruleset) {
	e.Helper()
	e.apply(policy())
	e.answers(false)
	e.apply(policy(service("web", firewall.TCP, 80))) // the container's port, not the published one
	e.answers(false)
	web := service("web", firewall.TCP, 8080)
	e.apply(policy(web))
	e.answers(true)
	e.goesOut(docker, true)

	rs := policy(web)
	rs.Blocks = timed("198.51.100.2", "2001:db8:1::2")
	e.apply(rs)
	e.answers(false)
	e.goesOut(docker, false)

	web.Sources = rangesOf("192.0.2.7", "2001:db8:7::/64")
	e.apply(policy(web))
	e.answers(false)
	for _, s := range []string{"192.0.2.7", "2001:db8:7::7"} {
		from := e.again(s)
		e.sees(from, "tcp", e.host(family(from.Src), 8080), nstest.Open)
	}
	e.apply(policy())
}

// answers checks whether the container's page is to be had through the published port.
func (e *env) answers(want bool) {
	e.Helper()
	e.families(func(i int) {
		to := e.host(i, 8080)
		if !want {
			e.sees(anyone(e.Client1), "tcp", to, nstest.Filtered)
			return
		}
		e.sees(anyone(e.Client1), "tcp", to, nstest.Open)
		if got, err := e.get(to); err != nil || !strings.Contains(got, "hello") {
			e.Errorf("GET %v: got %q, %v; want the container's page", to, got, err)
		}
	})
}

func (e *env) get(to netip.AddrPort) (string, error) {
	c, err := anyone(e.Client1).Stream(to, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "GET /index.html HTTP/1.0\r\n\r\n")
	var body strings.Builder
	sc := bufio.NewScanner(c)
	for sc.Scan() {
		body.WriteString(sc.Text() + "\n")
	}
	return body.String(), sc.Err()
}

// goesOut checks whether the container reaches client1.
func (e *env) goesOut(docker *nstest.Docker, want bool) {
	e.Helper()
	e.families(func(i int) {
		to := e.Client1.Addrs()[i]
		got := docker.Run(e.T, nil, "exec", "web", "/bin/busybox", "sh", "-c", fmt.Sprintf("/bin/busybox nc -w 2 %v 80 </dev/null 2>&1 || true", to))
		if reached := strings.Contains(got, e.Host1[i].String()); reached != want { // masqueraded
			e.Errorf("container to %v: got %q, want reached: %v", to, got, want)
		}
	})
}
