// Package apps is what an app is, what may be asked for it, and what that means for a container engine.
//
// The model in words. A Manifest describes software: its image, the port it serves HTTP on, where it keeps data, what it
// needs beside it (addons), and how much of the host it may use. It cannot express privileges: there is no field for a host
// path, a device, the network of the host or a privileged container. An App is a manifest that was installed under a name:
// with a domain, an image that is known by its digest, a place in the address plan, and up to three Versions (the one that
// serves, the one that is about to, the one before).
//
// Compile says which networks, volumes and containers that means (Desired); a driver looks at what is there (Observed), and
// Diff lists what is to be done, in the order in which it is to be done. Each container carries the digest of what it was
// made from, so that one listing tells whether anything has to be done at all. What was not made by us is never looked at.
//
// This package is pure: it knows no Docker, no file and no clock. The drivers are in docker and apparmor.
package apps

import "github.com/platformd/platformd/proxy/field"

// ManifestVersion is the version of the manifest format that this program reads.
const ManifestVersion = 1

// Manifest describes software that can be installed. Unknown fields are mistakes; every zero value has a safe meaning.
type Manifest struct {
	Version int `json:"version" doc:"Of this format: 1."`
	// ID is what the software is called in catalogs: lower-case letters, digits and dashes.
	ID    string `json:"id"`
	Title string `json:"title,omitempty"`
	// Release is the version of the software, as its authors count.
	Release     string `json:"release,omitempty"`
	Description string `json:"description,omitempty"`
	// Image is a reference, best with a digest: "docker.io/library/nginx@sha256:...".
	Image string `json:"image,omitempty"`
	// Build makes the image on this host from Debian packages, where Image is not in a registry.
	Build *Build `json:"build,omitempty"`

	HTTP      HTTP   `json:"http,omitzero"`
	ExtraHTTP []HTTP `json:"extra_http,omitempty"`
	Ports     []Port `json:"ports,omitempty"`
	Health    Health `json:"health,omitzero"`

	Addons map[string]Addon `json:"addons,omitempty"`
	Limits Limits           `json:"limits,omitzero"`
	// Env are variables of its environment; a value may hold ${domain}, ${origin}, ${name}, ${secret.NAME} and what addons
	// provide, such as ${postgresql.url}.
	Env map[string]string `json:"env,omitempty"`
	// Secrets are generated once for each installation, and keep their value over updates.
	Secrets []Secret `json:"secrets,omitempty"`
	// Command and Entrypoint replace those of the image.
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
	// User is "UID" or "UID:GID"; empty is that of the image, and 10001 where the image says root or nothing.
	User string `json:"user,omitempty"`
	// StopSignal asks it to end ("SIGTERM" by default), and StopGrace is how long it may take; default 10s.
	StopSignal string         `json:"stop_signal,omitempty"`
	StopGrace  field.Duration `json:"stop_grace,omitempty"`
	// Data are the folders that outlive a container. Everything else of its file system is read-only.
	Data  []Data  `json:"data,omitempty"`
	Tmpfs []Tmpfs `json:"tmpfs,omitempty"`
	// Capabilities are those that it keeps, of CapabilitiesAllowed.
	Capabilities []string `json:"capabilities,omitempty"`

	Proxy  Proxy  `json:"proxy,omitzero"`
	Egress Egress `json:"egress,omitzero"`
	// Overlap says that two versions may run on the same data at once, so that an update needs no pause.
	Overlap   bool       `json:"overlap,omitempty"`
	Backup    Backup     `json:"backup,omitzero"`
	Schedules []Schedule `json:"schedules,omitempty"`
	// Message is shown after the installation; it may hold the variables of Env but secrets.
	Message string `json:"message,omitempty"`
	// SSO is "none" (the default), "optional" or "required": whether people log in with the accounts of this host.
	SSO string `json:"sso,omitempty"`
}

// Build says how an image is made of Debian packages.
type Build struct {
	// Packages are installed on a minimal Debian of Suite (default "bookworm").
	Suite    string   `json:"suite,omitempty"`
	Packages []string `json:"packages"`
	// Files are written into it afterwards, by absolute path.
	Files map[string]string `json:"files,omitempty"`
	// Run are programs that are run in it at the end, each an argument list.
	Run [][]string `json:"run,omitempty"`
}

// HTTP is a port of the app that the proxy leads requests to.
type HTTP struct {
	// Name is for all but the first: the app gets NAME.domain too.
	Name string `json:"name,omitempty"`
	Port uint16 `json:"port"`
	// Scheme is "http" (the default) or "h2c".
	Scheme string `json:"scheme,omitempty"`
}

