package apps

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Facts are what the meaning of a Config depends on beside itself.
type Facts struct {
	// Secret is a value of an app that was generated: "secret.NAME", "postgresql.password".
	Secret func(app, name string) (string, error)
	// AppArmor is whether the kernel confines by profiles.
	AppArmor bool
	// Phase says what an app with a Next is doing; none is PhaseCurrent.
	Phase map[string]Phase
}

// Phase is a stage of an update. It is found again by looking at what is there, and so is not in the document.
type Phase string

// The phases. In PhaseCurrent the current version alone runs. In PhaseCopy none does, while its data is copied. In PhaseNext
// the next one runs, beside the current one where both may share their data.
const (
	PhaseCurrent Phase = ""
	PhaseCopy    Phase = "copy"
	PhaseNext    Phase = "next"
)

// Compile says what the apps mean for an engine.
func (c *Config) Compile(f Facts) Desired {
	d := Desired{Stopped: map[string]bool{}, Broken: map[string]error{}}
	for i := range c.Apps {
		c.compileApp(&d, &c.Apps[i], f)
	}
	return d
}

func (c *Config) compileApp(d *Desired, a *App, f Facts) {
	v4, v6 := c.Subnets(a.Network)
	d.Networks = append(d.Networks, Network{Name: NetworkName(a.Name), App: a.Name, Bridge: a.Bridge(), V4: v4, V6: v6})
	versions, phase := []*Version{&a.Current}, f.Phase[a.Name]
	if a.Next == nil {
		phase = PhaseCurrent
	}
	if phase == PhaseNext {
		versions = append(versions, a.Next)
	}
	seen := map[string]bool{}
	for _, v := range versions {
		for _, vol := range a.Volumes(v) {
			if !seen[vol.Name] {
				d.Volumes, seen[vol.Name] = append(d.Volumes, vol), true
			}
		}
		ct, err := c.container(a, v, f)
		if err != nil {
			d.Broken[a.Name] = err
		}
		d.Containers = append(d.Containers, ct)
		pausing := phase != PhaseCurrent && !a.overlaps()
		d.Stopped[ct.Name] = a.Stopped || v == &a.Current && pausing
	}
}

// overlaps reports whether both versions of an update may run at once.
func (a *App) overlaps() bool { return a.Next != nil && a.Next.Data == a.Current.Data }

// NetworkName, ContainerName and ProfileName are what things of an app are called.
func NetworkName(app string) string { return "platform-" + app }

// ContainerName is that of a slot.
func ContainerName(app, slot string) string { return "platform-" + app + "-" + slot }

// ProfileName is that of the AppArmor profile.
func ProfileName(app string) string { return "platform-app-" + app }

// DataFolder is where a version keeps its data, below the folder of all apps.
func DataFolder(app string, data int) string { return fmt.Sprintf("%s/data/%d", app, data) }

// Volumes are the folders of a version.
func (a *App) Volumes(v *Version) []Volume {
	var out []Volume
	for _, d := range v.Manifest.Data {
		out = append(out, Volume{
			Name: fmt.Sprintf("platform-%s-%d-%s", a.Name, v.Data, d.Name), App: a.Name, Exec: d.Exec, Folder: DataFolder(a.Name, v.Data) + "/" + d.Name,
		})
	}
	return out
}

func (c *Config) container(a *App, v *Version, f Facts) (Container, error) {
	m := &v.Manifest
	v4, v6 := c.Subnets(a.Network)
	place := placeOf(v.Slot)
	out := Container{
		Name: ContainerName(a.Name, v.Slot), App: a.Name, Role: RoleApp, Slot: v.Slot, ImageID: v.ImageID,
		Entrypoint: m.Entrypoint, Command: m.Command, User: v.User, Hostname: a.Name, Tmpfs: tmpfs(m.Tmpfs),
		Network: NetworkName(a.Name), V4: plus(v4.Addr(), place), V6: plus(v6.Addr(), place),
		Limits: a.Limits.Over(m.Limits).WithDefaults(), Capabilities: slices.Sorted(slices.Values(m.Capabilities)), Starts: a.Starts,
		StopSignal: m.StopSignal, StopGrace: int(cmp.Or(time.Duration(m.StopGrace), stopGrace) / time.Second),
	}
	gateway4, gateway6 := c.Gateways(a)
	out.DNS = []netip.Addr{gateway4, gateway6}
	if len(a.Debug) > 0 {
		out.Entrypoint, out.Command, out.Writable = a.Debug, nil, true
	}
	for i, vol := range a.Volumes(v) {
		out.Mounts = append(out.Mounts, Mount{Volume: vol.Name, Path: m.Data[i].Path})
	}
	for _, p := range m.Ports {
		for n := range max(p.Count, 1) {
			if host := a.PortOf(p); host != 0 {
				out.Publish = append(out.Publish, Published{Protocol: Protocol(p.Protocol), Host: host + uint16(n), Container: p.Container + uint16(n)})
			}
		}
	}
	if f.AppArmor {
		out.Profile = ProfileName(a.Name)
	}
	env := maps.Clone(m.Env)
	if env == nil {
		env = map[string]string{}
	}
	var failed error
	value := func(name string) string {
		v, err := a.variable(name, f)
		failed = errors.Join(failed, err)
		return v
	}
	for k, text := range env {
		env[k] = Expand(text, value)
	}
	maps.Copy(env, a.Env)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out.Env = append(out.Env, k+"="+env[k])
	}
	return out, failed
}

// stopGrace is the default of Manifest.StopGrace.
const stopGrace = 10 * time.Second

// RoleApp is the role of an app's own container; those of addons have the addon's name.
const RoleApp = "app"

func (a *App) variable(name string, f Facts) (string, error) {
	switch name {
	case "name":
		return a.Name, nil
	case "domain":
		return a.Domain, nil
	case "origin":
		return "https://" + a.Domain, nil
	}
	return f.Secret(a.Name, name)
}

// Protocol is p, or "tcp".
func Protocol(p string) string {
	if p == "" {
		return "tcp"
	}
	return p
}

// tmpfs fills defaults in, and gives every app a /tmp.
func tmpfs(list []Tmpfs) []Tmpfs {
	out := slices.Clone(list)
	if !slices.ContainsFunc(out, func(t Tmpfs) bool { return t.Path == "/tmp" }) {
		out = append(out, Tmpfs{Path: "/tmp"})
	}
	for i := range out {
		if out[i].Size == 0 {
			out[i].Size = 64 << 20
		}
		if out[i].Mode == "" {
			out[i].Mode = "1777"
		}
	}
	return out
}
