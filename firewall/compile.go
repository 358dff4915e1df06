package firewall

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/platformd/platformd/firewall/ranges"
)

// DefaultBridges are the interfaces behind which container engines put their networks.
func DefaultBridges() []string { return []string{"br-*", "docker*", "podman*"} }

// Compile says what a policy means for packets at src.Now. It is pure, and it refuses what Validate refuses.
func Compile(p *Policy, src Source) (*Ruleset, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Disabled {
		return &Ruleset{Off: true, Echo: EchoLimited}, nil
	}
	if len(src.Geo) != len(p.Geo) {
		return nil, fmt.Errorf("compile firewall: %d geo rules but %d geo sets", len(p.Geo), len(src.Geo))
	}
	rs := &Ruleset{
		Feeds:   src.Feeds,
		Echo:    cmp.Or(p.Echo, EchoLimited),
		Forward: ForwardRuleset{Open: p.Forward.Open, Bridges: sortedCopy(p.Forward.Bridges)},
		Output:  OutputRuleset{Closed: p.Output.Closed},
	}
	if len(rs.Forward.Bridges) == 0 {
		rs.Forward.Bridges = DefaultBridges()
	}
	var allow []ranges.Range
	for _, a := range p.Allow {
		allow = append(allow, a.Target)
	}
	rs.Allow = ranges.Normalize(allow)
	rs.Bans = compileBans(src, rs.Allow)
	var blocks []Timed
	for _, b := range p.Blocks {
		if b.Until.IsZero() || b.Until.After(src.Now) {
			blocks = append(blocks, Timed{b.Target, b.Until})
		}
	}
	rs.Blocks = Flatten(blocks)
	for i, g := range p.Geo {
		rs.Geo = append(rs.Geo, GeoScope{
			Name:     fmt.Sprintf("geo%d", i),
			Refuse:   map[GeoAction]string{GeoBlock: "in", GeoAllow: "notin"}[g.Action],
			Protocol: g.Protocol,
			Ports:    normalizePorts(g.Ports),
			Set:      src.Geo[i],
		})
	}
	used := map[string]bool{}
	rs.Services = compileServices(p.Ports, used)
	rs.Output.Services = compileServices(p.Output.Ports, nil)
	if rs.Echo == EchoLimited {
		used["ping"] = true
	}
	rs.Segments = src.Segments.normalize(src.Now)
	for _, x := range rs.Segments.List {
		for _, p := range x.Peers {
			used[p.Meter] = p.Meter != ""
		}
	}
	delete(used, "")
	for _, name := range sortedKeys(used) {
		c, _ := p.limitClass(name)
		if !c.Limit.IsZero() {
			rs.Meters = append(rs.Meters, Meter{Name: name, Limit: c.Limit, Sources: cmp.Or(c.Sources, DefaultSources), AdmitWhenFull: c.AdmitWhenFull})
		}
	}
	rs.dropUnmetered()
	if !p.SYN.IsZero() {
		rs.SYN = "syn"
		rs.Meters = append(rs.Meters, Meter{Name: "syn", Limit: p.SYN, Sources: 4 * DefaultSources, AdmitWhenFull: true})
	}
	return rs, nil
}

// dropUnmetered clears the meter of services and peers whose class is "off".
func (rs *Ruleset) dropUnmetered() {
	for i := range rs.Services {
		if rs.MeterOf(rs.Services[i].Meter) == nil {
			rs.Services[i].Meter = ""
		}
	}
	for _, x := range rs.Segments.List {
		for i := range x.Peers {
			if rs.MeterOf(x.Peers[i].Meter) == nil {
				x.Peers[i].Meter = ""
			}
		}
	}
}

// MeterOf finds a meter by name; nil where there is none.
func (rs *Ruleset) MeterOf(name string) *Meter {
	for i := range rs.Meters {
		if rs.Meters[i].Name == name {
			return &rs.Meters[i]
		}
	}
	return nil
}

func compileBans(src Source, allow []ranges.Range) []Timed {
	var out []Timed
	for _, b := range src.Bans {
		if !b.Until.IsZero() && !b.Until.After(src.Now) {
			continue
		}
		if !slices.ContainsFunc(allow, b.Range.Overlaps) {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b Timed) int { return a.Range.Compare(b.Range) })
	return slices.CompactFunc(out, func(a, b Timed) bool { return a.Range == b.Range })
}

func compileServices(ports []Port, limits map[string]bool) []Service {
	var out []Service
	for _, p := range ports {
		if p.Limit != "" && limits != nil {
			limits[p.Limit] = true
		}
		out = append(out, Service{
			Name:       p.Name,
			Protocol:   p.Protocol,
			Ports:      normalizePorts(p.Ports),
			Sources:    ranges.Normalize(p.Sources),
			Interfaces: sortedCopy(p.Interfaces),
			Meter:      p.Limit,
		})
	}
	slices.SortFunc(out, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func normalizePorts(in []PortRange) []PortRange {
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b PortRange) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last)) })
	var out []PortRange
	for _, r := range in {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	return out
}

func sortedCopy(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return slices.Compact(out)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
