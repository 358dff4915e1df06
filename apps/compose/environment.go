package compose

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/platformd/platformd/proxy/field"
)

// Names of variables that hold what an addon provides.
var (
	passwordKey = regexp.MustCompile(`(?i)(pass|passwd|password|pwd|secret)$`)
	userKey     = regexp.MustCompile(`(?i)user(name)?$`)
	databaseKey = regexp.MustCompile(`(?i)(database|dbname|db|_name)$`)
	portKey     = regexp.MustCompile(`(?i)port$`)
	hostKey     = regexp.MustCompile(`(?i)^(.*?)(host|hostname|server|address)$`)
	hostLike    = regexp.MustCompile(`(?i)(host|hostname|server|address|addr|url|endpoint)$`)
	localURL    = regexp.MustCompile(`^https?://(localhost|127\.0\.0\.1)(:[0-9]+)?(/?)$`)
)

// environment takes the variables of the app, and rewrites what they say of services that become addons.
func (im *importer) environment(at string) {
	im.m.Env = map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(im.app.Environment)) {
		v, p := im.app.Environment[k], field.Key(at, k)
		if v == nil {
			given, ok := im.o.Variables[k]
			if !ok {
				im.left(p, "has no value, and the environment of who imports is not read; give it with --set %s=VALUE", k)
				continue
			}
			v = &given
		}
		if strings.HasPrefix(*v, "/run/secrets/") {
			im.left(p, "secrets are not read from files; if the app knows it, write %s: ${secret.key} and secrets: [{name: key}] into the manifest", strings.TrimSuffix(k, "_FILE"))
			continue
		}
		// A dollar sign of the value stands for itself.
		text := strings.ReplaceAll(*v, "$", "$$")
		rewritten := text
		for _, name := range slices.Sorted(maps.Keys(im.addons)) {
			rewritten = im.addons[name].rewrite(k, rewritten)
		}
		if m := localURL.FindStringSubmatch(rewritten); m != nil {
			rewritten = "${origin}" + m[3]
		}
		im.m.Env[k] = rewritten
		if rewritten != text {
			im.changed(p, "is %s", rewritten)
		} else if a := im.addons[text]; a != nil {
			im.say(Taken, p, "if the host of the database is meant, write ${%s.host}", a.kind)
		} else if !strings.Contains(text, openUnset) {
			im.taken(p)
		}
	}
}

// learnNames finds the variables of the app that name the addon's host: those called alike hold its user, password and so on.
func (a *addon) learnNames(env map[string]*string) {
	for k, v := range env {
		if m := hostKey.FindStringSubmatch(k); m != nil && v != nil {
			if host, _, _ := strings.Cut(*v, ":"); host == a.service.Name {
				a.alike = append(a.alike, m[1])
			}
		}
	}
}

// named reports whether a variable is called like the one of the addon's host, and ends in one of these words.
func (a *addon) named(key string, words ...string) bool {
	return slices.ContainsFunc(a.alike, func(prefix string) bool {
		rest, ok := strings.CutPrefix(key, prefix)
		return ok && slices.Contains(words, strings.ToLower(rest))
	})
}

// rewrite puts what the addon provides in the place of what the compose file says of its service.
func (a *addon) rewrite(key, value string) string {
	said := func(list []string) bool {
		return value != "" && slices.Contains(list, strings.ReplaceAll(value, "$$", "$"))
	}
	switch {
	case a.kind != "redis" && (databaseKey.MatchString(key) && said(a.databases) || a.named(key, "database", "dbname", "name", "db")):
		return "${" + a.kind + ".database}"
	case a.kind != "redis" && (userKey.MatchString(key) && said(a.users) || a.named(key, "user", "username")):
		return "${" + a.kind + ".user}"
	case passwordKey.MatchString(key) && said(a.passwords) || a.named(key, "password", "passwd", "pass"):
		return "${" + a.kind + ".password}"
	case portKey.MatchString(key) && value == strconv.Itoa(a.port()) || a.named(key, "port"):
		return "${" + a.kind + ".port}"
	}
	if value == a.service.Name && !hostLike.MatchString(key) {
		return value // a kind of database, as often as a host
	}
	return a.hosts(a.urls(value))
}

// urls rewrites scheme://user:password@service:port/database.
func (a *addon) urls(value string) string {
	re := regexp.MustCompile(`([a-z][a-z0-9+.-]*://)(?:([^:@/\s]*)(?::([^@/\s]*))?@)?` + regexp.QuoteMeta(a.service.Name) + `(:[0-9]+)?(/[A-Za-z0-9_⟦⟧-]+)?($|[/?\s"'])`)
	return re.ReplaceAllStringFunc(value, func(whole string) string {
		m := re.FindStringSubmatch(whole)
		out := m[1]
		switch {
		case a.kind == "redis":
			out += ":${redis.password}@"
		case m[2] != "":
			out += "${" + a.kind + ".user}:${" + a.kind + ".password}@"
		}
		out += "${" + a.kind + ".host}"
		if m[4] != "" {
			out += ":${" + a.kind + ".port}"
		}
		if m[5] != "" && a.kind != "redis" {
			m[5] = "/${" + a.kind + ".database}"
		}
		return out + m[5] + m[6]
	})
}

// hosts rewrites the name of the service where it stands as a host: alone, with a port, or in tcp(service:port).
func (a *addon) hosts(value string) string {
	re := regexp.MustCompile(`(^|[@/=(,;\s])` + regexp.QuoteMeta(a.service.Name) + `(:[0-9]+)?($|[/?),;\s])`)
	return re.ReplaceAllStringFunc(value, func(whole string) string {
		m := re.FindStringSubmatch(whole)
		if m[2] == "" && m[1] == "/" { // a folder that is called like the service
			return whole
		}
		out := m[1] + "${" + a.kind + ".host}"
		if m[2] != "" {
			out += ":${" + a.kind + ".port}"
		}
		return out + m[3]
	})
}

// tellPasswords notes addons that want a password which the app is not told.
func (im *importer) tellPasswords() {
	for _, name := range slices.Sorted(maps.Keys(im.addons)) {
		a := im.addons[name]
		want := "${" + a.kind + ".password}"
		if !slices.ContainsFunc(slices.Collect(maps.Values(im.m.Env)), func(v string) bool { return strings.Contains(v, want) }) {
			im.left(service(name), "the addon %s wants a password, and no variable of the app holds it; add one to env whose value is %s", a.kind, want)
		}
	}
}
