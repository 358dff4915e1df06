package compose

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/proxy/field"
)

// takeApp goes through every key of the service that becomes the app.
func (im *importer) takeApp() {
	at := service(im.app.Name)
	raw := im.raw(im.app.Name)
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		p := at + "." + key
		if why, never := reasons()[key]; never {
			im.left(p, "%s", why)
		} else if text, same := instead()[key]; same {
			im.changed(p, "%s", text)
		} else {
			im.takeKey(key, p, raw[key])
		}
	}
}

func (im *importer) raw(service string) map[string]any {
	all, _ := im.model["services"].(map[string]any)
	raw, _ := all[service].(map[string]any)
	return raw
}

// takeKey takes one key of the app. What it does not know is found by the sweep.
func (im *importer) takeKey(key, at string, raw any) {
	s := im.app
	switch key {
	case "image":
		im.m.Image = s.Image
		im.taken(at)
	case "command":
		im.m.Command = s.Command
		im.taken(at)
	case "entrypoint":
		im.m.Entrypoint = s.Entrypoint
		im.taken(at)
	case "environment":
		im.environment(at)
	case "volumes":
		im.folders(at)
	case "tmpfs":
		im.tmpfs(at)
	case "ports":
		im.ports(at)
	case "expose":
		im.taken(at)
	case "healthcheck":
		im.health(at)
	case "user":
		im.user(at)
	case "read_only":
		im.say(Taken, at, "the root file system of an app is always read-only")
	case "init":
		im.say(Taken, at, "an app always has one")
	case "privileged":
		im.left(at, "an app has no privileges; name the capabilities that it needs: %s", strings.Join(apps.CapabilitiesAllowed(), ", "))
	case "cap_add":
		for i, c := range s.CapAdd {
			if c := strings.TrimPrefix(strings.ToUpper(c), "CAP_"); slices.Contains(apps.CapabilitiesAllowed(), c) {
				im.m.Capabilities = append(im.m.Capabilities, c)
				im.taken(field.Index(at, i))
			} else {
				im.left(field.Index(at, i), "an app cannot have %s; those that it can are %s", c, strings.Join(apps.CapabilitiesAllowed(), ", "))
			}
		}
	case "cap_drop":
		im.say(Taken, at, "an app has no capabilities but those that are added")
	case "security_opt":
		for i, o := range s.SecurityOpt {
			if strings.HasPrefix(strings.ReplaceAll(o, "=", ":"), "no-new-privileges") {
				im.say(Taken, field.Index(at, i), "an app never gains privileges")
			} else {
				im.left(field.Index(at, i), "every app has the host's own profile of system calls and of AppArmor")
			}
		}
	case "restart":
		if s.Restart == "no" {
			im.left(at, "an app that ends is always started again; stop it with platformctl app stop")
		} else {
			im.say(Taken, at, "an app that ends is always started again")
		}
	case "network_mode":
		if s.NetworkMode == "bridge" || s.NetworkMode == "default" {
			im.taken(at)
		} else {
			im.left(at, "an app has a network of its own, and never that of the host or of another container; publish the ports that it needs under ports")
		}
	case "depends_on":
		for _, n := range slices.Sorted(maps.Keys(s.DependsOn)) {
			im.needs(at+"."+n, n)
		}
	case "links":
		for i, l := range s.Links {
			n, _, _ := strings.Cut(l, ":")
			im.needs(field.Index(at, i), n)
		}
	case "stop_signal":
		signal := "SIG" + strings.TrimPrefix(s.StopSignal, "SIG")
		if why := refused(apps.Manifest{StopSignal: signal}); why != "" {
			im.left(at, "%s", why)
			return
		}
		im.m.StopSignal = signal
		im.taken(at)
	case "stop_grace_period":
		if s.StopGracePeriod == nil {
			return
		}
		im.m.StopGrace = field.Duration(min(max(time.Duration(*s.StopGracePeriod), time.Second), 10*time.Minute))
		im.say(Taken, at, "%v", im.m.StopGrace)
	case "scale":
		if s.Scale != nil && *s.Scale == 1 {
			im.taken(at)
		} else {
			im.left(at, "an app has one container")
		}
	default:
		im.limits(key, at, raw)
	}
}

// needs says of another service what the app gets in its place.
func (im *importer) needs(at, service string) {
	if a := im.addons[service]; a != nil {
		im.say(Taken, at, "the addon %s is there before the app", a.kind)
		return
	}
	im.left(at, "the service %s is another app, and apps do not wait for each other", service)
}

func (im *importer) user(at string) {
	name, _, _ := strings.Cut(im.app.User, ":")
	switch {
	case name == "root" || strings.Trim(name, "0") == "":
		im.left(at, "an app never runs as root; it runs as the user of its image, or as 10001: name one that the image can run as, for example 1000:1000")
	case strings.Trim(im.app.User, "0123456789:") != "":
		im.left(at, "%q is not a number; write UID:GID", im.app.User)
	default:
		im.m.User = im.app.User
		im.taken(at)
	}
}

// health takes a check that asks over HTTP.
func (im *importer) health(at string) {
	h := im.app.HealthCheck
	raw, _ := im.raw(im.app.Name)["healthcheck"].(map[string]any)
	found := healthURL.FindStringSubmatch(strings.Join(h.Test, " "))
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		p := at + "." + key
		var d *field.Duration
		var from time.Duration
		switch {
		case key == "test" && (h.Disable || len(h.Test) > 0 && h.Test[0] == "NONE"), key == "disable":
			im.left(p, "whether an app answers is always looked at")
		case key == "test" && found != nil && im.m.HTTP.Port != 0:
			im.m.Health.Path = found[2]
			if im.m.Health.Path == "" {
				im.m.Health.Path = "/"
			}
			im.changed(p, "the host asks for %s on port %d itself, and takes every answer below 500 for a good one", im.m.Health.Path, im.m.HTTP.Port)
		case key == "test":
			im.left(p, "a command in the container is not run; the host asks over HTTP: write health: {path: ...} into the manifest")
		case key == "interval" && h.Interval != nil:
			d, from = &im.m.Health.Interval, time.Duration(*h.Interval)
		case key == "timeout" && h.Timeout != nil:
			d, from = &im.m.Health.Timeout, min(time.Duration(*h.Timeout), time.Minute)
		case key == "start_period" && h.StartPeriod != nil:
			d, from = &im.m.Health.Grace, time.Duration(*h.StartPeriod)
		case key == "retries":
			im.changed(p, "three bad answers in a row make an app unhealthy")
		case key == "start_interval":
			im.changed(p, "an app that starts is asked five times a second")
		}
		if d != nil {
			*d = field.Duration(min(max(from, time.Second), time.Hour))
			im.say(Taken, p, "%v", *d)
		}
	}
}
