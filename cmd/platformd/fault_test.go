package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
)

// A daemon that is killed at any moment leaves the host protected, comes back to the policy, and has lost nothing that it
// confirmed. A port that no policy of this test opens is flooded all the while, from a source that is blocked.
func TestKilledAtAnyMoment(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		source := netip.MustParseAddr("198.51.100.77")
		m.AddSource(m.T, m.Client1, source)
		m.block(source.String())
		flood := m.Client1.From(source).BlastUDP(m.T, m.Host, m.host(0, 9000))
		confirmed := map[string]bool{}
		for round := range 12 {
			done, changed := make(chan []string), make(chan struct{}, 1000)
			go func() {
				var got []string
				for i := 0; ; i++ {
					target := fmt.Sprintf("192.0.2.%d", 20*round+i%20)
					_, err := m.client.Block(m.ctx, wire.Options{}, wire.BlockRequest{Targets: []string{target}, Reason: fmt.Sprint(i)})
					if err == nil {
						_, err = m.client.OpenPorts(m.ctx, wire.Options{}, wire.PortRequest{Ports: []string{fmt.Sprint(10000 + 100*round + i)}, Protocol: "tcp"})
					}
					if err != nil {
						done <- got
						return
					}
					got = append(got, target, fmt.Sprintf("tcp-%d", 10000+100*round+i))
					changed <- struct{}{}
				}
			}()
			for range 1 + round%3 {
				<-changed
			}
			<-time.After(time.Duration(round*7) * time.Millisecond) // the moment is what the test is about
			m.kill(syscall.SIGKILL)
			for _, x := range <-done {
				confirmed[x] = true
			}
			m.sees(23, nstest.Filtered)
			m.start()
		}
		if len(confirmed) < 20 {
			m.Errorf("only %d changes were confirmed: this shows little", len(confirmed))
		}
		blocks, err := m.client.Blocks(m.ctx)
		if err != nil {
			m.Fatal(err)
		}
		ports, err := m.client.Ports(m.ctx)
		if err != nil {
			m.Fatal(err)
		}
		for _, b := range blocks {
			delete(confirmed, b.Target.String())
		}
		for _, p := range ports {
			delete(confirmed, p.Name)
		}
		for x := range confirmed {
			m.Errorf("%s was confirmed and is gone", x)
		}
		if r, err := m.client.VerifyActivity(m.ctx); err != nil || !r.OK {
			m.Errorf("activity log: %+v, %v", r, err)
		}
		flood.Stop()
		if flood.Received.Load() != 0 || flood.Sent.Load() < 10_000 {
			m.Errorf("flood: %v, want many sent and none received", flood)
		}
		m.sees(22, nstest.Open)
	})
}

func TestAnotherProgramDeletesOurTable(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 8080)
		m.sees(8080, nstest.Filtered)
		for round := range 3 {
			m.Nft(m.T, "delete table inet platform\n")
			m.becomes(8080, nstest.Filtered)
			m.until("the repair is on record", func() bool { return len(m.recorded("drift-repaired")) > round })
		}
		found := m.recorded("drift-found")
		if len(found) == 0 || !strings.Contains(found[0].Actor, "nft") {
			m.Errorf("got %+v, want the program nft to be named", found)
		}
	})
}

// Another program deletes the table while blocks are coming in. Whichever pass meets that, between two of its steps or
// before word of it has come, the rules come back and the deletion is on record.
func TestTableIsDeletedDuringBlocks(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		m.Host.Serve(m.T, "tcp", 8080)
		source := netip.MustParseAddr("198.51.100.77")
		m.AddSource(m.T, m.Client1, source)
		m.block(source.String())
		for round := range 8 {
			found, repaired := len(m.recorded("drift-found")), len(m.recorded("drift-repaired"))
			stop, stopped, asked := make(chan struct{}), make(chan int), make(chan struct{}, 1000)
			go func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						stopped <- n
						return
					default:
					}
					asked <- struct{}{}
					target := fmt.Sprintf("192.0.2.%d", (20*round+n)%250)
					if _, err := m.client.Block(m.ctx, wire.Options{}, wire.BlockRequest{Targets: []string{target}, Reason: fmt.Sprint(n)}); err != nil {
						m.Errorf("round %d: block %s: %v", round, target, err)
					}
				}
			}()
			for range 3 {
				<-asked
			}
			<-time.After(time.Duration(round*4) * time.Millisecond) // the moment is what the test is about
			m.Nft(m.T, "delete table inet platform\n")
			for range 3 {
				<-asked
			}
			close(stop)
			if n := <-stopped; n < 5 {
				m.Errorf("round %d: only %d blocks came in", round, n)
			}
			m.becomes(8080, nstest.Filtered)
			blocked := m.Client1.From(source)
			m.until("the block is back", func() bool { return blocked.Dial(m.T, "tcp", m.host(0, 22)) == nstest.Filtered })
			m.until(fmt.Sprintf("round %d: the deletion is on record", round), func() bool { return len(m.recorded("drift-found")) > found })
			m.until(fmt.Sprintf("round %d: the repair is on record", round), func() bool { return len(m.recorded("drift-repaired")) > repaired })
		}
		m.sees(22, nstest.Open)
		blocks, err := m.client.Blocks(m.ctx)
		if err != nil || len(blocks) < 40 {
			m.Errorf("got %d blocks, %v", len(blocks), err)
		}
	})
}

