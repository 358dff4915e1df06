package compose

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/proxy/field"
)

// addon is a service that becomes one, with what the compose file sets it up with.
type addon struct {
	kind                        string
	service                     *types.ServiceConfig
	users, passwords, databases []string
	// alike are beginnings of the names of the app's variables that are about this addon.
	alike []string
}

func (a *addon) port() int {
	return map[string]int{"postgresql": 5432, "mariadb": 3306, "redis": 6379}[a.kind]
}

// Variables of the images of databases that the addon sets itself.
var (
	addonUser     = regexp.MustCompile(`^(POSTGRES|POSTGRESQL|MYSQL|MARIADB)_(USER|USERNAME)$`)
	addonPassword = regexp.MustCompile(`^(POSTGRES|POSTGRESQL|MYSQL|MARIADB|MYSQL_ROOT|MARIADB_ROOT|REDIS)_PASSWORD(_FILE)?$`)
	addonDatabase = regexp.MustCompile(`^(POSTGRES_DB|POSTGRESQL_DATABASE|MYSQL_DATABASE|MARIADB_DATABASE)$`)
	addonNothing  = regexp.MustCompile(`^(MARIADB_AUTO_UPGRADE|MYSQL_RANDOM_ROOT_PASSWORD|MARIADB_RANDOM_ROOT_PASSWORD|MARIADB_DISABLE_UPGRADE_BACKUP|PGDATA|TZ)$`)
	requirePass   = regexp.MustCompile(`--requirepass[ =]+(\S+)`)
)

// learn finds users, passwords and databases, so that they are recognised in the environment of the app.
func (a *addon) learn() {
	for k, v := range a.service.Environment {
		if v == nil || *v == "" {
			continue
		}
		switch {
		case addonUser.MatchString(k):
			a.users = append(a.users, *v)
		case addonPassword.MatchString(k):
			a.passwords = append(a.passwords, *v)
		case addonDatabase.MatchString(k):
			a.databases = append(a.databases, *v)
		}
	}
	if m := requirePass.FindStringSubmatch(strings.Join(a.service.Command, " ")); m != nil {
		a.passwords = append(a.passwords, strings.Trim(m[1], `"'`))
	}
	if a.kind == "mariadb" {
		a.users = append(a.users, "root")
	}
	if a.kind == "postgresql" {
		a.users = append(a.users, "postgres")
		if len(a.databases) == 0 { // the image makes one that is called like the user
			a.databases = append(a.databases, a.users...)
		}
	}
}

// takeAddon goes through every key of a service that becomes an addon.
func (im *importer) takeAddon(a *addon) {
	if im.m.Addons == nil {
		im.m.Addons = map[string]apps.Addon{}
	}
	im.m.Addons[a.kind] = apps.Addon{}
	at := service(a.service.Name)
	raw := im.raw(a.service.Name)
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		p := at + "." + key
		switch key {
		case "image":
			im.changed(p, "is the addon %s, of the version that this host has", a.kind)
		case "environment":
			im.addonEnvironment(a, p)
		case "volumes":
			im.addonFolders(a, p)
		case "command", "entrypoint":
			if a.kind == "redis" && addonCommand(a.service.Command) {
				im.changed(p, "the addon has a password of its own, and keeps its data")
			} else {
				im.left(p, "the server of an addon is set up by the host")
			}
		case "ports":
			im.left(p, "an addon is reached by its app alone")
		case "healthcheck", "expose", "init", "read_only", "cap_drop", "cap_add", "security_opt", "user", "shm_size", "stop_grace_period", "stop_signal", "ulimits", "tmpfs", "pids_limit", "cpus", "privileged":
			im.changed(p, "the host looks after the server of an addon, and confines it")
		case "restart":
			im.say(Taken, p, "an addon that ends is always started again")
		case "depends_on", "links":
			im.left(p, "an addon waits for nobody")
		case "mem_limit", "deploy":
			im.addonMemory(a, p)
		default:
			if key == "networks" {
				im.changed(p, "an addon is in the network of its app")
			} else if text, same := instead()[key]; same {
				im.changed(p, "%s", strings.ReplaceAll(text, "app", "addon"))
			} else if why, never := reasons()[key]; never {
				im.left(p, "%s", why)
			}
		}
	}
}

// addonCommand reports whether a command of Redis says only what the addon does anyway.
func addonCommand(command []string) bool {
	words := strings.Fields(strings.Join(command, " "))
	for i, w := range words {
		known := []string{"redis-server", "valkey-server", "--requirepass", "--appendonly", "yes", "--save", "--loglevel", "warning", "notice"}
		if !slices.Contains(known, w) && strings.Trim(w, "0123456789") != "" && (i == 0 || words[i-1] != "--requirepass") {
			return false
		}
	}
	return true
}

func (im *importer) addonEnvironment(a *addon, at string) {
	for _, k := range slices.Sorted(maps.Keys(a.service.Environment)) {
		p := field.Key(at, k)
		switch {
		case addonPassword.MatchString(k):
			im.changed(p, "the addon makes a password: ${%s.password}", a.kind)
		case addonUser.MatchString(k):
			im.changed(p, "the addon makes a user: ${%s.user}", a.kind)
		case addonDatabase.MatchString(k):
			im.changed(p, "the addon makes a database: ${%s.database}", a.kind)
		case addonNothing.MatchString(k):
			im.changed(p, "the host sets the server up")
		default:
			im.left(p, "the server of an addon is set up by the host")
		}
	}
}

func (im *importer) addonFolders(a *addon, at string) {
	folders := []string{"/var/lib/postgresql", "/var/lib/postgresql/data", "/var/lib/mysql", "/data", "/bitnami/postgresql", "/bitnami/mariadb"}
	for i, v := range a.service.Volumes {
		p := field.Index(at, i)
		if slices.Contains(folders, v.Target) {
			im.changed(p, "the addon keeps its data itself, and begins empty; bring what there is over by a dump")
			if v.Type == "volume" && v.Source != "" {
				im.volumes[v.Source] = "the addon " + a.kind
			}
			continue
		}
		im.left(p, "the server of an addon gets no other folders; run scripts for the database by platformctl app exec")
	}
}

func (im *importer) addonMemory(a *addon, at string) {
	s := a.service
	memory := apps.Size(s.MemLimit)
	if s.Deploy != nil && s.Deploy.Resources.Limits != nil {
		memory = apps.Size(s.Deploy.Resources.Limits.MemoryBytes)
	}
	if a.kind != "redis" || memory == 0 {
		im.left(at, "the server of an addon is shared by apps, and the host bounds it")
		return
	}
	im.m.Addons[a.kind] = apps.Addon{Memory: memory}
	im.changed(at, "of this only the memory is taken: %v", memory)
}