// Port is a port beside HTTP that is reachable from outside.
type Port struct {
	Name     string `json:"name"`
	Title    string `json:"title,omitempty"`
	Protocol string `json:"protocol,omitempty"` // "tcp" (the default) or "udp"
	// Container is the port in the app, Default the one of the host where the operator says nothing, Count how many follow
	// each other (default 1).
	Container uint16 `json:"container"`
	Default   uint16 `json:"default,omitempty"`
	Count     int    `json:"count,omitempty"`
	// Limit names a limit class of this host, such as "mail", that each source is held to.
	Limit string `json:"limit,omitempty"`
	// Optional ports are closed until the operator opens them.
	Optional bool `json:"optional,omitempty"`
}

// Health is how the app is asked whether it is well: by HTTP where Path is set or nothing else is, else by a connection.
type Health struct {
	Path     string         `json:"path,omitempty"`     // default "/"
	Statuses []int          `json:"statuses,omitempty"` // default every one below 500
	Interval field.Duration `json:"interval,omitempty"` // default 15s
	Timeout  field.Duration `json:"timeout,omitempty"`  // default 5s
	// Grace is how long it may take to become healthy after a start; default 2m.
	Grace field.Duration `json:"grace,omitempty"`
}

// Addon are the options of a service beside the app.
type Addon struct {
	// Version is the major version ("15"); empty is what this host has.
	Version string `json:"version,omitempty"`
	// Extensions are those of PostgreSQL that are created in the database.
	Extensions []string `json:"extensions,omitempty"`
	// Memory bounds a server that the app has for itself (Redis).
	Memory Size `json:"memory,omitempty"`
}

// Limits are how much of the host an app may use. A zero field means its default.
type Limits struct {
	Memory Size    `json:"memory,omitempty"` // default 512M
	CPUs   float64 `json:"cpus,omitempty"`   // default 2, and never more than there are
	PIDs   int     `json:"pids,omitempty"`   // default 512
	// Files bounds the open files of a process; default 8192.
	Files int `json:"files,omitempty"`
	// Shm is the size of /dev/shm; default 64M.
	Shm Size `json:"shm,omitempty"`
}

// Secret is a random value.
type Secret struct {
	Name string `json:"name"`
	// Bytes of randomness; default 32. The value is their hexadecimal form.
	Bytes int `json:"bytes,omitempty"`
}

// Data is a folder that outlives a container.
type Data struct {
	Name string `json:"name"`
	Path string `json:"path"`
	// Exec lets programs in it be run.
	Exec bool `json:"exec,omitempty"`
}

// Tmpfs is a folder in memory.
type Tmpfs struct {
	Path string `json:"path"`
	Size Size   `json:"size,omitempty"` // default 64M
	// Mode is octal, "1777" by default.
	Mode string `json:"mode,omitempty"`
	Exec bool   `json:"exec,omitempty"`
}

// Proxy is what the app asks of the proxy; the operator's word stands above it.
type Proxy struct {
	CSP         string            `json:"csp,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	MaxBody     Size              `json:"max_body,omitempty"`
	Answer      field.Duration    `json:"answer,omitempty"` // how long an answer may take
	LoginPaths  []string          `json:"login_paths,omitempty"`
	Robots      string            `json:"robots,omitempty"`
	AppHeaders  bool              `json:"app_headers,omitempty"` // its own security headers win
	Compression bool              `json:"compression,omitempty"`
}

// Egress is whom the app may talk to outside.
type Egress struct {
	// Mode is "internet" (the default: every public address), "none" or "list".
	Mode string `json:"mode,omitempty"`
	// Hosts are names, addresses or CIDR for "list", each with an optional ":PORT".
	Hosts []string `json:"hosts,omitempty"`
}

// Backup says how a consistent copy of the data is made.
type Backup struct {
	// Command runs in the app before a copy, Restore after one was put back.
	Command []string `json:"command,omitempty"`
	Restore []string `json:"restore,omitempty"`
	// SQLite are database files below a data folder, copied by SQLite's own means.
	SQLite []string `json:"sqlite,omitempty"`
}

// Schedule is a program that runs in the app by the clock.
type Schedule struct {
	Name string `json:"name"`
	// Cron has five fields: minute, hour, day of month, month, day of week; in UTC.
	Cron    string   `json:"cron"`
	Command []string `json:"command"`
}
