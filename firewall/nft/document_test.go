package nft

import (
	"bytes"
	"context"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/nstest"
	"github.com/platformd/platformd/ratelimit"
)

// TestDocument: nft(8) understands what is shown to people, and every chain says what it is for.
func TestDocument(t *testing.T) {
	nstest.Enter(t)
	one := []firewall.PortRange{{First: 22, Last: 22}}
	source, err := ranges.Parse("192.0.2.0/24")
	if err != nil {
		t.Fatal(err)
	}
	for name, rs := range map[string]*firewall.Ruleset{
		"closed": {Echo: firewall.EchoClosed},
		"everything": {
			Segments: firewall.Segments{Bridges: []string{"br-app*"}, List: []firewall.Segment{{Name: "blog", Bridge: "br-app1", V4: netip.MustParsePrefix("10.212.0.16/28"), V6: netip.MustParsePrefix("fd00:1::/64"),
				Egress: firewall.EgressList, Reach: []firewall.Reach{{Range: source}}, Peers: []firewall.Peer{{Addr: netip.MustParseAddr("10.212.0.20"), Protocol: firewall.TCP, Port: 5432, Meter: "ssh"}}}}},
			Echo: firewall.EchoLimited, SYN: "syn", Feeds: firewall.BigSet{V4: 1, V6: 1},
			Geo: []firewall.GeoScope{
				{Name: "geo0", Refuse: "in", Set: firewall.BigSet{V4: 1, V6: 1}},
				{Name: "geo1", Refuse: "notin", Ports: one, Set: firewall.BigSet{V4: 1}},
			},
			Services: []firewall.Service{
				{Name: "office", Protocol: firewall.TCP, Ports: one, Sources: []ranges.Range{source}, Interfaces: []string{"eth*"}},
				{Name: "ssh", Protocol: firewall.TCP, Ports: one, Meter: "ssh"},
			},
			Meters: []firewall.Meter{
				{Name: "ping", Limit: ratelimit.Limit{Rate: 10, Per: time.Second}, Sources: 100},
				{Name: "ssh", Limit: ratelimit.Limit{Rate: 5, Per: 10 * time.Second, Concurrent: 3}, Sources: 100},
				{Name: "syn", Limit: ratelimit.Limit{Rate: 100, Per: time.Second}, Sources: 100, AdmitWhenFull: true},
			},
			Forward: firewall.ForwardRuleset{Bridges: firewall.DefaultBridges()},
			Output:  firewall.OutputRuleset{Closed: true, Services: []firewall.Service{{Name: "web", Protocol: firewall.TCP, Ports: one, Sources: []ranges.Range{source}}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := Document(rs)
			cmd := exec.Command("nft", "--check", "-f", "-")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("nft --check: %v\n%s\n%s", err, out, text)
			}
			for _, c := range newSpec(rs).chains {
				if c.doc == "" {
					t.Errorf("chain %s says nothing", c.name)
				}
			}
		})
	}
}

// TestListingLoads: what "nft list ruleset" writes can be read again, as owners do who keep it in /etc/nftables.conf.
func TestListingLoads(t *testing.T) {
	nstest.Enter(t)
	rs, err := firewall.Compile(&firewall.Policy{Ports: []firewall.Port{
		{Name: "ssh", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 22, Last: 22}}, Limit: "ssh"},
		{Name: "http", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 80, Last: 80}}, Limit: "http"},
		{Name: "mail", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 25, Last: 25}}, Limit: "mail"},
	}}, firewall.Source{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := d.Apply(context.Background(), &firewall.Ruleset{Off: true}); err != nil {
			t.Error(err)
		}
	})
	list, err := exec.Command("nft", "list", "table", "inet", tableName).CombinedOutput()
	if err != nil {
		t.Fatalf("nft list: %v\n%s", err, list)
	}
	cmd := exec.Command("nft", "--check", "-f", "-")
	cmd.Stdin = bytes.NewReader(append([]byte("delete table inet "+tableName+"\n"), list...))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft --check: %v\n%s\n%s", err, out, list)
	}
}
