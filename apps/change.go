package apps

import (
	"fmt"
	"maps"
	"strings"
)

// Placeholder is a version of a manifest whose image is not known yet, with which the rest of a document can be checked.
func Placeholder(m Manifest) Version {
	return Version{Manifest: m, ImageID: "sha256:" + strings.Repeat("0", 64), User: "1:1", Slot: SlotA, Data: 1}
}

// Update puts a version on its way. It runs on a copy of the data, or beside the current one where both may share them.
func (a *App) Update(v Version) error {
	if err := a.free(); err != nil {
		return err
	}
	v.Slot, v.Data, v.From = a.Current.OtherSlot(), a.Current.Data, 0
	if !a.sharesData(&v) {
		v.Data, v.From = a.newData(), a.Current.Data
	}
	a.Next = &v
	return nil
}

// Rollback puts the version before on its way, on a copy of the data that it had, or with keepData of those of now.
func (a *App) Rollback(keepData bool) error {
	if a.Previous == nil {
		return fmt.Errorf("app %q: there is no version to go back to", a.Name)
	}
	if err := a.free(); err != nil {
		return err
	}
	v := *a.Previous
	v.Slot, v.From = a.Current.OtherSlot(), v.Data
	if keepData {
		v.From = a.Current.Data
	}
	v.Data = a.newData()
	a.Next = &v
	return nil
}

// free says why an app cannot be changed by anything else right now.
func (a *App) free() error {
	switch {
	case a.Next != nil:
		return fmt.Errorf("app %q: an update to %s is under way; wait until it is over", a.Name, a.Next.Name())
	case len(a.Debug) > 0:
		return fmt.Errorf("app %q: its process is replaced for debugging; platformctl app start %s ends that", a.Name, a.Name)
	}
	return nil
}

// StartDebug replaces the process of the app by another program, until Start.
func (a *App) StartDebug(command []string) error {
	if err := a.free(); err != nil {
		return err
	}
	if len(command) == 0 || command[0] == "" {
		return fmt.Errorf("app %q: name a program of the image that goes on running, for example: sleep infinity", a.Name)
	}
	a.Debug, a.Stopped = command, false
	return nil
}

// Start has it run its own process, whatever was before.
func (a *App) Start() { a.Stopped, a.Debug = false, nil }

// Clone is the app under another name, without an update that is under way and without a way back. Its published ports are
// closed, because the host has each once.
func (a *App) Clone(name, domain string) (App, error) {
	for kind := range a.Current.Manifest.Addons {
		if kind != "localstorage" && kind != "scheduler" {
			return App{}, fmt.Errorf("app %q: it has the addon %s, whose data cannot be copied yet; install another one, and bring the data over by a dump", a.Name, kind)
		}
	}
	if err := a.free(); err != nil {
		return App{}, err
	}
	c := App{Name: name, Domain: domain, Current: a.Current, Env: maps.Clone(a.Env), Limits: a.Limits, Egress: a.Egress}
	c.Current.Slot, c.Current.Data, c.Current.From = SlotA, 1, 0
	for _, p := range a.Current.Manifest.Ports {
		c.SetPorts(map[string]uint16{p.Name: 0})
	}
	return c, nil
}

// sharesData reports whether v may run on the data of the current version beside it: both manifests say so, the folders are
// the same, and no port of the host can be had by only one of them.
func (a *App) sharesData(v *Version) bool {
	now, then := &a.Current.Manifest, &v.Manifest
	if !now.Overlap || !then.Overlap || a.Current.User != v.User || len(now.Data) != len(then.Data) || len(then.Ports)+len(now.Ports) > 0 {
		return false
	}
	for i := range now.Data {
		if now.Data[i] != then.Data[i] {
			return false
		}
	}
	return true
}

// newData is a number that no version has.
func (a *App) newData() int {
	n := 1
	for _, v := range a.Versions() {
		n = max(n, v.Data+1)
	}
	return n
}

// SetEnv sets variables of the operator's; an empty value takes one away.
func (a *App) SetEnv(env map[string]string) {
	if len(env) > 0 && a.Env == nil {
		a.Env = map[string]string{}
	}
	maps.Copy(a.Env, env)
	maps.DeleteFunc(a.Env, func(_, v string) bool { return v == "" })
}

// SetPorts chooses ports of the host; 0 closes one.
func (a *App) SetPorts(ports map[string]uint16) {
	if len(ports) > 0 && a.Ports == nil {
		a.Ports = map[string]uint16{}
	}
	maps.Copy(a.Ports, ports)
}
