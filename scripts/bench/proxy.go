package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// proxyCase is one load, with what ours is held to: the capacity beside nginx's and beside Caddy's, 0 for none.
type proxyCase struct {
	what         string
	nginx, caddy float64
	run          func(p *peerServer, d time.Duration) (int, error)
}

var (
	classic = []tls.CurveID{tls.X25519}
	quantum = []tls.CurveID{tls.X25519MLKEM768, tls.X25519}
)

func proxyCases() []proxyCase {
	load := func(f func(*peerServer, string, time.Duration) (int, error), path string) func(*peerServer, time.Duration) (int, error) {
		return func(p *peerServer, d time.Duration) (int, error) { return f(p, path, d) }
	}
	shake := func(groups []tls.CurveID) func(*peerServer, time.Duration) (int, error) {
		return func(p *peerServer, d time.Duration) (int, error) { return handshakes(p, groups, d) }
	}
	return []proxyCase{
		{"HTTP/1.1, 1 KiB", .60, 2, load(wrk, "/1k")},
		{"HTTP/1.1, 64 KiB", .80, 0, load(wrk, "/64k")},
		{"HTTP/2, 1 KiB", .50, 2, load(h2load, "/1k")},
		{"HTTP/2, 64 KiB", .65, 0, load(h2load, "/64k")},
		{"new TLS connection, X25519", 1, 0, shake(classic)},
		{"new TLS connection, X25519MLKEM768 where the server has it", .75, 0, shake(quantum)},
	}
}

func proxySection(b *bench) error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.dir, "proxy-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	servers, without, err := b.startServers(dir)
	if err != nil {
		return err
	}
	defer stopServers(servers)
	for name, err := range without {
		b.missing(name, err)
	}
	b.idleMemory(servers[1:]) // first, while nobody has memory left from the load
	b.latencies(servers[1:], dir)
	b.capacities(servers[1:])
	b.note("Back end of all: nginx with two static files. TLS 1.3 with AES-128-GCM and a P-256 certificate, keep-alive on both sides, the same security headers from all, access logs on for all, each request in the log. HTTP/1.1 by wrk with 64 connections, HTTP/2 by h2load with 16 x 16 streams. CPU time is that of all processes of a server; a ratio is nginx's CPU time over theirs, so it says how many requests fit where nginx serves one. Ours is the real worker, confined, with every default on, and its CPU time includes the process that takes its log.")
	b.note("Tried, CPU time for each request of 1 KiB, HTTP/1.1 and HTTP/2. In one quick run of this section on a busy machine of two cores: 47.6 and 69.7 us with our own HTTP/1.1 client on the goroutine that serves, heads parsed in place into the answer's header, and small request bodies read before they are sent, where ReverseProxy took 163 and 220 (kept). By hand, two runs of 3 s each, in a process that is not confined and throws its log away, so comparable only among themselves: frames of HTTP/2 that leave together and less on the stack, which HTTP/2 grows for each request, 62 to 49 us for HTTP/2 and none for HTTP/1.1 (kept; other changes came in between); a profile for the compiler 5 %% on both, less than two runs differ by (not kept); GOGC=400 besides, no gain beyond that noise for more than twice the memory (not kept). A look at an idle connection before it is used again is 2 %% of a profile and stays: it is what keeps an answer that nobody asked for from the next client. Of what was left then a third was system calls, and most of the rest net/http.")
	b.note("Tried after that, with the old program, the new one and nginx in turns, on two cores that were busy with other work all the time (load average 7 to 15), so that only the ratios say something, and those roughly. CPU time beside nginx's, before and after all of it (three rounds of 2 s): HTTP/1.1 0.39 and 0.63 (1 KiB), 0.54 and 0.69 (64 KiB); HTTP/2 0.25 and 0.45, 0.46 and 0.69; new connections with X25519 0.98 and 1.07. Other runs of the same day, at less load, gave the new one 0.65 to 0.72 and 0.75 to 0.78 for HTTP/1.1 and up to 0.57 and 0.74 for HTTP/2. One by one: our own HTTP/1 server, 0.41 to 0.72 and 0.61 to 0.78 (four rounds; kept); our own HTTP/2 server, 0.26 to 0.39 and 0.44 to 0.62 (three rounds; kept); the access log without encoding/json and no context around the watch over the client, 0.56 to 0.65 for HTTP/1.1 and 0.53 to 0.57 for HTTP/2 (five rounds, within what rounds differ by, but the profile has 5 %% less to show; kept); records of TLS gathered to one system call, 64 KiB, 115 to 98 us and 115 to 99 us (five rounds; kept); handshakes on goroutines whose stack has grown, and a deadline in the place of a context, 359 to 336 us (five rounds; kept). Memory of an idle connection: HTTP/1.1 27.8 KiB before, 17.7 with buffers and stacks given back, 11 to 12 with memory given back when it is quiet (Caddy 30 to 35); HTTP/2 50.2, then 37 to 48, then 31 with 1,000 connections and 20 with 4,000 (Caddy 49 to 51). The 99th percentile at 5,000 requests/s could not be measured on that machine: nginx itself took 13 to 90 ms. The filter of system calls is 0.2 %% of a profile: nothing to gain. Not tried: a profile for the compiler again, SO_REUSEPORT with several workers, GOMAXPROCS, pooled requests.")
	b.note("Versions: nginx %s, HAProxy %s, Caddy %s.", packageVersion("nginx-light"), packageVersion("haproxy"), caddyVersion)
	return nil
}

