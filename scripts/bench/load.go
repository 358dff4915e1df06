package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/iptables"
	"github.com/platformd/platformd/firewall/nft"
	"github.com/platformd/platformd/firewall/ranges"
)

func newDriver(name string) (firewall.Driver, error) {
	if name == "iptables" {
		return iptables.New(iptables.Config{})
	}
	return nft.New()
}

// asDaemon sets the collector as platformd does.
func asDaemon() { debug.SetMemoryLimit(96 << 20); debug.SetGCPercent(50) }

// applyChild puts a ruleset in force: apply DRIVER FILE. It prints its peak memory.
func applyChild(args []string) error {
	asDaemon()
	data, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	var rs firewall.Ruleset
	if err := json.Unmarshal(data, &rs); err != nil {
		return err
	}
	d, err := newDriver(args[0])
	if err != nil {
		return err
	}
	if _, err := d.Apply(context.Background(), &rs); err != nil {
		return err
	}
	fmt.Println(peakMemory(os.Getpid()))
	return nil
}

// naiveChild loads a list as the first example of the library does it, with as many elements in a call as fit, all in one
// transaction: naive LIST.
func naiveChild(args []string) error {
	f, err := ranges.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := nftables.New(nftables.WithSockOptions(bigBuffers))
	if err != nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Name: "peer", Family: nftables.TableFamilyINet})
	s := &nftables.Set{Table: t, Name: "s", KeyType: nftables.TypeIPAddr, Interval: true}
	if err := c.AddSet(s, nil); err != nil {
		return err
	}
	c.FlushSet(s)
	var part []nftables.SetElement
	for r, err := range f.All() {
		if err != nil {
			return err
		}
		part = append(part, nftables.SetElement{Key: r.From.AsSlice()}, nftables.SetElement{Key: r.To.Next().AsSlice(), IntervalEnd: true})
		if len(part) == 1600 {
			if err := c.SetAddElements(s, part); err != nil {
				return err
			}
			part = nil
		}
	}
	if err := c.SetAddElements(s, part); err != nil {
		return err
	}
	return c.Flush()
}

// writeRuleset writes a ruleset for applyChild and gives the file's name.
func (b *bench) writeRuleset(name string, rs *firewall.Ruleset) (string, error) {
	data, err := json.Marshal(rs)
	if err != nil {
		return "", err
	}
	path := b.file(name + ".ruleset")
	return path, os.WriteFile(path, data, 0o644)
}

// webServer is a policy with the ports of a new host, and one for UDP in the class of the web.
func webServer(src firewall.Source, geo ...firewall.GeoRule) (*firewall.Ruleset, error) {
	port := func(name string, proto firewall.Protocol, n uint16, limit string) firewall.Port {
		return firewall.Port{Name: name, Protocol: proto, Ports: []firewall.PortRange{{First: n, Last: n}}, Limit: limit}
	}
	p := &firewall.Policy{Geo: geo, Ports: []firewall.Port{
		port("ssh", firewall.TCP, 22, "ssh"), port("http", firewall.TCP, 80, "http"), port("https", firewall.TCP, 443, "http"),
		port("quic", firewall.UDP, meteredPort, "http"), port("dns", firewall.UDP, openPort, ""),
	}}
	src.Now = time.Now()
	return firewall.Compile(p, src)
}

// The ports that are open for UDP in the bench's policies, with the limit class of the web and without one.
const (
	meteredPort = 443
	openPort    = 9000
)

// loaded is a ruleset with that list as its feeds.
func (b *bench) loaded(name string) (string, error) {
	set, err := b.set(name)
	if err != nil {
		return "", err
	}
	rs, err := webServer(firewall.Source{Feeds: set})
	if err != nil {
		return "", err
	}
	return b.writeRuleset(name, rs)
}

// loader is one way to load lists; replace is the second list in the place of the first.
type loader struct {
	name string
	load func(n *namespace, list string) (cost, error)
}

