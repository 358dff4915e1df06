package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/cache"
)

// soakTime is how long TestSoak takes: a few seconds with all other tests, and as long as "make soak" says.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("PLATFORMD_SOAK")
	if text == "" {
		return 6 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		t.Fatalf("PLATFORMD_SOAK=%q: write a duration, for example 60m", text)
	}
	return d
}

// TestSoak holds a mixed load on a real daemon and its worker at a modest rate, while routes change, and looks at what both
// hold. No request fails but those that are given up; and where there was time to tell, nothing grows.
func TestSoak(t *testing.T) {
	d := soakTime(t)
	onMachine(t, metricsDocument, func(m *machine) {
		m.kill(syscall.SIGTERM)
		m.args = append(m.args, "--http", ":80", "--https", ":443")
		m.start()
		back := soakBackend(m.T)
		for _, r := range []proxy.Route{{Host: "a.test", Backend: back}, {Host: "cached.test", Backend: back, Cache: &cache.Config{}}, {Host: "plain.test", Backend: back, PlainHTTP: true}} {
			m.must(m.client.AddRoute(m.ctx, wire.Options{}, r, false))
		}
		s := &soak{machine: m, counts: map[string]*tally{}}
		ctx, cancel := context.WithTimeout(m.ctx, d)
		defer cancel()
		var all sync.WaitGroup
		s.load(ctx, &all)
		every := max(d/240, 100*time.Millisecond)
		tick := time.NewTicker(every)
		defer tick.Stop()
		start := time.Now()
		for ctx.Err() == nil {
			s.sample(time.Since(start))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		all.Wait()
		report := s.report(d)
		m.Log("\n" + report)
		if to := os.Getenv("PLATFORMD_SOAK_OUT"); to != "" {
			if err := os.WriteFile(to, []byte(report), 0o644); err != nil {
				m.Error(err)
			}
		}
		s.judge(d)
	})
}

// soak is one run.
type soak struct {
	*machine
	mu      sync.Mutex
	counts  map[string]*tally
	samples []soakSample
}

// tally is what came of one kind of load.
type tally struct {
	done, failed int64
	first        error
}

func (s *soak) count(kind string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[kind]
	if c == nil {
		c = &tally{}
		s.counts[kind] = c
	}
	if c.done++; err != nil {
		if c.failed++; c.first == nil {
			c.first = err
		}
	}
}

// soakSample is what both processes hold at one moment.
type soakSample struct {
	at     time.Duration
	values map[string]float64
}

// sampled are the rows of the report.
var sampled = [...]string{"worker: resident memory, KiB", "worker: heap in use, KiB", "worker: goroutines", "worker: descriptors",
	"daemon: resident memory, KiB", "daemon: heap in use, KiB", "daemon: goroutines", "daemon: descriptors"}

func (s *soak) sample(at time.Duration) {
	s.Helper()
	f := s.scrape(netip.AddrPortFrom(s.Host1[0], 80))
	v := map[string]float64{
		sampled[1]: value(f, "platformd_proxy_heap_live_bytes") / 1024, sampled[2]: value(f, "platformd_proxy_goroutines"),
		sampled[5]: value(f, "platformd_daemon_heap_live_bytes") / 1024, sampled[6]: value(f, "platformd_daemon_goroutines"),
	}
	for i, pid := range []int{s.workerPID(), s.cmd.Process.Pid} {
		v[sampled[4*i]], v[sampled[4*i+3]] = residentOf(pid), descriptorsOf(pid)
	}
	s.samples = append(s.samples, soakSample{at, v})
}

// workerPID finds the proxy's worker by its command line.
func (m *machine) workerPID() int {
	m.Helper()
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if words := strings.Split(string(b), "\x00"); err == nil && len(words) > 3 && words[1] == "worker" && words[2] == "proxy" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	m.Fatal("there is no worker")
	return 0
}

func residentOf(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if f := strings.Fields(string(b)); len(f) > 1 {
		pages, _ := strconv.ParseFloat(f[1], 64)
		return pages * float64(os.Getpagesize()) / 1024
	}
	return 0
}

func descriptorsOf(pid int) float64 {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return float64(len(list))
}

// report is a page of markdown.
func (s *soak) report(d time.Duration) string {
	var b strings.Builder
	var u unix.Utsname
	_ = unix.Uname(&u)
	fmt.Fprintf(&b, "# Soak\n\nPrinted by `make soak` on %s: %v, kernel %s, %d CPUs, %s.\n\n", time.Now().UTC().Format(time.DateOnly), d, unix.ByteSliceToString(u.Release[:]), runtime.NumCPU(), runtime.Version())
	fmt.Fprint(&b, "A mixed load at a modest rate, on the daemon and its confined worker, while a route is added or removed every few seconds and a neighbour scrapes the counts:\n\n| load | done | failed |\n|---|---|---|\n")
	for _, kind := range soakKinds() {
		c := s.counts[kind.name]
		if c == nil {
			c = &tally{}
		}
		failed := fmt.Sprint(c.failed)
		if kind.gives {
			failed = "given up on purpose"
		}
		fmt.Fprintf(&b, "| %s | %d | %s |\n", kind.name, c.done, failed)
	}
	fmt.Fprintf(&b, "\nWhat the processes hold. Growth is the slope of a line through the second half (%d samples), with its standard error.\n\n| what | after a tenth | at half | at the end | growth in an hour | grows |\n|---|---|---|---|---|---|\n", len(s.samples)-len(s.samples)/2)
	for _, name := range sampled {
		g := s.growth(name)
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %.0f | %+.1f ± %.1f (%+.1f %%) | %s |\n", name, s.around(name, .1), s.around(name, .5), s.around(name, 1), g.slope, g.err, 100*g.slope/g.mean, verdict(d, g))
	}
	return b.String()
}

// tellable is how long it takes until what fills up is full, and growth is growth.
const tellable = 10 * time.Minute

func verdict(d time.Duration, g growth) string {
	switch {
	case d < tellable:
		return "too short to tell"
	case g.real():
		return "**yes**"
	}
	return "no"
}

// around is the median of the samples near a part of the time.
func (s *soak) around(name string, part float64) float64 {
	n := len(s.samples)
	mid, wide := int(part*float64(n-1)), max(n/40, 1)
	var near []float64
	for _, x := range s.samples[max(0, mid-wide):min(n, mid+wide+1)] {
		near = append(near, x.values[name])
	}
	slices.Sort(near)
	return near[len(near)/2]
}

// judge says what is wrong.
func (s *soak) judge(d time.Duration) {
	s.Helper()
	for _, kind := range soakKinds() {
		c := s.counts[kind.name]
		if c == nil || c.done == 0 {
			s.Errorf("%s: nothing was done", kind.name)
			continue
		}
		if c.failed > 0 && !kind.gives {
			s.Errorf("%s: %d of %d failed, the first with: %v", kind.name, c.failed, c.done, c.first)
		}
	}
	if len(s.samples) < 10 {
		s.Errorf("only %d samples", len(s.samples))
	}
	for _, name := range sampled {
		g := s.growth(name)
		if g.mean <= 0 {
			s.Errorf("%s: is not known", name)
		}
		if d >= tellable && g.real() {
			s.Errorf("%s: grows by %.1f ± %.1f in an hour, at %.1f", name, g.slope, g.err, g.mean)
		}
	}
}
