package host

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/internal/state"
	"github.com/platformd/platformd/proxy"
)

func compile(t *testing.T, edit func(*firewall.Policy)) *firewall.Ruleset {
	t.Helper()
	s := state.Default()
	edit(&s.Firewall)
	d, err := Compile(&s, Facts{Now: time.Unix(1000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return d.Firewall
}

func TestMailOpensItsPorts(t *testing.T) {
	s := state.Default()
	for _, on := range []bool{false, true} {
		s.Mail.Enabled = on
		d, err := Compile(&s, Facts{})
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range []uint16{25, 587, 993, 4190} {
			v, err := firewall.Explain(d.Firewall, firewall.Query{Source: netip.MustParseAddr("198.51.100.1"), Protocol: firewall.TCP, Port: port}, nil)
			if err != nil || v.Admitted != on || (on && !strings.HasPrefix(v.Limit, "mail 50/s")) {
				t.Errorf("mail %v, port %d: got %+v, %v", on, port, v, err)
			}
		}
	}
	if len(s.Firewall.Ports) != 4 {
		t.Error("Compile changed the document")
	}
}

func TestStreamsOpenTheirPorts(t *testing.T) {
	s := state.Default()
	s.Proxy.Streams = []proxy.Stream{{Port: 5432}, {Port: 53, Protocol: proxy.StreamUDP}, {Port: 7000, Firewall: proxy.Off}, {Port: 8000}}
	s.Firewall.Ports = append(s.Firewall.Ports, firewall.Port{Name: "mine", Protocol: firewall.TCP, Ports: []firewall.PortRange{{First: 7990, Last: 8010}},
		Sources: []ranges.Range{mustRange(t, "192.0.2.0/24")}})
	d, err := Compile(&s, Facts{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		from     string
		protocol firewall.Protocol
		port     uint16
		want     bool
	}{
		{"198.51.100.1", firewall.TCP, 5432, true}, {"2001:db8::1", firewall.TCP, 5432, true}, {"198.51.100.1", firewall.UDP, 5432, false},
		{"198.51.100.1", firewall.UDP, 53, true}, {"2001:db8::1", firewall.UDP, 53, true}, {"198.51.100.1", firewall.TCP, 53, false},
		{"198.51.100.1", firewall.TCP, 7000, false},
		{"198.51.100.1", firewall.TCP, 8000, false}, {"192.0.2.1", firewall.TCP, 8000, true},
	} {
		v, err := firewall.Explain(d.Firewall, firewall.Query{Source: netip.MustParseAddr(x.from), Protocol: x.protocol, Port: x.port}, nil)
		if err != nil || v.Admitted != x.want {
			t.Errorf("%s to %d/%s: got %v, %v", x.from, x.port, x.protocol, v.Admitted, err)
		}
	}
	if len(s.Firewall.Ports) != 5 {
		t.Error("Compile changed the document")
	}
}

func mustRange(t *testing.T, text string) ranges.Range {
	t.Helper()
	r, err := ranges.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGeoSetsAreFoundByWhatTheyAreMadeFrom(t *testing.T) {
	s := state.Default()
	s.Firewall.Geo = []firewall.GeoRule{{Action: firewall.GeoBlock, Countries: []string{"CN"}}, {Action: firewall.GeoAllow, Countries: []string{"DE"}}}
	a, b := firewall.BigSet{Path: "a", V4: 1}, firewall.BigSet{Path: "b", V4: 1}
	d, err := Compile(&s, Facts{Geo: map[string]firewall.BigSet{GeoKey(s.Firewall.Geo[1]): b, GeoKey(s.Firewall.Geo[0]): a}})
	if err != nil {
		t.Fatal(err)
	}
	if g := d.Firewall.Geo; g[0].Set != a || g[0].Refuse != "in" || g[1].Set != b || g[1].Refuse != "notin" {
		t.Errorf("got %+v", g)
	}
}

func TestLockedOut(t *testing.T) {
	asker := netip.MustParseAddr("198.51.100.7")
	block := func(s string) func(*firewall.Policy) {
		return func(p *firewall.Policy) {
			r, err := ranges.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			p.AddBlock(firewall.Block{Target: r})
		}
	}
	closeSSH := func(p *firewall.Policy) { p.Ports = p.Ports[2:] }
	closeOne := func(p *firewall.Policy) { p.Ports = p.Ports[1:] }
	off := func(p *firewall.Policy) { p.Disabled = true }
	nothing := func(*firewall.Policy) {}
	ssh := []uint16{22, 202}
	tests := map[string]struct {
		before, after func(*firewall.Policy)
		way           Way
		want          string
	}{
		"the asker is blocked":              {nothing, block("198.51.100.0/24"), Way{asker, ssh}, "where you are"},
		"somebody else is blocked":          {nothing, block("203.0.113.0/24"), Way{asker, ssh}, ""},
		"both ports closed":                 {nothing, closeSSH, Way{asker, ssh}, "TCP ports 22, 202"},
		"one of two":                        {nothing, closeOne, Way{asker, ssh}, ""},
		"the one that is used":              {nothing, closeOne, Way{asker, []uint16{22}}, "TCP port 22"},
		"at the console":                    {nothing, closeSSH, Way{netip.Addr{}, ssh}, "last way in over SSH"},
		"at the console, one of two":        {nothing, closeOne, Way{netip.Addr{}, ssh}, ""},
		"switched off":                      {nothing, off, Way{asker, ssh}, ""},
		"switched on without a way in":      {off, closeSSH, Way{asker, ssh}, "where you are"},
		"a way that was closed is not lost": {closeSSH, closeSSH, Way{asker, ssh}, ""},
	}
	for name, tt := range tests {
		got, err := LockedOut(compile(t, tt.before), compile(t, tt.after), tt.way, nil)
		if err != nil || (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tt.want)
		}
	}
}
