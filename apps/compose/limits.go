package compose

import (
	"maps"
	"slices"

	"github.com/platformd/platformd/apps"
)

// limits takes the keys that say how much of the host the app may use.
func (im *importer) limits(key, at string, raw any) {
	s, l := im.app, &im.m.Limits
	switch key {
	case "mem_limit":
		l.Memory = apps.Size(s.MemLimit)
	case "memswap_limit", "mem_swappiness":
		im.changed(at, "an app has no swap")
		return
	case "cpus":
		l.CPUs = round(s.CPUS)
	case "pids_limit":
		l.PIDs = int(max(s.PidsLimit, 0))
	case "shm_size":
		l.Shm = apps.Size(s.ShmSize)
	case "ulimits":
		for _, n := range slices.Sorted(maps.Keys(s.Ulimits)) {
			u := s.Ulimits[n]
			if n != "nofile" {
				im.left(at+"."+n, "of these limits only nofile can be chosen")
				continue
			}
			l.Files = max(u.Single, u.Hard)
			im.taken(at + "." + n)
		}
		return
	case "deploy":
		im.deploy(at, raw)
		return
	default:
		return
	}
	im.taken(at)
}

func (im *importer) deploy(at string, raw any) {
	d := im.app.Deploy
	keys, _ := raw.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		p := at + "." + key
		switch key {
		case "resources":
			im.resources(p)
		case "replicas":
			if d.Replicas != nil && *d.Replicas == 1 {
				im.taken(p)
			} else {
				im.left(p, "an app has one container")
			}
		case "restart_policy":
			im.changed(p, "an app that ends is always started again, after ever longer pauses")
		case "labels":
			im.left(p, "labels are for other programs")
		default:
			im.left(p, "is for a cluster")
		}
	}
}

func (im *importer) resources(at string) {
	r, l := im.app.Deploy.Resources, &im.m.Limits
	if r.Reservations != nil {
		im.left(at+".reservations", "nothing is reserved for an app; limits keep the others from taking all")
	}
	if r.Limits == nil {
		return
	}
	if n := r.Limits.MemoryBytes; n != 0 {
		l.Memory = apps.Size(n)
		im.taken(at + ".limits.memory")
	}
	if n := r.Limits.NanoCPUs; n != 0 {
		l.CPUs = round(float32(n))
		im.taken(at + ".limits.cpus")
	}
	if n := r.Limits.Pids; n != 0 {
		l.PIDs = int(n)
		im.taken(at + ".limits.pids")
	}
}

// round undoes what float32 does to 0.1.
func round(f float32) float64 { return float64(int64(float64(f)*1000+0.5)) / 1000 }