func TestAnotherProgramChangesIptables(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		m.Host.Serve(m.T, "tcp", 8080)
		name := "iptables"
		m.must(m.client.SetFirewall(m.ctx, wire.Options{}, wire.FirewallRequest{Driver: &name}))
		m.AddSource(m.T, m.Client1, netip.MustParseAddr("198.51.100.77"))
		m.block("198.51.100.77")
		m.sees(8080, nstest.Filtered)
		for _, program := range []string{"iptables", "ip6tables"} {
			m.Exec(m.T, "", program, "-F", "PLATFORM")
			m.becomes(8080, nstest.Filtered)
		}
		m.Exec(m.T, "", "ipset", "flush", "platform-blocks4")
		blocked := m.Client1.From(netip.MustParseAddr("198.51.100.77"))
		m.until("the block is back", func() bool { return blocked.Dial(m.T, "tcp", m.host(0, 22)) == nstest.Filtered })
		m.until("the repairs are on record", func() bool { return len(m.recorded("drift-repaired")) >= 2 })
	})
}

func TestDamagedAndMissingDatabase(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 8080)
		m.open("8080")
		m.block("192.0.2.1")
		for _, how := range []string{"damaged", "missing"} {
			m.kill(syscall.SIGKILL)
			for _, name := range []string{"state.db", "bans.db", "activity.db"} {
				path := filepath.Join(m.data(), name)
				for _, suffix := range []string{"-wal", "-shm"} {
					_ = os.Remove(path + suffix)
				}
				if how == "missing" {
					_ = os.Remove(path)
				} else {
					m.write(path, strings.Repeat("no database ", 5000))
				}
			}
			m.start()
			m.sees(8080, nstest.Open)
			m.sees(8081, nstest.Filtered)
			blocks, err := m.client.Blocks(m.ctx)
			if err != nil || len(blocks) != 1 {
				m.Errorf("%s: got blocks %v, %v", how, blocks, err)
			}
		}
		if _, told := m.condition("state-recovered"); told {
			m.Error("a missing database was reported as damaged")
		}
	})
}

func TestFullDisk(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 8080)
		m.kill(syscall.SIGTERM)
		if err := os.RemoveAll(m.data()); err != nil {
			m.Fatal(err)
		}
		if err := os.Mkdir(m.data(), 0o700); err != nil {
			m.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", m.data(), "tmpfs", 0, "size=24m"); err != nil {
			m.Fatal(err)
		}
		m.Cleanup(func() { _ = syscall.Unmount(m.data(), syscall.MNT_DETACH) })
		m.start()
		m.open("8080")
		m.sees(8080, nstest.Open)
		fill := filepath.Join(m.data(), "fill")
		m.fill(fill)
		var failed error
		for i := range 200 {
			_, err := m.client.Block(m.ctx, wire.Options{}, wire.BlockRequest{Targets: []string{fmt.Sprintf("192.0.2.%d", i)}, Reason: strings.Repeat("x", 250)})
			if err != nil {
				failed = err
				break
			}
		}
		var problem *wire.Problem
		if failed == nil || !errors.As(failed, &problem) || problem.Status != http.StatusInsufficientStorage {
			m.Errorf("got %v, want a change on a full disk to be refused with its reason", failed)
		}
		m.sees(8080, nstest.Open)
		m.sees(8081, nstest.Filtered)
		if _, err := m.client.Status(m.ctx); err != nil {
			m.Errorf("status on a full disk: %v", err)
		}
		if err := os.Remove(fill); err != nil {
			m.Fatal(err)
		}
		m.block("203.0.113.99")
	})
}

