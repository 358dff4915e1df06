package firewall

import (
	"net/netip"
	"testing"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/ratelimit"
)

func TestExplain(t *testing.T) {
	now := time.Unix(1000, 0)
	feed, country := BigSet{Path: "feed", V4: 1}, BigSet{Path: "country", V4: 1}
	p := &Policy{
		Ports: []Port{
			{Name: "ssh", Protocol: TCP, Ports: []PortRange{{22, 22}}, Limit: "ssh"},
			{Name: "office", Protocol: TCP, Ports: []PortRange{{22, 22}, {5432, 5432}}, Sources: []ranges.Range{parse(t, "192.0.2.0/24")}},
			{Name: "lan", Protocol: UDP, Ports: []PortRange{{53, 53}}, Interfaces: []string{"lan*"}},
		},
		Allow:  []Allow{{Target: parse(t, "203.0.113.1")}},
		Blocks: []Block{{Target: parse(t, "203.0.113.0/24"), Until: now.Add(time.Hour)}, {Target: parse(t, "198.18.0.0/16"), Until: now.Add(-time.Hour)}},
		Geo:    []GeoRule{{Action: GeoBlock, Countries: []string{"XX"}, Ports: []PortRange{{22, 22}}}},
	}
	rs, err := Compile(p, Source{Now: now, Feeds: feed, Geo: []BigSet{country}, Bans: []Timed{{parse(t, "198.51.100.7"), now.Add(time.Minute)}, {parse(t, "203.0.113.1"), now.Add(time.Minute)}}})
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(set BigSet, a netip.Addr) (ranges.Range, bool, error) {
		in := map[string]string{"feed": "198.51.100.8", "country": "198.51.100.9"}[set.Path]
		return parse(t, in), a == netip.MustParseAddr(in), nil
	}
	tests := map[string]struct {
		from, iface string
		proto       Protocol
		port        uint16
		admitted    bool
		rule        string
		reason      Reason
	}{
		"anybody to ssh":                {"198.51.100.1", "", TCP, 22, true, "port ssh", ""},
		"the office without a limit":    {"192.0.2.1", "", TCP, 22, true, "port office", ""},
		"the office's own port":         {"192.0.2.1", "", TCP, 5432, true, "port office", ""},
		"others to the office's port":   {"198.51.100.1", "", TCP, 5432, false, "no port is open for it", ReasonClosed},
		"banned":                        {"198.51.100.7", "", TCP, 22, false, "ban 198.51.100.7", ReasonBan},
		"allowed wins over ban, block":  {"203.0.113.1", "", TCP, 22, true, "port ssh", ""},
		"allowed opens no port":         {"203.0.113.1", "", TCP, 23, false, "no port is open for it", ReasonClosed},
		"blocked":                       {"203.0.113.2", "", TCP, 22, false, "block 203.0.113.0/24", ReasonBlock},
		"a block that ended":            {"198.18.0.1", "", TCP, 22, true, "port ssh", ""},
		"in a feed":                     {"198.51.100.8", "", TCP, 22, false, "feed entry 198.51.100.8", ReasonFeed},
		"from a country kept out":       {"198.51.100.9", "", TCP, 22, false, "geo rule geo0", "geo:geo0"},
		"the country's rule is for ssh": {"198.51.100.9", "", UDP, 53, false, "no port is open for it", ReasonClosed},
		"on the right interface":        {"198.51.100.1", "lan0", UDP, 53, true, "port lan", ""},
		"mapped IPv4":                   {"::ffff:203.0.113.2", "", TCP, 22, false, "block 203.0.113.0/24", ReasonBlock},
		"IPv6 to ssh":                   {"2001:db8::1", "", TCP, 22, true, "port ssh", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v, err := Explain(rs, Query{Source: netip.MustParseAddr(tt.from), Protocol: tt.proto, Port: tt.port, Interface: tt.iface}, lookup)
			if err != nil {
				t.Fatal(err)
			}
			if v.Admitted != tt.admitted || v.Rule != tt.rule || v.Reason != tt.reason {
				t.Errorf("got %v %q %q, want %v %q %q\n%+v", v.Admitted, v.Rule, v.Reason, tt.admitted, tt.rule, tt.reason, v.Steps)
			}
		})
	}
}

func TestCompileKeepsOnlyWhatIsNamed(t *testing.T) {
	p := &Policy{
		Ports:  []Port{{Name: "b", Protocol: TCP, Ports: []PortRange{{80, 80}, {443, 443}, {81, 82}}, Limit: "http"}, {Name: "a", Protocol: TCP, Ports: []PortRange{{1, 1}}, Limit: "off-class"}},
		Limits: map[string]ratelimit.Limit{"off-class": {}},
	}
	rs, err := Compile(p, Source{})
	if err != nil {
		t.Fatal(err)
	}
	if len(rs.Meters) != 2 || rs.Meters[0].Name != "http" || rs.Meters[1].Name != "ping" {
		t.Errorf("got meters %+v, want http and ping", rs.Meters)
	}
	if rs.Services[0].Name != "a" || rs.Services[0].Meter != "" {
		t.Errorf("a class that is off must not meter: %+v", rs.Services[0])
	}
	if got := rs.Services[1].Ports; len(got) != 2 || got[0] != (PortRange{80, 82}) {
		t.Errorf("got ports %v, want 80-82 and 443", got)
	}
	p.Disabled = true
	if rs, err = Compile(p, Source{}); err != nil || !rs.Off || len(rs.Services) != 0 {
		t.Errorf("a disabled policy: got %+v, %v, want Off and nothing else", rs, err)
	}
}
