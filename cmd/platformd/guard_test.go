package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/nstest"
)

const guarded = `version: 1
firewall:
  ports:
    - {name: ssh, protocol: tcp, ports: [22]}
    - {name: web, protocol: tcp, ports: [80]}
settings:
  guard: 2s
`

// The way in comes back although the daemon was killed and stays dead, and a daemon that starts later agrees.
func TestGuardOutlivesTheDaemon(t *testing.T) {
	onMachine(t, guarded, func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		r := m.must(m.client.ClosePorts(m.ctx, wire.Options{}, "ssh"))
		if r.Confirm == nil {
			m.Fatalf("got %+v, want a change that waits for its confirmation", r)
		}
		m.sees(22, nstest.Filtered)
		m.kill(syscall.SIGKILL)
		m.becomes(22, nstest.Open)
		m.start()
		m.sees(22, nstest.Open)
		if ports, err := m.client.Ports(m.ctx); err != nil || len(ports) != 2 {
			m.Errorf("got %v, %v, want the port back in the document", ports, err)
		}
		if got := m.recorded("change-reverted"); len(got) != 1 {
			m.Errorf("got %v, want one record of the revert", got)
		}
	})
}

// What was confirmed stays, also when the daemon is killed right after.
func TestConfirmedStaysConfirmed(t *testing.T) {
	onMachine(t, guarded, func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		m.must(m.client.ClosePorts(m.ctx, wire.Options{}, "ssh"))
		if _, err := m.client.Confirm(m.ctx); err != nil {
			m.Fatal(err)
		}
		m.kill(syscall.SIGKILL)
		if _, err := os.Stat(filepath.Join(m.data(), "guard.json")); err == nil {
			m.Error("the way back is still on disk")
		}
		m.start()
		m.sees(22, nstest.Filtered)
	})
}

// Early boot: neither daemon nor database nor lists' sources, and an empty kernel.
func TestRestoreFirewall(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		m.Host.Serve(m.T, "tcp", 80)
		m.Host.Serve(m.T, "tcp", 8080)
		feed := filepath.Join(m.dir, "feed.txt")
		m.write(feed, "192.0.2.0/24\n"+manyRanges(2000))
		m.must(m.client.AddFeed(m.ctx, wire.Options{}, wire.FeedRequest{Name: "list", Source: feed}))
		if _, err := m.client.UpdateFeeds(m.ctx, wire.FeedUpdateRequest{}); err != nil {
			m.Fatal(err)
		}
		m.until("the feed is in the saved ruleset", func() bool {
			data, err := os.ReadFile(filepath.Join(m.data(), "last-good.json"))
			return err == nil && len(data) > 0 && containsAll(string(data), `"feeds"`, ".ranges")
		})
		m.AddSource(m.T, m.Client1, netip.MustParseAddr("192.0.2.7"))
		listed := m.Client1.From(netip.MustParseAddr("192.0.2.7"))
		boot := func() error {
			m.Nft(m.T, "delete table inet platform\n")
			m.sees(8080, nstest.Open) // so that what follows is shown by this and by nothing else
			out, err := m.program("restore-firewall", "--data-dir", m.data()).CombinedOutput()
			m.Logf("%s", out)
			return err
		}
		m.kill(syscall.SIGKILL)
		for _, name := range []string{"state.db", "state.json"} {
			if err := os.Remove(filepath.Join(m.data(), name)); err != nil {
				m.Fatal(err)
			}
		}
		if err := boot(); err != nil {
			m.Error(err)
		}
		m.sees(80, nstest.Open)
		m.sees(8080, nstest.Filtered)
		if got := listed.Dial(m.T, "tcp", m.host(0, 80)); got != nstest.Filtered {
			m.Errorf("listed source: got %s", got)
		}
		m.write(filepath.Join(m.data(), "last-good.json"), "{ damaged")
		if err := boot(); err == nil {
			m.Error("a damaged file was not reported")
		}
		m.sees(22, nstest.Open)
		m.sees(80, nstest.Filtered)
		m.sees(8080, nstest.Filtered)
	})
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// A block ends at its time, also while nobody runs, and a restart keeps what remains of the others.
func TestBlocksEndAndSurvive(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		var from [2]nstest.From
		for i, s := range []string{"198.51.100.50", "198.51.100.60"} {
			m.AddSource(m.T, m.Client1, netip.MustParseAddr(s))
			from[i] = m.Client1.From(netip.MustParseAddr(s))
		}
		m.must(m.client.Block(m.ctx, wire.Options{}, wire.BlockRequest{Targets: []string{"198.51.100.50"}, For: "1h"}))
		m.must(m.client.Block(m.ctx, wire.Options{}, wire.BlockRequest{Targets: []string{"198.51.100.60"}, For: "3s"}))
		m.kill(syscall.SIGKILL)
		if got := from[0].Dial(m.T, "tcp", m.host(0, 22)); got != nstest.Filtered {
			m.Errorf("blocked: got %s", got)
		}
		m.until("the short block ends in the kernel", func() bool { return from[1].Dial(m.T, "tcp", m.host(0, 22)) == nstest.Open })
		m.Nft(m.T, "delete table inet platform\n")
		m.start()
		if got := from[0].Dial(m.T, "tcp", m.host(0, 22)); got != nstest.Filtered {
			m.Errorf("blocked, after a restart: got %s", got)
		}
		if got := from[1].Eventually(m.T, "tcp", m.host(0, 22), nstest.Open); got != nstest.Open {
			m.Errorf("no longer blocked, after a restart: got %s", got)
		}
		listing := m.Exec(m.T, "", "nft", "list", "table", "inet", "platform")
		if !strings.Contains(listing, "timeout 59m") && !strings.Contains(listing, "expires 59m") {
			m.Errorf("the block does not have its remaining time in the kernel:\n%s", listing)
		}
	})
}

