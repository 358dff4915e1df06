package firewall

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall/ranges"
	"github.com/platformd/platformd/ratelimit"
)

// ErrNotFound is wrapped by edits that concern something which the policy does not have.
var ErrNotFound = errors.New("not found")

// OpenPort adds a port. The same port without a name gets one from its protocol and number. An entry of the same name and
// content changes nothing; of the same name and other content is refused.
func (p *Policy) OpenPort(x Port) error {
	if x.Name == "" {
		x.Name = portName(x)
	}
	for _, old := range p.Ports {
		if old.Name != x.Name {
			continue
		}
		if old.equal(x) {
			return nil
		}
		return fmt.Errorf("port %q is already open as %s; close it first, or choose another name", x.Name, old.describe())
	}
	p.Ports = append(p.Ports, x)
	return nil
}

func portName(x Port) string {
	var parts []string
	for _, r := range x.Ports {
		parts = append(parts, r.String())
	}
	return string(x.Protocol) + "-" + strings.Join(parts, "-")
}

func (x Port) equal(o Port) bool {
	return x.Protocol == o.Protocol && x.Limit == o.Limit && slices.Equal(normalizePorts(x.Ports), normalizePorts(o.Ports)) &&
		slices.Equal(ranges.Normalize(x.Sources), ranges.Normalize(o.Sources)) && slices.Equal(sortedCopy(x.Interfaces), sortedCopy(o.Interfaces))
}

func (x Port) describe() string {
	var parts []string
	for _, r := range x.Ports {
		parts = append(parts, r.String())
	}
	text := strings.Join(parts, ",") + "/" + string(x.Protocol)
	if len(x.Sources) > 0 {
		text += " from " + fmt.Sprint(x.Sources)
	}
	return text
}

// ClosePort removes the entries that are named so, or that open exactly the port "8080", "8080/tcp" or "8000-8010/udp".
func (p *Policy) ClosePort(name string) error {
	number, proto, hasProto := strings.Cut(name, "/")
	r, err := ParsePortRange(number)
	n := len(p.Ports)
	p.Ports = slices.DeleteFunc(p.Ports, func(x Port) bool {
		byNumber := err == nil && len(x.Ports) == 1 && x.Ports[0] == r && (!hasProto || string(x.Protocol) == proto)
		return x.Name == name || byNumber
	})
	if len(p.Ports) == n {
		return fmt.Errorf("port %q: %w among the open ports; platformctl ports list shows them", name, ErrNotFound)
	}
	return nil
}

// AddBlock adds a block. Entries that it makes superfluous go; where an entry covers it already nothing changes, except
// that the same target gets the new reason and end.
func (p *Policy) AddBlock(b Block) {
	var out []Block
	for _, old := range p.Blocks {
		switch {
		case old.Target == b.Target || (covers(b.Target, old.Target) && !endsBefore(b.Until, old.Until)):
			continue
		case covers(old.Target, b.Target) && !endsBefore(old.Until, b.Until):
			return
		}
		out = append(out, old)
	}
	p.Blocks = append(out, b)
}

