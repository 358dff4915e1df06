package proxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/platformd/platformd/proxy/upstream"
)

// Upstream finds a group of back ends by its name. What it gives is the configuration's own.
func (c *Config) Upstream(name string) (*upstream.Group, bool) {
	i := slices.IndexFunc(c.Upstreams, func(g upstream.Group) bool { return g.Name == name })
	if i < 0 {
		return nil, false
	}
	return &c.Upstreams[i], true
}

// RemoveUpstream removes a group. One that a route leads to stays, and the error names the routes. It reports whether there was
// one.
func (c *Config) RemoveUpstream(name string) (bool, error) {
	if _, ok := c.Upstream(name); !ok {
		return false, nil
	}
	if used := c.RoutesTo(name); len(used) > 0 {
		return true, fmt.Errorf("upstream %q: route %s leads to it; remove that first, or give it another back end", name, strings.Join(used, ", "))
	}
	c.Upstreams = slices.DeleteFunc(c.Upstreams, func(g upstream.Group) bool { return g.Name == name })
	return true, nil
}

// RoutesTo are the keys of the routes that lead to a group.
func (c *Config) RoutesTo(group string) []string {
	var out []string
	for i := range c.Routes {
		if kind, name := c.Routes[i].kind(); kind == backendGroup && name == group {
			out = append(out, c.Routes[i].Key())
		}
	}
	return out
}
