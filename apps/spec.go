package apps

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
)

// Network is one app's own network.
type Network struct {
	Name   string       `json:"name"`
	App    string       `json:"app"`
	Bridge string       `json:"bridge"`
	V4     netip.Prefix `json:"v4"`
	V6     netip.Prefix `json:"v6"`
}

// Volume is a folder of the host that containers see, mounted without devices and without setuid.
type Volume struct {
	Name string `json:"name"`
	App  string `json:"app"`
	// Folder is below the data directory of the apps; Exec lets programs in it be run.
	Folder string `json:"folder"`
	Exec   bool   `json:"exec,omitempty"`
}

// Mount is a volume in a container.
type Mount struct {
	Volume string `json:"volume"`
	Path   string `json:"path"`
}

// Published is a port of the host that leads to a port of a container.
type Published struct {
	Protocol  string `json:"protocol"`
	Host      uint16 `json:"host"`
	Container uint16 `json:"container"`
}

// Container is one container: all that its engine is told, and nothing that differs between two looks at it.
type Container struct {
	Name string `json:"name"`
	App  string `json:"app"`
	// Role is "app", or the name of an addon; Slot is that of the version.
	Role string `json:"role"`
	Slot string `json:"slot,omitempty"`

	ImageID    string      `json:"image_id"`
	Entrypoint []string    `json:"entrypoint,omitempty"`
	Command    []string    `json:"command,omitempty"`
	User       string      `json:"user,omitempty"`
	Env        []string    `json:"env,omitempty"`
	Hostname   string      `json:"hostname"`
	Mounts     []Mount     `json:"mounts,omitempty"`
	Tmpfs      []Tmpfs     `json:"tmpfs,omitempty"`
	Network    string      `json:"network"`
	V4         netip.Addr  `json:"v4"`
	V6         netip.Addr  `json:"v6"`
	Publish    []Published `json:"publish,omitempty"`
	// DNS is where it asks for names.
	DNS    []netip.Addr `json:"dns,omitempty"`
	Limits Limits       `json:"limits"`
	// Capabilities are those that are kept; all others are dropped. The root file system is read-only, new privileges are
	// never gained, and the engine restarts nothing: none of that can be said otherwise.
	Capabilities []string `json:"capabilities,omitempty"`
	StopSignal   string   `json:"stop_signal,omitempty"`
	StopGrace    int      `json:"stop_grace"` // in seconds
	// Profile is the AppArmor profile; empty is none, on a kernel without it.
	Profile string `json:"profile,omitempty"`
	// Writable has a writable root file system: `app debug` alone asks for it.
	Writable bool `json:"writable,omitempty"`
	// Starts is App.Starts.
	Starts int `json:"starts,omitempty"`
}

// Digest names all that a container is made from.
func (c *Container) Digest() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Desired is what an engine is to hold.
type Desired struct {
	Networks   []Network
	Volumes    []Volume
	Containers []Container
	// Stopped are containers that are to be there and not to run, by name.
	Stopped map[string]bool
	// Broken are apps whose containers cannot be described, because a secret cannot be read; they are left as they are.
	Broken map[string]error
}

// Seen is one container as an engine lists it.
type Seen struct {
	ID      string
	Name    string
	App     string
	Role    string
	Digest  string
	Running bool
	// Status is the engine's own word: "running", "exited", "created" ...
	Status string
}

// Observed is what of ours an engine holds: everything with our label.
type Observed struct {
	Containers []Seen
	// Networks and Volumes by name, with the app that they are for.
	Networks map[string]string
	Volumes  map[string]string
}

// Has reports whether there is anything of an app.
func (o *Observed) Has(app string) bool {
	for _, s := range o.Containers {
		if s.App == app {
			return true
		}
	}
	for _, m := range []map[string]string{o.Networks, o.Volumes} {
		for _, a := range m {
			if a == app {
				return true
			}
		}
	}
	return false
}

// Digest names all that the containers of an app are made from.
func (d *Desired) Digest(app string) string {
	var out string
	for i := range d.Containers {
		if d.Containers[i].App == app {
			out += d.Containers[i].Digest()
		}
	}
	return out
}
