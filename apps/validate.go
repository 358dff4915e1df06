package apps

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/field"
)

// Bounds of a manifest.
const (
	maxTitle   = 100
	maxText    = 16 << 10
	maxEntries = 64
	minMemory  = 6 << 20 // what Docker accepts
	maxPIDs    = 32768
	maxValue   = 32 << 10
)

var (
	nameForm     = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)
	variableForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	userForm     = regexp.MustCompile(`^[0-9]{1,10}(:[0-9]{1,10})?$`)
	imageForm    = regexp.MustCompile(`^[a-z0-9]([a-zA-Z0-9._:/-]*[a-zA-Z0-9])?(@sha256:[0-9a-f]+)?$`)
	packageForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*$`)
)

// CapabilitiesAllowed are those that a manifest may keep, as capabilities(7) names them without CAP_.
func CapabilitiesAllowed() []string {
	return []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"}
}

// Validate says everything that is wrong with m, each mistake by the path of its field.
func (m *Manifest) Validate() error {
	var e field.Errors
	if m.Version != ManifestVersion {
		e.Add("version", "%d is not known to this program; write 1", m.Version)
	}
	name(&e, "id", m.ID)
	if len(m.Title) > maxTitle {
		e.Add("title", "has %d bytes; at most %d", len(m.Title), maxTitle)
	}
	for p, text := range map[string]string{"description": m.Description, "message": m.Message} {
		if len(text) > maxText {
			e.Add(p, "has %d bytes; at most %d", len(text), maxText)
		}
	}
	switch {
	case m.Image == "" && m.Build == nil:
		e.Add("image", "is missing; name an image, or say in build how it is made of Debian packages")
	case m.Image != "" && (!imageForm.MatchString(m.Image) || len(m.Image) > 400):
		e.Add("image", "%q is not a reference to an image; write for example docker.io/library/nginx:1.27 or nginx@sha256:...", m.Image)
	}
	if m.Build != nil {
		e.Join("build", m.Build.validate())
	}
	m.validatePorts(&e)
	m.validateHealth(&e)
	m.validateAddons(&e)
	e.Join("limits", m.Limits.Validate())
	m.validateEnvironment(&e)
	m.validateFolders(&e)
	for i, c := range m.Capabilities {
		if !slices.Contains(CapabilitiesAllowed(), c) {
			e.Add(field.Index("capabilities", i), "%q cannot be kept; those that can are %s", c, strings.Join(CapabilitiesAllowed(), ", "))
		}
	}
	e.Join("egress", m.Egress.validate())
	m.validateRest(&e)
	return e.Err()
}

func name(e *field.Errors, at, s string) {
	if !nameForm.MatchString(s) {
		e.Add(at, "%q is not a name; write 1 to 32 lower-case letters, digits and dashes, a letter first", s)
	}
}

// unique notes names that come twice.
func unique(e *field.Errors, list, what string, names []string) {
	seen := map[string]int{}
	for i, n := range names {
		if first, twice := seen[n]; twice && n != "" {
			e.Add(field.Index(list, i)+"."+what, "%q is that of %s already; choose another", n, field.Index(list, first))
		}
		seen[n] = i
	}
	if len(names) > maxEntries {
		e.Add(list, "has %d entries; at most %d", len(names), maxEntries)
	}
}

func (b *Build) validate() error {
	var e field.Errors
	if b.Suite != "" && b.Suite != "bookworm" && b.Suite != "trixie" {
		e.Add("suite", "%q is not known; write bookworm or trixie", b.Suite)
	}
	if len(b.Packages) == 0 {
		e.Add("packages", "is empty; name the Debian packages of the app")
	}
	for i, p := range b.Packages {
		if !packageForm.MatchString(p) || len(p) > 100 {
			e.Add(field.Index("packages", i), "%q is not the name of a Debian package", p)
		}
	}
	for _, f := range slices.Sorted(maps.Keys(b.Files)) {
		absolute(&e, field.Key("files", f), f)
	}
	for i, r := range b.Run {
		if len(r) == 0 {
			e.Add(field.Index("run", i), "is empty; write the program and its arguments")
		}
	}
	return e.Err()
}

func (m *Manifest) validatePorts(e *field.Errors) {
	scheme := func(at, s string) {
		if s != "" && s != "http" && s != "h2c" {
			e.Add(at, "%q is not known; write http or h2c", s)
		}
	}
	scheme("http.scheme", m.HTTP.Scheme)
	if m.HTTP.Name != "" {
		e.Add("http.name", "is not for the first port; names are for extra_http")
	}
	if m.HTTP.Port == 0 && len(m.ExtraHTTP) > 0 {
		e.Add("http.port", "is missing, and extra_http needs a first one")
	}
	var names []string
	for i, h := range m.ExtraHTTP {
		at := field.Index("extra_http", i)
		name(e, at+".name", h.Name)
		scheme(at+".scheme", h.Scheme)
		if h.Port == 0 {
			e.Add(at+".port", "is missing; write 1 to 65535")
		}
		names = append(names, h.Name)
	}
	unique(e, "extra_http", "name", names)
	names = nil
	for i, p := range m.Ports {
		at := field.Index("ports", i)
		name(e, at+".name", p.Name)
		names = append(names, p.Name)
		if p.Protocol != "" && p.Protocol != "tcp" && p.Protocol != "udp" {
			e.Add(at+".protocol", "%q is not known; write tcp or udp", p.Protocol)
		}
		if p.Container == 0 {
			e.Add(at+".container", "is missing; write the port in the app, 1 to 65535")
		}
		if p.Count < 0 || p.Count > 1000 || int(p.Container)+p.Count > 65536 || int(p.Default)+p.Count > 65536 {
			e.Add(at+".count", "%d is too many; at most 1000, and the last port is 65535", p.Count)
		}
	}
	unique(e, "ports", "name", names)
}

func (m *Manifest) validateHealth(e *field.Errors) {
	h := m.Health
	if h.Path != "" && (h.Path[0] != '/' || strings.ContainsAny(h.Path, " \r\n#") || len(h.Path) > 512) {
		e.Add("health.path", "%q is not a path; write for example /health", h.Path)
	}
	if h.Path != "" && m.HTTP.Port == 0 {
		e.Add("health.path", "needs http.port")
	}
	for i, s := range h.Statuses {
		if s < 100 || s > 599 {
			e.Add(field.Index("health.statuses", i), "%d is not a status; write 100 to 599", s)
		}
	}
	for _, d := range []struct {
		at     string
		d      field.Duration
		lo, hi time.Duration
	}{{"interval", h.Interval, time.Second, time.Hour}, {"timeout", h.Timeout, 100 * time.Millisecond, time.Minute}, {"grace", h.Grace, time.Second, time.Hour}} {
		if v := time.Duration(d.d); v != 0 && (v < d.lo || v > d.hi) {
			e.Add("health."+d.at, "%v must be between %v and %v", v, d.lo, d.hi)
		}
	}
}

// Validate says what is wrong with l. Zero fields are defaults.
func (l Limits) Validate() error {
	var e field.Errors
	if l.Memory != 0 && l.Memory < minMemory {
		e.Add("memory", "%v is too little; at least 6M", l.Memory)
	}
	if l.CPUs < 0 || l.CPUs > 1024 || l.CPUs > 0 && l.CPUs < 0.01 {
		e.Add("cpus", "%v must be between 0.01 and 1024", l.CPUs)
	}
	if l.PIDs < 0 || l.PIDs > maxPIDs {
		e.Add("pids", "%d must be between 1 and %d", l.PIDs, maxPIDs)
	}
	if l.Files < 0 || l.Files > 1<<20 {
		e.Add("files", "%d must be between 1 and %d", l.Files, 1<<20)
	}
	if l.Shm < 0 || l.Shm > 64<<30 {
		e.Add("shm", "%v must be between 1 and 64G", l.Shm)
	}
	return e.Err()
}

func (m *Manifest) validateEnvironment(e *field.Errors) {
	var names []string
	for i, s := range m.Secrets {
		at := field.Index("secrets", i)
		name(e, at+".name", s.Name)
		if s.Bytes != 0 && (s.Bytes < 16 || s.Bytes > 128) {
			e.Add(at+".bytes", "%d must be between 16 and 128", s.Bytes)
		}
		names = append(names, s.Name)
	}
	unique(e, "secrets", "name", names)
	e.Join("", ValidateEnv(m.Env))
	known := m.Variables()
	for _, k := range slices.Sorted(maps.Keys(m.Env)) {
		for _, v := range variablesIn(m.Env[k]) {
			if !slices.Contains(known, v) {
				e.Add(field.Key("env", k), "${%s} is not known here; there are %s", v, strings.Join(known, ", "))
			}
		}
	}
	if m.StopSignal != "" && !slices.Contains([]string{"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH"}, m.StopSignal) {
		e.Add("stop_signal", "%q cannot be used; write for example SIGTERM or SIGINT", m.StopSignal)
	}
	if d := time.Duration(m.StopGrace); d != 0 && (d < time.Second || d > 10*time.Minute) {
		e.Add("stop_grace", "%v must be between 1s and 10m", d)
	}
	if m.User != "" && !userForm.MatchString(m.User) {
		e.Add("user", "%q is not a user; write UID or UID:GID in numbers, for example 1000:1000", m.User)
	}
	if uid, _, _ := strings.Cut(m.User, ":"); strings.Trim(uid, "0") == "" && uid != "" {
		e.Add("user", "is root; an app runs as another user, for example 1000:1000")
	}
}

// ValidateEnv says what is wrong with variables of an environment.
func ValidateEnv(env map[string]string) error {
	var e field.Errors
	for _, k := range slices.Sorted(maps.Keys(env)) {
		switch v := env[k]; {
		case !variableForm.MatchString(k) || len(k) > 128:
			e.Add(field.Key("env", k), "is not the name of a variable; write letters, digits and _")
		case len(v) > maxValue || strings.ContainsRune(v, 0):
			e.Add(field.Key("env", k), "has %d bytes; at most %d, and none of them 0", len(v), maxValue)
		}
	}
	return e.Err()
}

// reserved are folders that no volume and no tmpfs may hide.
var reserved = []string{"/", "/proc", "/sys", "/dev", "/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/boot"}

func absolute(e *field.Errors, at, p string) {
	if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsAny(p, ":,\x00\n") || len(p) > 255 {
		e.Add(at, "%q is not a path; write it absolute, without .., colon or comma", p)
	}
}

func (m *Manifest) validateFolders(e *field.Errors) {
	taken := map[string]string{}
	folder := func(at, p string) {
		absolute(e, at, p)
		for _, r := range reserved {
			if p == r || r != "/" && slices.Contains(reserved[1:4], r) && strings.HasPrefix(p, r+"/") && p != "/dev/shm" {
				e.Add(at, "%s belongs to the system; choose a folder of the app", p)
			}
		}
		if first := taken[p]; first != "" {
			e.Add(at, "%s is that of %s already", p, first)
		}
		taken[p] = at
	}
	var names []string
	for i, d := range m.Data {
		at := field.Index("data", i)
		name(e, at+".name", d.Name)
		folder(at+".path", d.Path)
		names = append(names, d.Name)
	}
	unique(e, "data", "name", names)
	for i, t := range m.Tmpfs {
		at := field.Index("tmpfs", i)
		folder(at+".path", t.Path)
		if t.Size < 0 || t.Size > 64<<30 {
			e.Add(at+".size", "%v must be between 1 and 64G", t.Size)
		}
		if n, err := strconv.ParseUint(t.Mode, 8, 16); t.Mode != "" && (err != nil || n > 0o1777) {
			e.Add(at+".mode", "%q is not a mode; write it octal, for example 1777", t.Mode)
		}
	}
}

func (m *Manifest) validateRest(e *field.Errors) {
	if m.SSO != "" && !slices.Contains([]string{"none", "optional", "required"}, m.SSO) {
		e.Add("sso", "%q is not known; write none, optional or required", m.SSO)
	}
	var names []string
	for i, s := range m.Schedules {
		at := field.Index("schedules", i)
		name(e, at+".name", s.Name)
		if err := CheckCron(s.Cron); err != nil {
			e.Add(at+".cron", "%v", err)
		}
		if len(s.Command) == 0 {
			e.Add(at+".command", "is empty; write the program and its arguments")
		}
		names = append(names, s.Name)
	}
	unique(e, "schedules", "name", names)
	if m.Proxy.MaxBody < 0 {
		e.Add("proxy.max_body", "must not be negative")
	}
	for _, k := range slices.Sorted(maps.Keys(m.Proxy.Headers)) {
		if v := m.Proxy.Headers[k]; k == "" || strings.ContainsAny(k, " :\r\n") || strings.ContainsAny(v, "\r\n") {
			e.Add(field.Key("proxy.headers", k), "is not a header")
		}
	}
	if strings.ContainsAny(m.Proxy.CSP, "\r\n") {
		e.Add("proxy.csp", "has a line break")
	}
	for i, p := range m.Backup.SQLite {
		absolute(e, field.Index("backup.sqlite", i), p)
	}
}

// MistakeIn puts the name of an app before a mistake.
func MistakeIn(app string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("app %q: %w", app, err)
}