// The driver changes while a closed port is flooded: nothing gets through, and nothing of the old one is left.
func TestDriverChangesAndGoes(t *testing.T) {
	onMachine(t, "", func(m *machine) {
		m.Host.Serve(m.T, "tcp", 22)
		m.Nft(m.T, "add table inet foreign\nadd chain inet foreign mine { type filter hook input priority 5; }\nadd rule inet foreign mine tcp dport 9999 accept\n")
		m.AddSource(m.T, m.Client1, netip.MustParseAddr("198.51.100.77"))
		flood := m.Client1.From(netip.MustParseAddr("198.51.100.77")).BlastUDP(m.T, m.Host, m.host(0, 9000))
		names := []string{"iptables", "nft", "iptables", "auto"}
		for _, name := range names {
			m.must(m.client.SetFirewall(m.ctx, wire.Options{}, wire.FirewallRequest{Driver: &name}))
			m.sees(22, nstest.Open)
			m.sees(23, nstest.Filtered)
			ours := m.Exec(m.T, "", "nft", "list", "tables")
			if nft := name != "iptables"; nft != strings.Contains(ours, "inet platform") {
				m.Errorf("driver %s: tables are\n%s", name, ours)
			}
		}
		flood.Stop()
		if flood.Received.Load() != 0 {
			m.Errorf("flood: %v, want none received", flood)
		}
		off := false
		m.must(m.client.SetFirewall(m.ctx, wire.Options{}, wire.FirewallRequest{Enabled: &off}))
		m.sees(23, nstest.Refused)
		left := m.Exec(m.T, "", "nft", "list", "ruleset") + m.Exec(m.T, "", "ipset", "list", "-n")
		if strings.Contains(left, "platform") || strings.Contains(left, "PLATFORM") || !strings.Contains(left, "dport 9999") {
			m.Errorf("after switching off:\n%s", left)
		}
		on := true
		m.must(m.client.SetFirewall(m.ctx, wire.Options{}, wire.FirewallRequest{Enabled: &on}))
		m.sees(23, nstest.Filtered)
	})
}
