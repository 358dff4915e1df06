package firewall

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBlocksAreAddedAndRemoved(t *testing.T) {
	soon, later := time.Unix(1000, 0), time.Unix(2000, 0)
	add := func(s string, until time.Time) func(*Policy) error {
		return func(p *Policy) error { p.AddBlock(Block{Target: parse(t, s), Until: until}); return nil }
	}
	remove := func(s string) func(*Policy) error {
		return func(p *Policy) error { _, err := p.RemoveBlock(parse(t, s)); return err }
	}
	never := time.Time{}
	tests := map[string]struct {
		steps []func(*Policy) error
		want  string
	}{
		"a network over one of its addresses":      {[]func(*Policy) error{add("1.2.3.4", never), add("1.2.3.0/24", never)}, "1.2.3.0/24"},
		"an address in a blocked network":          {[]func(*Policy) error{add("1.2.3.0/24", never), add("1.2.3.4", soon)}, "1.2.3.0/24"},
		"a shorter network keeps the longer block": {[]func(*Policy) error{add("1.2.3.4", later), add("1.2.3.0/24", soon)}, "1.2.3.4 1.2.3.0/24"},
		"the same again":                           {[]func(*Policy) error{add("1.2.3.4", soon), add("1.2.3.4", never)}, "1.2.3.4"},
		"a part is taken out":                      {[]func(*Policy) error{add("1.2.3.0/30", never), remove("1.2.3.1")}, "1.2.3.0 1.2.3.2/31"},
		"more than there is is taken out":          {[]func(*Policy) error{add("1.2.3.4", never), add("1.2.4.4", never), remove("1.2.0.0/16")}, ""},
		"both families":                            {[]func(*Policy) error{add("2001:db8::/126", never), remove("2001:db8::1")}, "2001:db8:: 2001:db8::2/127"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var p Policy
			for _, step := range tt.steps {
				if err := step(&p); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, b := range p.Blocks {
				got = append(got, b.Target.String())
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
	var p Policy
	if _, err := p.RemoveBlock(parse(t, "1.2.3.4")); !errors.Is(err, ErrNotFound) {
		t.Errorf("removing what is not there: got %v, want ErrNotFound", err)
	}
}

func TestPortsAreOpenedAndClosed(t *testing.T) {
	var p Policy
	open := func(x Port) error { return p.OpenPort(x) }
	web := Port{Protocol: TCP, Ports: []PortRange{{8080, 8080}}}
	for range 2 {
		if err := open(web); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.Ports) != 1 || p.Ports[0].Name != "tcp-8080" {
		t.Fatalf("got %+v, want one port with a name made for it", p.Ports)
	}
	web.Limit = "http"
	if err := open(web); err == nil || !strings.Contains(err.Error(), "close it first") {
		t.Errorf("the same name with other content: got %v, want a remedy", err)
	}
	if err := p.ClosePort("8080/udp"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if err := p.ClosePort("8080/tcp"); err != nil || len(p.Ports) != 0 {
		t.Errorf("got %v, %v", err, p.Ports)
	}
}

func TestGeoRulesJoinAndShrink(t *testing.T) {
	var p Policy
	p.AddGeo(GeoRule{Action: GeoBlock, Countries: []string{"CN"}})
	p.AddGeo(GeoRule{Action: GeoBlock, Countries: []string{"RU", "CN"}})
	p.AddGeo(GeoRule{Action: GeoBlock, Countries: []string{"RU"}, Ports: []PortRange{{22, 22}}})
	if got := fmt.Sprint(p.Geo[0].Countries, len(p.Geo)); got != "[CN RU] 2" {
		t.Fatalf("got %s", got)
	}
	if err := p.RemoveGeo(GeoBlock, nil, []string{"CN"}); err != nil {
		t.Fatal(err)
	}
	if err := p.RemoveGeo(GeoBlock, nil, nil); err != nil || len(p.Geo) != 1 {
		t.Errorf("got %v, %v, want the rule with ports to remain", err, p.Geo)
	}
	if err := p.RemoveGeo(GeoAllow, nil, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	p := &Policy{
		Driver: "ufw",
		Ports: []Port{
			{Name: "Web", Protocol: "sctp", Limit: "slow"},
			{Name: "a", Protocol: TCP, Ports: []PortRange{{80, 70}}, Interfaces: []string{"eth0; drop"}},
			{Name: "a", Protocol: TCP, Ports: []PortRange{{80, 80}}},
		},
		Feeds: []Feed{{Name: "f", Source: "ftp://x", Format: "xml", Every: Duration(time.Second), MinRanges: 5, MaxRanges: 2}},
		Geo:   []GeoRule{{Action: "deny", Countries: []string{"de"}, Protocol: TCP}, {Action: GeoBlock}},
	}
	err := p.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{`driver "ufw"`, `port "Web"`, `protocol "sctp"`, "names no port", `limit class "slow" is not defined`, "80-70",
		`"eth0; drop" is not an interface`, "used twice", `source "ftp://x"`, `format "xml"`, "at least 5m0s", "min_ranges 5", `action "deny"`, `"de" is not a country`,
		"a protocol needs ports", "names no country"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	var field *FieldError
	if !errors.As(err, &field) || field.FieldPath() == "" {
		t.Error("mistakes must carry the path of their field")
	}
}
