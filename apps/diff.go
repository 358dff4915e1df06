package apps

import (
	"fmt"
	"slices"
	"strings"
)

// Verb is what a Step does.
type Verb string

// The verbs, in the order of a plan.
const (
	Stop          Verb = "stop"
	Remove        Verb = "remove"
	RemoveNetwork Verb = "remove-network"
	RemoveVolume  Verb = "remove-volume"
	MakeNetwork   Verb = "make-network"
	MakeVolume    Verb = "make-volume"
	Create        Verb = "create"
	Start         Verb = "start"
)

// Step is one thing that an engine is asked to do.
type Step struct {
	Verb Verb
	App  string
	// Name is that of the container, network or volume.
	Name string
	// Why says what was found to be otherwise than wanted.
	Why string
}

// String is one line of a plan.
func (s Step) String() string {
	if s.Why == "" {
		return fmt.Sprintf("%s %s", s.Verb, s.Name)
	}
	return fmt.Sprintf("%s %s: %s", s.Verb, s.Name, s.Why)
}

// Diff lists what is to be done so that an engine holds what is wanted, in the order in which it can be done. Things with
// our label that nobody wants are removed; volumes only lose their name, never the folder behind it.
func Diff(want *Desired, have *Observed) []Step {
	var stop, remove, create, start []Step
	wanted := map[string]*Container{}
	for i := range want.Containers {
		wanted[want.Containers[i].Name] = &want.Containers[i]
	}
	found := map[string]bool{}
	for _, s := range have.Containers {
		c := wanted[s.Name]
		why := ""
		switch {
		case c == nil:
			why = "not wanted"
		case c.Digest() != s.Digest:
			why = "made for something else"
		}
		if why != "" {
			if s.Running {
				stop = append(stop, Step{Stop, s.App, s.Name, why})
			}
			remove = append(remove, Step{Remove, s.App, s.Name, why})
			continue
		}
		found[s.Name] = true
		switch off := want.Stopped[s.Name]; {
		case off && s.Running:
			stop = append(stop, Step{Stop, s.App, s.Name, "to be stopped"})
		case off || s.Running:
		case s.Status == "created":
			start = append(start, Step{Start, s.App, s.Name, s.Status})
		default:
			// A container that has run is made anew: a second start would mount its tmpfs with the mode of the folder
			// underneath, which is not the one that was asked for (runc).
			remove = append(remove, Step{Remove, s.App, s.Name, s.Status})
			create = append(create, Step{Create, s.App, s.Name, s.Status})
			start = append(start, Step{Start, s.App, s.Name, s.Status})
		}
	}
	networks, gone := networkSteps(want, have)
	volumes, lost := volumeSteps(want, have)
	for _, c := range want.Containers {
		if !found[c.Name] {
			create = append(create, Step{Create, c.App, c.Name, ""})
			if !want.Stopped[c.Name] {
				start = append(start, Step{Start, c.App, c.Name, ""})
			}
		}
	}
	return slices.Concat(stop, remove, gone, lost, networks, volumes, create, start)
}

func networkSteps(want *Desired, have *Observed) (missing, left []Step) {
	wanted := map[string]bool{}
	for _, n := range want.Networks {
		wanted[n.Name] = true
		if _, there := have.Networks[n.Name]; !there {
			missing = append(missing, Step{MakeNetwork, n.App, n.Name, ""})
		}
	}
	return missing, unwanted(RemoveNetwork, have.Networks, wanted)
}

func volumeSteps(want *Desired, have *Observed) (missing, left []Step) {
	wanted := map[string]bool{}
	for _, v := range want.Volumes {
		wanted[v.Name] = true
		if _, there := have.Volumes[v.Name]; !there {
			missing = append(missing, Step{MakeVolume, v.App, v.Name, ""})
		}
	}
	return missing, unwanted(RemoveVolume, have.Volumes, wanted)
}

// unwanted is sorted, so that a plan reads the same twice.
func unwanted(verb Verb, have map[string]string, wanted map[string]bool) []Step {
	var out []Step
	for name, app := range have {
		if !wanted[name] {
			out = append(out, Step{verb, app, name, "not wanted"})
		}
	}
	slices.SortFunc(out, func(a, b Step) int { return strings.Compare(a.Name, b.Name) })
	return out
}
