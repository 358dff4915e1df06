package apps

import (
	"cmp"
	"slices"
	"strings"
)

// Config is what the document says of apps.
type Config struct {
	Apps []App `json:"apps,omitempty"`
	// Pool4 and Pool6 are where the apps' networks are; 0 values are DefaultPool4 and DefaultPool6. They cannot be changed
	// while there are apps.
	Pool4 string `json:"pool4,omitempty"`
	Pool6 string `json:"pool6,omitempty"`
	// Resolvers are the name servers that names of apps are asked of, as addresses with an optional port; none are those of
	// the host.
	Resolvers []string `json:"resolvers,omitempty"`
	// RequireAppArmor is whether apps are refused on a kernel without AppArmor; the default is true, and false leaves a health
	// condition.
	RequireAppArmor *bool `json:"require_apparmor,omitempty"`
}

// App is installed software.
type App struct {
	// Name is unique on this host: lower-case letters, digits and dashes, at most 32.
	Name string `json:"name"`
	// Domain is where it is reached; empty is nowhere.
	Domain string `json:"domain,omitempty"`
	// Network is its number in the address plan, and that of its bridge.
	Network int `json:"network"`
	// Current serves. Next takes its place once it is healthy. Previous served before.
	Current  Version  `json:"current"`
	Next     *Version `json:"next,omitempty"`
	Previous *Version `json:"previous,omitempty"`
	// Stopped apps have no running container, and their routes answer 503.
	Stopped bool `json:"stopped,omitempty"`
	// Env, Limits and Ports are the operator's, above those of the manifest. A port of 0 is closed.
	Env    map[string]string `json:"env,omitempty"`
	Limits Limits            `json:"limits,omitzero"`
	Ports  map[string]uint16 `json:"ports,omitempty"`
	Egress *Egress           `json:"egress,omitempty"`
	// Debug is a program that runs in the place of the app's own, with a writable root file system, and nobody is led to it.
	Debug []string `json:"debug,omitempty"`
	// Starts counts wishes for a new container; a higher number means one.
	Starts int `json:"starts,omitempty"`
}

// Version is one manifest of an app with the image and the data that it runs on.
type Version struct {
	Manifest Manifest `json:"manifest"`
	// ImageID is the engine's, a digest of the content: "sha256:...".
	ImageID string `json:"image_id"`
	// User is the numeric "UID:GID" that it runs as, and that its data belongs to.
	User string `json:"user"`
	// Slot is "a" or "b": two versions may run beside each other.
	Slot string `json:"slot"`
	// Data counts the copies of the data folders that there have been. A version with the number of its predecessor shares
	// its data; else it starts from a copy of number From.
	Data int `json:"data"`
	From int `json:"from,omitempty"`
}

// Slots of an app's containers.
const (
	SlotA = "a"
	SlotB = "b"
)

// OtherSlot is the one that v is not in.
func (v *Version) OtherSlot() string {
	if v.Slot == SlotA {
		return SlotB
	}
	return SlotA
}

// App is the app of a name.
func (c *Config) App(name string) (*App, bool) {
	i := slices.IndexFunc(c.Apps, func(a App) bool { return a.Name == name })
	if i < 0 {
		return nil, false
	}
	return &c.Apps[i], true
}

// Add puts an app into the list, by name, with the lowest network number that is free.
func (c *Config) Add(a App) {
	for a.Network = 1; slices.ContainsFunc(c.Apps, func(o App) bool { return o.Network == a.Network }); {
		a.Network++
	}
	c.Apps = append(c.Apps, a)
	slices.SortFunc(c.Apps, func(a, b App) int { return strings.Compare(a.Name, b.Name) })
}

// Remove takes an app out of the list.
func (c *Config) Remove(name string) bool {
	n := len(c.Apps)
	c.Apps = slices.DeleteFunc(c.Apps, func(a App) bool { return a.Name == name })
	return len(c.Apps) < n
}

// Versions are those that there are: current, next, previous.
func (a *App) Versions() []*Version {
	out := []*Version{&a.Current}
	for _, v := range []*Version{a.Next, a.Previous} {
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// WithDefaults is l with every zero field filled in.
func (l Limits) WithDefaults() Limits {
	l.Memory = cmp.Or(l.Memory, 512<<20)
	l.CPUs = cmp.Or(l.CPUs, 2)
	l.PIDs = cmp.Or(l.PIDs, 512)
	l.Files = cmp.Or(l.Files, 8192)
	l.Shm = cmp.Or(l.Shm, 64<<20)
	return l
}

// Over is l where it says something, else o.
func (l Limits) Over(o Limits) Limits {
	return Limits{cmp.Or(l.Memory, o.Memory), cmp.Or(l.CPUs, o.CPUs), cmp.Or(l.PIDs, o.PIDs), cmp.Or(l.Files, o.Files), cmp.Or(l.Shm, o.Shm)}
}

// EffectiveLimits are the operator's, else those of the manifest, else the defaults.
func (a *App) EffectiveLimits() Limits {
	return a.Limits.Over(a.Current.Manifest.Limits).WithDefaults()
}

// Name is what people call a version: its release, else the beginning of its image's digest.
func (v *Version) Name() string {
	if v.Manifest.Release != "" {
		return v.Manifest.Release
	}
	return strings.TrimPrefix(v.ImageID, "sha256:")[:12]
}

// PortOf is the port of the host that leads to p, 0 where it is closed.
func (a *App) PortOf(p Port) uint16 {
	if n, said := a.Ports[p.Name]; said {
		return n
	}
	if p.Optional {
		return 0
	}
	return cmp.Or(p.Default, p.Container)
}