func (b *bench) loaders() []loader {
	ours := func(driver string) func(n *namespace, list string) (cost, error) {
		return func(n *namespace, list string) (cost, error) {
			path, err := b.loaded(list)
			if err != nil {
				return cost{}, err
			}
			c, err := n.self("apply", driver, path)
			if own, convErr := strconv.Atoi(strings.TrimSpace(c.out)); err == nil && convErr == nil {
				c.peak = own
			}
			return c, err
		}
	}
	return []loader{
		{"firewall/nft", ours("nft")},
		{"firewall/iptables", ours("iptables")},
		{"ipset restore", func(n *namespace, list string) (cost, error) {
			return n.measure("ipset", "restore", "-file", b.file(list+".ipset"))
		}},
		{"nft -f", func(n *namespace, list string) (cost, error) {
			if list == listB {
				list += ".replace"
			}
			return n.measure("nft", "-f", b.file(list+".nft"))
		}},
		{"google/nftables", func(n *namespace, list string) (cost, error) { return n.self("naive", b.file(list)) }},
	}
}

func loadSection(b *bench) error {
	type samples struct {
		cpu  []time.Duration
		peak []int
		err  error
	}
	all := map[string]*[2]samples{}
	for round := range b.rounds {
		for _, l := range b.loaders() {
			if all[l.name] == nil {
				all[l.name] = &[2]samples{}
			}
			n, err := newNamespace()
			if err != nil {
				return err
			}
			for i, list := range []string{listA, listB} {
				s := &all[l.name][i]
				if s.err != nil {
					break
				}
				c, err := l.load(n, list)
				if err != nil {
					s.err = err
					break
				}
				s.cpu, s.peak = append(s.cpu, c.cpu), append(s.peak, c.peak)
				progress("load %d: %s %d: %v, %s", round, l.name, i, c.cpu, mb(c.peak))
			}
			n.close()
		}
	}
	for i, what := range []string{"load", "replace"} {
		peer := all["ipset restore"][i]
		if peer.err != nil {
			b.missing(what+", ipset restore", peer.err)
		}
		for _, l := range b.loaders()[:2] {
			s := all[l.name][i]
			if s.err != nil {
				b.missing(what+", "+l.name, s.err)
				continue
			}
			r := median(ratios(s.cpu, peer.cpu))
			b.row(row{What: what + ", CPU, " + l.name, Ours: ms(median(s.cpu)), Peer: "ipset restore " + ms(median(peer.cpu)),
				Ratio: times(r), Target: "1.60 x ipset restore", Met: met(r <= 1.6)})
			for _, p := range b.loaders()[3:] {
				q := all[p.name][i]
				if q.err != nil {
					b.missing(what+", "+p.name, q.err)
					continue
				}
				b.row(row{What: what + ", CPU, " + l.name, Ours: ms(median(s.cpu)), Peer: p.name + " " + ms(median(q.cpu)), Ratio: times(median(ratios(s.cpu, q.cpu)))})
			}
			var peers []string
			for _, p := range b.loaders()[2:] {
				if q := all[p.name][i]; q.err == nil {
					peers = append(peers, p.name+" "+mb(median(q.peak)))
				}
			}
			b.row(row{What: what + ", peak memory, " + l.name, Ours: mb(median(s.peak)), Peer: strings.Join(peers, "; "), Target: "140 MB", Met: met(median(s.peak) <= 140<<10)})
		}
	}
	b.note("500,000 disjoint prefixes (56 %% single addresses, 26 %% /24, the rest /17 to /31), each one range for nftables and one member of a hash:net; replacing puts other 500,000 in their place. " +
		"Ours reads a file of ranges, applies a whole policy with it, verifies by probes and reads back; it is one process of the bench with the collector set as in platformd (the iptables driver with its ipset and iptables children; its peak is that of the Go process). `ipset restore` creates, fills, swaps and destroys.")
	return nil
}

