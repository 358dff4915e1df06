package firewall

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FieldError is one mistake in a policy: where, and what to do about it.
type FieldError struct {
	Path   string // as in the document: "ports[2].sources[0]"
	Reason string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Reason }

// FieldPath is the mistake's place in the document, for line numbers.
func (e *FieldError) FieldPath() string { return e.Path }

// Bounds of what a policy may hold; beyond them a list belongs into a feed.
const (
	MaxPorts  = 1024
	MaxBlocks = 20_000
	MaxAllow  = 4096
	MaxFeeds  = 128
	MaxGeo    = 64
	// MinFeedInterval keeps us from being a burden to those who publish lists.
	MinFeedInterval = 5 * time.Minute
	// DefaultFeedInterval is used where Feed.Every is zero.
	DefaultFeedInterval = 12 * time.Hour
)

var (
	nameForm      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	interfaceForm = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,14}\*?$`) // IFNAMSIZ is 16 with the final zero, linux/if.h
	countryForm   = regexp.MustCompile(`^[A-Z]{2}$`)
	formatForm    = regexp.MustCompile(`^(|netset|json|hosts|csv:[1-9][0-9]?)$`)
)

// mistakes collects every FieldError of one policy.
type mistakes []error

func (m *mistakes) add(path, format string, a ...any) {
	*m = append(*m, &FieldError{Path: path, Reason: fmt.Sprintf(format, a...)})
}

// Validate reports every mistake at once, joined; each is a *FieldError.
func (p *Policy) Validate() error {
	var m mistakes
	if !slices.Contains([]string{"", "auto", "nft", "iptables"}, p.Driver) {
		m.add("driver", "firewall driver %q: must be auto, nft or iptables", p.Driver)
	}
	if !slices.Contains([]Echo{"", EchoLimited, EchoOpen, EchoClosed}, p.Echo) {
		m.add("echo", "echo %q: must be limited, open or closed", p.Echo)
	}
	p.validatePorts(&m, "ports", p.Ports, false)
	p.validatePorts(&m, "output.ports", p.Output.Ports, true)
	for i, b := range p.Forward.Bridges {
		if !interfaceForm.MatchString(b) {
			m.add(index("forward.bridges", i), "bridge %q: is not an interface name; write for example br-* or docker0", b)
		}
	}
	p.validateLists(&m)
	p.validateGeo(&m)
	for name, l := range p.Limits {
		if !nameForm.MatchString(name) {
			m.add("limits."+name, "limit class %q: use lower-case letters, digits and dashes, at most 32", name)
		}
		if err := l.Validate(); err != nil {
			m.add("limits."+name, "limit class %q: %v", name, err)
		}
	}
	if err := p.SYN.Validate(); err != nil {
		m.add("syn", "syn limit: %v", err)
	}
	return errors.Join(m...)
}

func (p *Policy) validatePorts(m *mistakes, at string, ports []Port, output bool) {
	if len(ports) > MaxPorts {
		m.add(at, "%s: %d entries; at most %d", at, len(ports), MaxPorts)
	}
	seen := map[string]bool{}
	for i, x := range ports {
		path := index(at, i)
		object := fmt.Sprintf("port %q", x.Name)
		if !nameForm.MatchString(x.Name) {
			m.add(path+".name", "%s: the name must be lower-case letters, digits and dashes, at most 32", object)
		}
		if seen[x.Name] {
			m.add(path+".name", "%s: the name is used twice; choose another", object)
		}
		seen[x.Name] = true
		if x.Protocol != TCP && x.Protocol != UDP {
			m.add(path+".protocol", "%s: protocol %q: must be tcp or udp", object, x.Protocol)
		}
		if len(x.Ports) == 0 {
			m.add(path+".ports", "%s: names no port; write for example 443 or 8000-8010", object)
		}
		for j, r := range x.Ports {
			if r.First == 0 || r.Last < r.First {
				m.add(index(path+".ports", j), "%s: port range %v: must lie between 1 and 65535, the smaller number first", object, r)
			}
		}
		for j, r := range x.Sources {
			if !r.IsValid() {
				m.add(index(path+".sources", j), "%s: source %d is empty; write an address or a prefix", object, j)
			}
		}
		for j, n := range x.Interfaces {
			if !interfaceForm.MatchString(n) {
				m.add(index(path+".interfaces", j), "%s: %q is not an interface name", object, n)
			}
		}
		switch _, known := p.limitClass(x.Limit); {
		case x.Limit == "":
		case output:
			m.add(path+".limit", "%s: outgoing ports have no limit; remove it", object)
		case !known:
			m.add(path+".limit", "%s: limit class %q is not defined; define it with: platformctl limits set %s 5/10s", object, x.Limit, x.Limit)
		}
	}
}

func (p *Policy) validateLists(m *mistakes) {
	if len(p.Allow) > MaxAllow {
		m.add("allow", "allow: %d entries; at most %d", len(p.Allow), MaxAllow)
	}
	for i, a := range p.Allow {
		if !a.Target.IsValid() {
			m.add(index("allow", i)+".target", "allow entry %d: is empty; write an address or a prefix", i)
		}
	}
	if len(p.Blocks) > MaxBlocks {
		m.add("blocks", "blocks: %d entries; at most %d, put long lists into a file and add it as a feed", len(p.Blocks), MaxBlocks)
	}
	for i, b := range p.Blocks {
		if !b.Target.IsValid() {
			m.add(index("blocks", i)+".target", "block entry %d: is empty; write an address or a prefix", i)
		}
		if len(b.Reason) > 256 {
			m.add(index("blocks", i)+".reason", "block %v: the reason is longer than 256 bytes", b.Target)
		}
	}
	if len(p.Feeds) > MaxFeeds {
		m.add("feeds", "feeds: %d entries; at most %d", len(p.Feeds), MaxFeeds)
	}
	seen := map[string]bool{}
	for i, f := range p.Feeds {
		path := index("feeds", i)
		if !nameForm.MatchString(f.Name) {
			m.add(path+".name", "feed %q: the name must be lower-case letters, digits and dashes, at most 32", f.Name)
		}
		if seen[f.Name] {
			m.add(path+".name", "feed %q: the name is used twice; choose another", f.Name)
		}
		seen[f.Name] = true
		if !strings.HasPrefix(f.Source, "https://") && !strings.HasPrefix(f.Source, "http://") && !filepath.IsAbs(f.Source) {
			m.add(path+".source", "feed %q: source %q: must be an https:// or http:// URL, or an absolute path", f.Name, f.Source)
		}
		if !formatForm.MatchString(f.Format) {
			m.add(path+".format", "feed %q: format %q: must be netset, json, hosts, csv:N, or empty for detection", f.Name, f.Format)
		}
		if f.Every != 0 && time.Duration(f.Every) < MinFeedInterval {
			m.add(path+".every", "feed %q: every %v: must be at least %v", f.Name, time.Duration(f.Every), MinFeedInterval)
		}
		if f.MinRanges < 0 || f.MaxRanges < 0 || (f.MaxRanges > 0 && f.MinRanges > f.MaxRanges) {
			m.add(path+".min_ranges", "feed %q: min_ranges %d and max_ranges %d: must not be negative, the smaller first", f.Name, f.MinRanges, f.MaxRanges)
		}
	}
}

func (p *Policy) validateGeo(m *mistakes) {
	if len(p.Geo) > MaxGeo {
		m.add("geo", "geo: %d rules; at most %d, name several countries in one rule", len(p.Geo), MaxGeo)
	}
	for i, g := range p.Geo {
		path := index("geo", i)
		if g.Action != GeoBlock && g.Action != GeoAllow {
			m.add(path+".action", "geo rule %d: action %q: must be block or allow", i, g.Action)
		}
		if len(g.Countries) == 0 {
			m.add(path+".countries", "geo rule %d: names no country; write ISO 3166 codes such as DE or FR", i)
		}
		for j, c := range g.Countries {
			if !countryForm.MatchString(c) {
				m.add(index(path+".countries", j), "geo rule %d: %q is not a country code; write two capital letters such as DE", i, c)
			}
		}
		if g.Protocol != "" && g.Protocol != TCP && g.Protocol != UDP {
			m.add(path+".protocol", "geo rule %d: protocol %q: must be tcp or udp", i, g.Protocol)
		}
		if g.Protocol != "" && len(g.Ports) == 0 {
			m.add(path+".protocol", "geo rule %d: a protocol needs ports; name the ports or remove it", i)
		}
		for j, r := range g.Ports {
			if r.First == 0 || r.Last < r.First {
				m.add(index(path+".ports", j), "geo rule %d: port range %v: must lie between 1 and 65535, the smaller number first", i, r)
			}
		}
	}
	for i, s := range p.GeoData {
		if !filepath.IsAbs(s.Path) {
			m.add(index("geo_data", i)+".path", "geo data %q: must be an absolute path", s.Path)
		}
		if !slices.Contains([]string{"", "tor", "mmdb", "csv"}, s.Format) {
			m.add(index("geo_data", i)+".format", "geo data %q: format %q: must be tor, mmdb, csv, or empty for detection", s.Path, s.Format)
		}
	}
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// String is "22" or "8000-8010".
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText implements encoding.TextMarshaler.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *PortRange) UnmarshalText(b []byte) error {
	v, err := ParsePortRange(string(b))
	if err == nil {
		*r = v
	}
	return err
}

// ParsePortRange reads "22" or "8000-8010".
func ParsePortRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if errA != nil || errB != nil || a == 0 || b < a {
		return PortRange{}, fmt.Errorf("port %q: must be a number from 1 to 65535, or a range such as 8000-8010", s)
	}
	return PortRange{uint16(a), uint16(b)}, nil
}