// capacities are the rows of CPU time per request.
func (b *bench) capacities(servers []*peerServer) {
	d := 3 * time.Second
	for _, c := range proxyCases() {
		samples := map[string][]float64{}
		failed := map[string]error{}
		for range b.rounds {
			for _, p := range servers {
				if failed[p.name] != nil {
					continue
				}
				t, err := p.perRequest(func() (int, error) { return c.run(p, d) })
				if err != nil {
					failed[p.name] = err
					continue
				}
				samples[p.name] = append(samples[p.name], float64(t)/1e3)
			}
		}
		progress("%s: %v %v", c.what, samples, failed)
		if failed["ours"] != nil || failed["nginx"] != nil {
			b.missing(c.what, fmt.Errorf("%v %v", failed["nginx"], failed["ours"]))
			continue
		}
		capacity := func(name string) float64 { return median(ratios(samples["nginx"], samples[name])) }
		var peers []string
		for _, p := range servers[:len(servers)-1] {
			text := fmt.Sprintf("%s %.1f us", p.name, median(samples[p.name]))
			if p.name != "nginx" {
				text += fmt.Sprintf(" (%.2f)", capacity(p.name))
			}
			if err := failed[p.name]; err != nil {
				text = fmt.Sprintf("%s: %.80v", p.name, err)
			}
			peers = append(peers, text)
		}
		r := row{What: c.what + ", CPU time", Ours: fmt.Sprintf("%.1f us", median(samples["ours"])), Peer: strings.Join(peers, ", "), Ratio: fmt.Sprintf("%.2f of nginx", capacity("ours")), Target: fmt.Sprintf("%.2f", c.nginx)}
		good := capacity("ours") >= c.nginx
		if c.caddy > 0 && len(samples["Caddy"]) > 0 {
			times := median(ratios(samples["Caddy"], samples["ours"]))
			r.Ratio += fmt.Sprintf(", %.1f of Caddy", times)
			r.Target += fmt.Sprintf(", and %.0f of Caddy", c.caddy)
			good = good && times >= c.caddy
		}
		r.Met = met(good)
		b.row(r)
	}
}

