package conformance

import (
	"fmt"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/ratelimit"
)

func limitCases() []testCase {
	return []testCase{
		{"rate", rate},
		{"one limit of two services", sharedLimit},
		{"concurrency", concurrency},
		{"memory full, refuse", func(e *env) { memoryFull(e, false) }},
		{"memory full, admit", func(e *env) { memoryFull(e, true) }},
		{"new connections to all ports", synLimit},
		{"an unlimited service admits what a limited one would refuse", overlap},
		{"the limit is kept by other changes", limitKept},
		{"default classes at their boundary", defaultClasses},
	}
}

func metered(s firewall.Service, meter string) firewall.Service { s.Meter = meter; return s }

// sshLimit is the class "ssh": five at once, then one every two seconds.
func sshLimit() firewall.Meter {
	return firewall.Meter{Name: "ssh", Limit: ratelimit.Limit{Rate: 5, Per: 10 * time.Second}, Sources: 1024}
}

func (e *env) burst(from nstest.From, port uint16, count, want int) {
	e.Helper()
	if got := from.Burst(e.T, e.host(family(from.Src), port), count); got != want {
		e.Errorf("from %v: %d of %d connections opened, want %d", from.Src, got, count, want)
	}
}

func rate(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(metered(service("ssh", firewall.TCP, 22), "ssh"))
	rs.Meters = []firewall.Meter{sshLimit()}
	e.apply(rs)
	limit := firewall.ReasonLimit.Of("ssh")
	e.counts(limit, func() { e.burst(e.source("192.0.2.7"), 22, 8, 5) })
	if got := e.refused(limit); got < 3 {
		e.Errorf("counter %s: got %d, want at least 3", limit, got)
	}
	e.burst(e.source("192.0.2.8"), 22, 8, 5) // each source for itself
	e.burst(e.source("2001:db8:7::1"), 22, 3, 3)
	e.burst(e.source("2001:db8:7::2"), 22, 5, 2) // one /64 together
	e.burst(e.source("2001:db8:7:1::1"), 22, 8, 5)
	e.sees(e.again("192.0.2.7"), "tcp", e.host(0, 22), nstest.Open) // one more after two seconds
}

func sharedLimit(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Host.Serve(e.T, "tcp", 202)
	rs := closed(metered(service("ssh", firewall.TCP, 22), "ssh"), metered(service("ssh-too", firewall.TCP, 202), "ssh"))
	rs.Meters = []firewall.Meter{sshLimit()}
	e.apply(rs)
	for _, s := range []string{"192.0.2.7", "2001:db8:7::1"} {
		from := e.source(s)
		e.burst(from, 22, 3, 3)
		e.burst(from, 202, 5, 2)
	}
}

func concurrency(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Host.Serve(e.T, "tcp", 80)
	rs := closed(metered(service("ssh", firewall.TCP, 22, 80), "few"))
	rs.Meters = []firewall.Meter{{Name: "few", Limit: ratelimit.Limit{Concurrent: 3}, Sources: 1024}}
	e.apply(rs)
	for _, c := range [][2]string{{"192.0.2.7", "192.0.2.8"}, {"2001:db8:7::1", "2001:db8:7:1::1"}} {
		from := e.source(c[0])
		to := e.host(family(from.Src), 22)
		held := from.Hold(e.T, to, 5)
		if len(held) != 3 {
			e.Errorf("from %v: %d at the same time, want 3", from.Src, len(held))
		}
		if e.refused(firewall.ReasonLimit.Of("few")) == 0 {
			e.Error("counter limit:few: got 0")
		}
		e.sees(from, "tcp", e.host(family(from.Src), 80), nstest.Filtered)
		e.sees(e.source(c[1]), "tcp", to, nstest.Open)
		for _, k := range held {
			k.Close()
		}
		e.sees(from, "tcp", to, nstest.Open)
	}
}

// A memory for four sources meets ten.
func memoryFull(e *env, admit bool) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(metered(service("ssh", firewall.TCP, 22), "ssh"))
	m := sshLimit()
	m.Limit.Per = time.Hour // so that nothing is forgotten meanwhile
	m.Sources, m.AdmitWhenFull = 4, admit
	rs.Meters = []firewall.Meter{m}
	rs.Allow = rangesOf("192.0.2.100", "2001:db8:100::1")
	e.apply(rs)
	for i, pattern := range []string{"192.0.2.%d", "2001:db8:7:%x::1"} {
		open := 0
		for k := 1; k <= 10; k++ {
			open += e.source(fmt.Sprintf(pattern, k)).Burst(e.T, e.host(i, 22), 1)
		}
		want := 4
		if admit {
			want = 10
		}
		if open != want {
			e.Errorf("IPv%d: %d of 10 sources admitted, want %d", 4+2*i, open, want)
		}
		e.burst(e.again(fmt.Sprintf(pattern, 1)), 22, 8, 4) // one that is remembered stays limited
		e.burst(e.source([]string{"192.0.2.100", "2001:db8:100::1"}[i]), 22, 8, 8)
	}
	if !admit && e.refused(firewall.ReasonLimit.Of("ssh")) == 0 {
		e.Error("counter limit:ssh: got 0")
	}
}

func synLimit(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	e.Host.Serve(e.T, "tcp", 80)
	e.Host.Serve(e.T, "udp", 53)
	rs := closed(service("both", firewall.TCP, 22, 80), service("dns", firewall.UDP, 53))
	rs.SYN = "syn"
	rs.Meters = []firewall.Meter{{Name: "syn", Limit: ratelimit.Limit{Rate: 6, Per: time.Minute, Burst: 6}, Sources: 1024, AdmitWhenFull: true}}
	e.apply(rs)
	for _, s := range []string{"192.0.2.7", "2001:db8:7::1"} {
		from := e.source(s)
		e.counts(firewall.ReasonSYN, func() {
			e.burst(from, 22, 4, 4)
			e.burst(from, 80, 4, 2)
		})
		e.sees(from, "udp", e.host(family(from.Src), 53), nstest.Open)
	}
}

// The names are such that the limited service comes first.
func overlap(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	trusted := service("z-trusted", firewall.TCP, 22)
	trusted.Sources = rangesOf("192.0.2.7", "2001:db8:7::/64")
	rs := closed(metered(service("a-everybody", firewall.TCP, 22), "ssh"), trusted)
	rs.Meters = []firewall.Meter{sshLimit()}
	e.apply(rs)
	for s, want := range map[string]int{"192.0.2.7": 8, "192.0.2.8": 5, "2001:db8:7::1": 8, "2001:db8:8::1": 5} {
		e.burst(e.source(s), 22, 8, want)
	}
}

// What a source has used up is not given back by a change of something else.
func limitKept(e *env) {
	e.Host.Serve(e.T, "tcp", 22)
	rs := closed(metered(service("ssh", firewall.TCP, 22), "ssh"))
	m := sshLimit()
	m.Limit.Per = time.Hour
	rs.Meters = []firewall.Meter{m}
	e.apply(rs)
	for _, s := range []string{"192.0.2.7", "2001:db8:7::1"} {
		e.burst(e.source(s), 22, 8, 5)
	}
	rs.Services = append(rs.Services, service("web", firewall.TCP, 80))
	rs.Blocks = timed("192.0.2.99", "2001:db8:99::1")
	rs.Feeds = e.bigSet("9.9.9.9", "2001:db8:9::9")
	e.apply(rs)
	for _, s := range []string{"192.0.2.7", "2001:db8:7::1"} {
		e.burst(e.again(s), 22, 4, 0)
	}
}
