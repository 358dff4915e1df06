package compose

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/platformd/platformd/apps"
)

// imageName is the last part of a reference without tag and digest, and its tag.
func imageName(ref string) (name, tag string) {
	ref, _, _ = strings.Cut(ref, "@")
	name, tag, _ = strings.Cut(path.Base(ref), ":")
	return name, tag
}

// addonOf is the kind of addon that an image becomes, or nothing.
func addonOf(image string) string {
	name, _ := imageName(image)
	switch name {
	case "postgres", "postgresql":
		return "postgresql"
	case "mysql", "mariadb", "mysql-server":
		return "mariadb"
	case "redis", "valkey":
		return "redis"
	}
	return ""
}

// choose finds the service that becomes the app, and those that become addons.
func (im *importer) choose() error {
	names := slices.Sorted(maps.Keys(im.services))
	var candidates []*types.ServiceConfig
	kinds := map[string]string{}
	for _, n := range names {
		s := im.services[n]
		kind := addonOf(s.Image)
		if kind == "" || n == im.o.Service {
			candidates = append(candidates, s)
			continue
		}
		if first := kinds[kind]; first != "" {
			continue // told as another service; an app has one of each
		}
		kinds[kind] = n
		im.addons[n] = &addon{kind: kind, service: s}
	}
	if im.o.Service != "" {
		im.app = im.services[im.o.Service]
		if im.app == nil {
			return fmt.Errorf("service %q is not in the compose file; there are %s", im.o.Service, strings.Join(names, ", "))
		}
		return nil
	}
	if len(candidates) == 0 {
		return fmt.Errorf("the compose file has only databases (%s); choose one with --service to run it as an app", strings.Join(names, ", "))
	}
	needed := map[string]bool{}
	for _, s := range candidates {
		for n := range s.DependsOn {
			needed[n] = true
		}
	}
	score := func(s *types.ServiceConfig) int {
		n := 0
		if len(s.Profiles) > 0 {
			n -= 8
		}
		if len(s.Ports) > 0 {
			n += 4
		}
		if len(s.Expose) > 0 {
			n += 2
		}
		if !needed[s.Name] {
			n++
		}
		return n
	}
	im.app = slices.MaxFunc(candidates, func(a, b *types.ServiceConfig) int {
		return cmp.Or(score(a)-score(b), strings.Compare(b.Name, a.Name))
	})
	if len(candidates) > 1 {
		im.changed(service(im.app.Name), "is the app; another service is chosen with --service")
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// nameFrom makes a name of a manifest out of a text.
func nameFrom(s, otherwise string) string {
	s = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		s = strings.Trim(otherwise+"-"+s, "-")
	}
	return strings.TrimRight(s[:min(len(s), 32)], "-")
}

var releaseForm = regexp.MustCompile(`^v?[0-9][0-9A-Za-z.+-]*$`)

// identity fills in what the software is called.
func (im *importer) identity() {
	name, tag := imageName(im.app.Image)
	project, _ := im.file.values["name"].(string)
	im.m.Version = apps.ManifestVersion
	im.m.ID = nameFrom(cmp.Or(im.o.Name, shown(project), im.app.Name), "app")
	if im.o.Name == "" && project == "" && slices.Contains([]string{"app", "web", "server", "main", "service"}, im.m.ID) && name != "" {
		im.m.ID = nameFrom(name, "app")
	}
	if im.o.Name != "" {
		im.m.ID = im.o.Name
	}
	if releaseForm.MatchString(tag) {
		im.m.Release = tag
	}
	if project != "" {
		im.taken("name")
	}
}

// healthURL finds where a check looks, in a command such as curl -f http://localhost:3000/health.
var healthURL = regexp.MustCompile(`http://(?:localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)(?::([0-9]{1,5}))?(/[^\s"'|;)]*)?`)

// httpPort guesses where the app serves HTTP.
func (im *importer) httpPort() {
	at := service(im.app.Name)
	if im.o.HTTPPort != 0 {
		im.m.HTTP.Port = im.o.HTTPPort
		return
	}
	var found []uint16
	for _, p := range im.app.Ports {
		if p.Protocol != "udp" {
			found = append(found, uint16(p.Target))
		}
	}
	for _, e := range im.app.Expose {
		port, protocol, _ := strings.Cut(e, "/")
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && protocol != "udp" {
			found = append(found, uint16(n))
		}
	}
	if h := im.app.HealthCheck; h != nil {
		if m := healthURL.FindStringSubmatch(strings.Join(h.Test, " ")); m != nil && m[1] != "" {
			if n, err := strconv.ParseUint(m[1], 10, 16); err == nil {
				found = append(found, uint16(n))
			}
		}
	}
	found = slices.DeleteFunc(found, func(p uint16) bool { return slices.Contains(otherPorts(), p) })
	if len(found) == 0 {
		im.left(at, "nothing says on which port it serves HTTP, so no domain leads to it; name the port with --http-port")
		return
	}
	im.m.HTTP.Port = found[0]
	for _, p := range []uint16{80, 8080, 3000, 8000} {
		if slices.Contains(found, p) {
			im.m.HTTP.Port = p
			break
		}
	}
	im.changed(at, "is taken to serve HTTP on port %d; say otherwise with --http-port", im.m.HTTP.Port)
}

// otherPorts are known for something else than plain HTTP.
func otherPorts() []uint16 {
	return []uint16{0, 21, 22, 25, 53, 110, 143, 389, 443, 465, 587, 636, 853, 993, 995, 1194, 1883, 2222, 3306, 5432, 5672, 6379, 8443, 8883, 9418, 25565, 51820}
}
