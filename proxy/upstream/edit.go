package upstream

import (
	"fmt"
	"slices"

	"github.com/platformd/platformd/proxy/field"
)

// Edit is a change of a group. What it does not name stays; a zero Edit changes nothing.
type Edit struct {
	// Add are servers that the group has not got, Set changes of those that it has, Remove the URLs of those that go.
	Add    []Server     `json:"add,omitempty"`
	Set    []ServerEdit `json:"set,omitempty"`
	Remove []string     `json:"remove,omitempty"`

	Algorithm *string `json:"algorithm,omitempty"`
	// Health changes the fields that it has; NoHealth ends the checks.
	Health         *Health         `json:"health,omitempty"`
	NoHealth       bool            `json:"no_health,omitempty"`
	SlowStart      *field.Duration `json:"slow_start,omitempty"`
	Retries        *int            `json:"retries,omitempty"`
	MaxConnections *int            `json:"max_connections,omitempty"`
}

// ServerEdit is a change of one server.
type ServerEdit struct {
	URL     string  `json:"url"`
	Weight  *int    `json:"weight,omitempty"`
	Backup  *bool   `json:"backup,omitempty"`
	Drain   *bool   `json:"drain,omitempty"`
	SNIName *string `json:"sni_name,omitempty"`
	CA      *string `json:"ca,omitempty"`
}

// Edit changes g. Servers that are not as the edit takes them are mistakes, all of them said at once; g is then half changed,
// and not to be used. Whether the result is a right group, Validate says.
func (g *Group) Edit(x Edit) error {
	var e field.Errors
	g.Servers = slices.Clone(g.Servers)
	at := func(url string) int { return slices.IndexFunc(g.Servers, func(s Server) bool { return s.URL == url }) }
	for _, url := range x.Remove {
		if i := at(url); i >= 0 {
			g.Servers = slices.Delete(g.Servers, i, i+1)
		} else {
			e.Join("remove", g.unknown(url))
		}
	}
	for _, s := range x.Set {
		if i := at(s.URL); i >= 0 {
			s.Apply(&g.Servers[i])
		} else {
			e.Join("set", g.unknown(s.URL))
		}
	}
	for _, s := range x.Add {
		if at(s.URL) >= 0 {
			e.Add("add", "%q is in group %q already; change it with set", s.URL, g.Name)
			continue
		}
		g.Servers = append(g.Servers, s)
	}
	replace(&g.Algorithm, x.Algorithm)
	replace(&g.SlowStart, x.SlowStart)
	replace(&g.Retries, x.Retries)
	replace(&g.MaxConnections, x.MaxConnections)
	switch {
	case x.NoHealth && x.Health != nil:
		e.Add("no_health", "does not go with health; leave one of them out")
	case x.NoHealth:
		g.Health = nil
	case x.Health != nil:
		h := Health{}
		if g.Health != nil {
			h = *g.Health
		}
		h.merge(x.Health)
		g.Health = &h
	}
	return e.Err()
}

// unknown is for a server that is not there.
func (g *Group) unknown(url string) error {
	return fmt.Errorf("group %q has no server %q; write the URL as platformctl upstream show does", g.Name, url)
}

// Apply changes what x names.
func (x *ServerEdit) Apply(s *Server) {
	replace(&s.Weight, x.Weight)
	replace(&s.Backup, x.Backup)
	replace(&s.Drain, x.Drain)
	replace(&s.SNIName, x.SNIName)
	replace(&s.CA, x.CA)
}

// merge takes the fields that x has. Another type asks other things: what only the type before knew goes.
func (h *Health) merge(x *Health) {
	if x.Type != "" && x.Type != h.Type {
		h.Type, h.Path, h.Host, h.Statuses = x.Type, "", "", nil
	}
	given(&h.Path, x.Path)
	given(&h.Host, x.Host)
	given(&h.Interval, x.Interval)
	given(&h.Timeout, x.Timeout)
	given(&h.Unhealthy, x.Unhealthy)
	given(&h.Healthy, x.Healthy)
	if len(x.Statuses) > 0 {
		h.Statuses = x.Statuses
	}
}

func replace[T any](to, by *T) {
	if by != nil {
		*to = *by
	}
}

func given[T comparable](to *T, by T) {
	var zero T
	if by != zero {
		*to = by
	}
}