// latencies are the rows of the 99th percentile at a fixed rate.
func (b *bench) latencies(servers []*peerServer, dir string) {
	for _, x := range []struct {
		what  string
		h2    bool
		limit float64
	}{{"HTTP/1.1", false, 1.5}, {"HTTP/2", true, 2.5}} {
		samples, failed := map[string][]time.Duration{}, map[string]error{}
		for range b.rounds {
			for _, p := range servers {
				t, err := paced(p, dir, x.h2, 4*time.Second)
				if err != nil {
					failed[p.name] = err
					continue
				}
				samples[p.name] = append(samples[p.name], t)
			}
		}
		progress("p99 %s: %v %v", x.what, samples, failed)
		what := x.what + ", p99 at 5,000 requests/s, 1 KiB"
		if len(samples["ours"]) == 0 || len(samples["nginx"]) == 0 {
			b.missing(what, fmt.Errorf("%v %v", failed["nginx"], failed["ours"]))
			continue
		}
		var peers []string
		for _, p := range servers[:len(servers)-1] {
			text := "too slow for that"
			if len(samples[p.name]) > 0 {
				text = ms(median(samples[p.name]))
			}
			peers = append(peers, p.name+" "+text)
		}
		ratio := median(ratios(samples["ours"], samples["nginx"]))
		b.row(row{What: what, Ours: ms(median(samples["ours"])), Peer: strings.Join(peers, ", "), Ratio: fmt.Sprintf("%.2f of nginx", ratio), Target: fmt.Sprintf("at most %.1f", x.limit), Met: met(ratio <= x.limit)})
	}
}

// idleMemory are the rows of held connections.
func (b *bench) idleMemory(servers []*peerServer) {
	for _, x := range []struct {
		what string
		h2   bool
		n    int
	}{{"HTTP/2, 1,000 idle connections", true, 1000}, {"HTTP/1.1, 9,500 idle connections", false, 9500}} {
		n := x.n
		if b.quick {
			n /= 5
		}
		cost, failed := map[string]float64{}, map[string]error{}
		for _, p := range servers { // the machine lets a process have 20,000 descriptors, of which HAProxy wants two for each
			if c, err := idle(p, x.h2, n); err != nil {
				failed[p.name] = err
			} else {
				cost[p.name] = c
			}
		}
		progress("%s: %v %v", x.what, cost, failed)
		if failed["ours"] != nil {
			b.missing(x.what, failed["ours"])
			continue
		}
		var peers []string
		for _, p := range servers[:len(servers)-1] {
			if err := failed[p.name]; err != nil {
				peers = append(peers, fmt.Sprintf("%s: %.80v", p.name, err))
			} else {
				peers = append(peers, fmt.Sprintf("%s %.1f KiB", p.name, cost[p.name]))
			}
		}
		r := row{What: x.what + ", memory of each", Ours: fmt.Sprintf("%.1f KiB", cost["ours"]), Peer: strings.Join(peers, ", ")}
		if caddy := cost["Caddy"]; caddy > 0 {
			r.Ratio, r.Target, r.Met = fmt.Sprintf("%.2f of Caddy", cost["ours"]/caddy), "at most 0.80", met(cost["ours"] <= .8*caddy)
		}
		b.row(r)
	}
}

// buildCaddy builds the pinned version, once, into the cache of the checkout; without it the row says so.
func buildCaddy(dir string) error {
	cache, err := filepath.Abs(".cache/bin")
	if err != nil {
		return err
	}
	built := filepath.Join(cache, "caddy-"+caddyVersion)
	if _, err := os.Stat(built); err != nil {
		cmd := exec.Command("go", "install", "github.com/caddyserver/caddy/v2/cmd/caddy@"+caddyVersion)
		cmd.Env = append(os.Environ(), "GOBIN="+cache, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build Caddy: %w: %.300s", err, out)
		}
		if err := os.Rename(filepath.Join(cache, "caddy"), built); err != nil {
			return err
		}
	}
	return os.Symlink(built, filepath.Join(dir, "bin", "caddy"))
}