func (m *machine) fill(path string) {
	m.Helper()
	f, err := os.Create(path)
	if err != nil {
		m.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; size /= 2 {
		for {
			if _, err := f.Write(bytes.Repeat([]byte{1}, size)); err != nil {
				break
			}
		}
	}
}

func TestSourcesOfListsAreLost(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		m.AddSource(m.T, m.Client1, netip.MustParseAddr("192.0.2.7"))
		csv := filepath.Join(m.dir, "geo.csv")
		m.write(csv, "192.0.2.0,192.0.2.255,DE\n198.51.100.0,198.51.100.255,FR\n2001:db8:1::,2001:db8:1:ffff:ffff:ffff:ffff:ffff,FR\n")
		doc, err := m.client.Document(m.ctx, 0, "yaml")
		if err != nil {
			m.Fatal(err)
		}
		with := strings.Replace(string(doc), "firewall:\n", "firewall:\n  geo_data:\n    - path: "+csv+"\n", 1)
		m.must(m.client.Apply(m.ctx, wire.Options{}, "document.yaml", []byte(with)))
		if _, err := m.client.UpdateGeo(m.ctx); err != nil {
			m.Fatal(err)
		}
		m.must(m.client.AddGeo(m.ctx, wire.Options{}, wire.GeoRequest{Action: "block", Countries: []string{"DE"}}))
		from := m.Client1.From(netip.MustParseAddr("192.0.2.7"))
		refused := func(when string) {
			m.Helper()
			if got := from.Dial(m.T, "tcp", m.host(0, 22)); got != nstest.Filtered {
				m.Errorf("%s: the country is %s, want it kept out", when, got)
			}
			m.sees(22, nstest.Open)
		}
		refused("at first")
		if err := os.Remove(csv); err != nil {
			m.Fatal(err)
		}
		if _, err := m.client.UpdateGeo(m.ctx); err == nil {
			m.Error("an update from a file that is gone was said to work")
		}
		refused("without the file")
		if _, told := m.condition("geo-data"); !told {
			m.Error("there is no condition about the missing file")
		}
		m.kill(syscall.SIGKILL)
		if err := os.RemoveAll(filepath.Join(m.data(), "geo")); err != nil {
			m.Fatal(err)
		}
		m.start()
		refused("without the file and the data made of it, after a restart")
	})
}

func TestFeedThatDies(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		m.AddSource(m.T, m.Client1, netip.MustParseAddr("192.0.2.7"))
		var body atomic.Pointer[string]
		set := func(s string) { body.Store(&s) }
		set("192.0.2.0/24\n" + manyRanges(300))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			m.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if s := *body.Load(); s != "" {
				_, _ = w.Write([]byte(s))
				return
			}
			http.Error(w, "gone", http.StatusInternalServerError)
		})}
		go func() { _ = server.Serve(l) }()
		m.Cleanup(func() { server.Close() })
		m.must(m.client.AddFeed(m.ctx, wire.Options{}, wire.FeedRequest{Name: "list", Source: "http://" + l.Addr().String() + "/list"}))
		update := func() wire.FeedStatus {
			m.Helper()
			got, err := m.client.UpdateFeeds(m.ctx, wire.FeedUpdateRequest{Names: []string{"list"}})
			if err != nil || len(got) != 1 {
				m.Fatalf("got %v, %v", got, err)
			}
			return got[0]
		}
		from := m.Client1.From(netip.MustParseAddr("192.0.2.7"))
		refused := func(when string) {
			m.Helper()
			if got := from.Dial(m.T, "tcp", m.host(0, 22)); got != nstest.Filtered {
				m.Errorf("%s: got %s, want the listed source refused", when, got)
			}
			m.sees(22, nstest.Open)
		}
		update()
		refused("with the feed")
		for when, content := range map[string]string{"dead": "", "emptied": "# nothing\n", "poisoned": "0.0.0.0/0\n::/0\n", "no list at all": "<html><body>login</body></html>\n" + strings.Repeat("<p>text</p>\n", 50)} {
			set(content)
			if s := update(); s.LastError == "" {
				m.Errorf("%s: no error: %+v", when, s)
			}
			refused(when)
			if _, told := m.condition("feed-failed:list"); !told {
				m.Errorf("%s: there is no condition", when)
			}
		}
		set(manyRanges(301))
		if s := update(); s.LastError != "" {
			m.Fatalf("a good list again: %+v", s)
		}
		if got := from.Eventually(m.T, "tcp", m.host(0, 22), nstest.Open); got != nstest.Open {
			m.Errorf("no longer listed: got %s", got)
		}
	})
}

func manyRanges(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "20.%d.%d.0/24\n", i/200, i%200)
	}
	return b.String()
}