// RemoveBlock takes target out of every block; what remains of a larger one stays blocked. It reports how many entries it
// touched.
func (p *Policy) RemoveBlock(target ranges.Range) (int, error) {
	var out []Block
	n := 0
	for _, b := range p.Blocks {
		if !b.Target.Overlaps(target) {
			out = append(out, b)
			continue
		}
		n++
		rest, err := ranges.Collect(ranges.Subtract(ranges.FromSlice([]ranges.Range{b.Target}), []ranges.Range{target}))
		if err != nil {
			return 0, err
		}
		for _, r := range rest {
			part := b
			part.Target = r
			out = append(out, part)
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("block %v: %w; platformctl blocked shows what is", target, ErrNotFound)
	}
	p.Blocks = out
	return n, nil
}

// DropEnded removes blocks that ended before now.
func (p *Policy) DropEnded(now time.Time) {
	p.Blocks = slices.DeleteFunc(p.Blocks, func(b Block) bool { return !b.Until.IsZero() && !b.Until.After(now) })
}

// AddAllow adds a target to the always-allow list; the same target gets the new comment.
func (p *Policy) AddAllow(a Allow) {
	for i, old := range p.Allow {
		if old.Target == a.Target {
			p.Allow[i] = a
			return
		}
	}
	p.Allow = append(p.Allow, a)
}

// RemoveAllow removes exactly that target.
func (p *Policy) RemoveAllow(target ranges.Range) error {
	n := len(p.Allow)
	p.Allow = slices.DeleteFunc(p.Allow, func(a Allow) bool { return a.Target == target })
	if len(p.Allow) == n {
		return fmt.Errorf("allow entry %v: %w; platformctl allowed shows them", target, ErrNotFound)
	}
	return nil
}

// AddFeed adds a feed. A feed of that name with another source is refused.
func (p *Policy) AddFeed(f Feed) error {
	for i, old := range p.Feeds {
		if old.Name != f.Name {
			continue
		}
		if old.Source != f.Source {
			return fmt.Errorf("feed %q exists with source %s; remove it first, or choose another name", f.Name, old.Source)
		}
		p.Feeds[i] = f
		return nil
	}
	p.Feeds = append(p.Feeds, f)
	return nil
}

// RemoveFeed removes the feed of that name.
func (p *Policy) RemoveFeed(name string) error {
	n := len(p.Feeds)
	p.Feeds = slices.DeleteFunc(p.Feeds, func(f Feed) bool { return f.Name == name })
	if len(p.Feeds) == n {
		return fmt.Errorf("feed %q: %w; platformctl feeds list shows them", name, ErrNotFound)
	}
	return nil
}

// AddGeo adds a geo rule; countries join an existing rule of the same action and ports.
func (p *Policy) AddGeo(g GeoRule) {
	for i, old := range p.Geo {
		if old.Action == g.Action && old.Protocol == g.Protocol && old.AdmitUnknown == g.AdmitUnknown && slices.Equal(normalizePorts(old.Ports), normalizePorts(g.Ports)) {
			p.Geo[i].Countries = sortedCopy(append(slices.Clone(old.Countries), g.Countries...))
			return
		}
	}
	g.Countries = sortedCopy(g.Countries)
	p.Geo = append(p.Geo, g)
}

// RemoveGeo takes countries out of the rules of that action and those ports; a rule without countries goes. No countries
// means all of them.
func (p *Policy) RemoveGeo(action GeoAction, ports []PortRange, countries []string) error {
	n := 0
	var out []GeoRule
	for _, g := range p.Geo {
		if g.Action == action && slices.Equal(normalizePorts(g.Ports), normalizePorts(ports)) {
			before := len(g.Countries)
			g.Countries = slices.DeleteFunc(slices.Clone(g.Countries), func(c string) bool { return len(countries) == 0 || slices.Contains(countries, c) })
			n += before - len(g.Countries)
			if len(g.Countries) == 0 {
				continue
			}
		}
		out = append(out, g)
	}
	if n == 0 {
		return fmt.Errorf("geo rule %s %s: %w; platformctl geo list shows them", action, strings.Join(countries, " "), ErrNotFound)
	}
	p.Geo = out
	return nil
}

// SetLimit overrides a limit class.
func (p *Policy) SetLimit(name, text string) error {
	if name == "syn" {
		return p.SYN.UnmarshalText([]byte(text))
	}
	c, _ := p.limitClass(name)
	if err := c.Limit.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	if p.Limits == nil {
		p.Limits = map[string]ratelimit.Limit{}
	}
	p.Limits[name] = c.Limit
	return nil
}

func covers(a, b ranges.Range) bool { return a.Contains(b.From) && a.Contains(b.To) }

// endsBefore treats zero as never.
func endsBefore(a, b time.Time) bool {
	if a.IsZero() {
		return false
	}
	return b.IsZero() || a.Before(b)
}