// dumpChild reads a set with the library: dump SET. Errors of the kernel's buffer sizes are its answer too.
func dumpChild([]string) error {
	c, err := nftables.New(nftables.WithSockOptions(bigBuffers))
	if err != nil {
		return err
	}
	sets, err := c.GetSets(&nftables.Table{Name: "platform", Family: nftables.TableFamilyINet})
	if err != nil {
		return err
	}
	n := 0
	for _, s := range sets {
		if strings.HasPrefix(s.Name, "feeds") {
			elements, err := c.GetSetElements(s)
			if err != nil {
				return err
			}
			n += len(elements)
		}
	}
	if n < total {
		return fmt.Errorf("the dump has only %d elements", n)
	}
	return nil
}

// observeChild reads back with a driver several times: observe DRIVER N. It prints the median CPU and wall time in ns.
func observeChild(args []string) error {
	asDaemon()
	d, err := newDriver(args[0])
	if err != nil {
		return err
	}
	if _, err := d.Observe(context.Background()); err != nil {
		return err
	}
	fmt.Println(peakMemory(os.Getpid()))
	return nil
}

func observeSection(b *bench) error {
	for _, driver := range []string{"nft", "iptables"} {
		if err := b.observe(driver); err != nil {
			b.missing("read back, "+driver, err)
		}
	}
	b.note("Ours is a whole process that reads everything which drift detection compares, once; reading never lists the members of a big set (their number and the digest in the set's name or comment are compared, and members are probed).")
	return nil
}

func (b *bench) observe(driver string) error {
	n, err := newNamespace()
	if err != nil {
		return err
	}
	defer n.close()
	path, err := b.loaded(listA)
	if err != nil {
		return err
	}
	if _, err := n.self("apply", driver, path); err != nil {
		return err
	}
	peer := []string{"nft", "list", "ruleset"}
	if driver == "iptables" {
		peer = []string{"ipset", "save"}
	}
	var ours, theirs, oursWall, theirsWall []time.Duration
	var peak, peerPeak []int
	for range b.rounds {
		c, err := n.self("observe", driver)
		if err != nil {
			return err
		}
		own, _ := strconv.Atoi(strings.TrimSpace(c.out))
		ours, oursWall, peak = append(ours, c.cpu), append(oursWall, c.wall), append(peak, own)
		if c, err = n.measure(peer[0], peer[1:]...); err != nil {
			return err
		}
		theirs, theirsWall, peerPeak = append(theirs, c.cpu), append(theirsWall, c.wall), append(peerPeak, c.peak)
		progress("observe %s: %v, %s %v", driver, ours[len(ours)-1], peer[0], c.cpu)
	}
	name := strings.Join(peer, " ")
	b.row(row{What: "read back, CPU, " + driver, Ours: ms(median(ours)), Peer: name + " " + ms(median(theirs)), Ratio: fmt.Sprintf("%.4f", median(ratios(ours, theirs))), Target: "never dump", Met: met(median(ours) < 100*time.Millisecond)})
	b.row(row{What: "read back, time, " + driver, Ours: ms(median(oursWall)), Peer: name + " " + ms(median(theirsWall)), Ratio: fmt.Sprintf("%.4f", median(ratios(oursWall, theirsWall)))})
	b.row(row{What: "read back, peak memory, " + driver, Ours: mb(median(peak)), Peer: name + " " + mb(median(peerPeak))})
	if driver == "iptables" {
		return nil
	}
	const limit = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := n.measureCmd(exec.CommandContext(ctx, "/proc/self/exe", "dump"))
	switch {
	case ctx.Err() != nil:
		b.row(row{What: "read back, time, nft", Ours: ms(median(oursWall)), Peer: fmt.Sprintf("google/nftables GetSetElements: more than %v (stopped)", limit)})
	case err != nil:
		b.row(row{What: "read back, time, nft", Ours: ms(median(oursWall)), Peer: "google/nftables GetSetElements: " + err.Error()})
	default:
		b.row(row{What: "read back, time, nft", Ours: ms(median(oursWall)), Peer: "google/nftables GetSetElements " + ms(c.wall), Ratio: fmt.Sprintf("%.4f", float64(median(oursWall))/float64(c.wall))})
	}
	return nil
}
