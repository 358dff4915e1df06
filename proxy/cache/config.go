package cache

import (
	"net/textproto"
	"path/filepath"
	"strings"
	"time"

	"github.com/platformd/platformd/proxy/field"
)

// Defaults and bounds.
const (
	DefaultMemoryBytes       = 100 << 20
	DefaultMemoryObjectBytes = 64 << 10
	DefaultDiskBytes         = 1 << 30
	DefaultMaxObjectBytes    = 64 << 20
	DefaultMaxVariants       = 16
	// DefaultWait is how long a request waits for another one that fetches the same.
	DefaultWait = 10 * time.Second

	maxVariants   = 256
	maxKeyHeaders = 16
	maxBypass     = 256
	// longest is the most that any time of a policy may be, and 2^31 seconds the most that RFC 9111, section 1.2.2, wants
	// a cache to tell apart.
	longest    = 365 * 24 * time.Hour
	maxSeconds = 1<<31 - 1
)

// StoreConfig is one named store in the document: what it may hold, and where. Several routes may share one.
type StoreConfig struct {
	// MemoryBytes bounds what is kept in memory. Zero is DefaultMemoryBytes.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// MemoryObjectBytes is the largest body that is kept in memory; larger ones go to disk, where there is one. Zero is
	// DefaultMemoryObjectBytes with a disk, and a sixteenth of MemoryBytes without.
	MemoryObjectBytes int64 `json:"memory_object_bytes,omitempty"`
	// Dir is the folder of the disk tier; it belongs to the store alone. Empty is none.
	Dir string `json:"dir,omitempty"`
	// DiskBytes bounds Dir. Zero is DefaultDiskBytes.
	DiskBytes int64 `json:"disk_bytes,omitempty"`
	// MaxObjectBytes is the largest body that is stored at all. Zero is DefaultMaxObjectBytes; without a disk
	// MemoryObjectBytes is the bound.
	MaxObjectBytes int64 `json:"max_object_bytes,omitempty"`
	// MaxVariants bounds how many answers to one address are kept, by Vary. Zero is DefaultMaxVariants.
	MaxVariants int `json:"max_variants,omitempty"`
}

// Validate reports every mistake at once.
func (c StoreConfig) Validate() error {
	var e field.Errors
	const most = 1 << 44
	for _, n := range []struct {
		path string
		n    int64
	}{{"memory_bytes", c.MemoryBytes}, {"memory_object_bytes", c.MemoryObjectBytes}, {"disk_bytes", c.DiskBytes}, {"max_object_bytes", c.MaxObjectBytes}} {
		if n.n < 0 || n.n > most {
			e.Add(n.path, "%d: must be between 1 and %d, or 0 for the default", n.n, int64(most))
		}
	}
	if c.Dir != "" && (!filepath.IsAbs(c.Dir) && !filepath.IsLocal(c.Dir) || filepath.Clean(c.Dir) != c.Dir || c.Dir == "/" || strings.ContainsRune(c.Dir, 0)) {
		e.Add("dir", "%q: must be the path of a folder for this store alone, without . and .., for example /var/cache/platform/web", c.Dir)
	}
	if c.Dir == "" && c.DiskBytes != 0 {
		e.Add("disk_bytes", "needs dir, the folder to use")
	}
	d := c.withDefaults()
	if d.MemoryObjectBytes > d.MemoryBytes {
		e.Add("memory_object_bytes", "%d: is more than memory_bytes, %d", d.MemoryObjectBytes, d.MemoryBytes)
	}
	if c.Dir != "" && d.MaxObjectBytes > d.DiskBytes {
		e.Add("max_object_bytes", "%d: is more than disk_bytes, %d", d.MaxObjectBytes, d.DiskBytes)
	}
	if c.MaxVariants < 0 || c.MaxVariants > maxVariants {
		e.Add("max_variants", "%d: must be between 1 and %d, or 0 for the default", c.MaxVariants, maxVariants)
	}
	return e.Err()
}

func (c StoreConfig) withDefaults() StoreConfig {
	if c.MemoryBytes == 0 {
		c.MemoryBytes = DefaultMemoryBytes
	}
	if c.DiskBytes == 0 {
		c.DiskBytes = DefaultDiskBytes
	}
	if c.MemoryObjectBytes == 0 {
		c.MemoryObjectBytes = max(c.MemoryBytes/16, 1)
		if c.Dir != "" {
			c.MemoryObjectBytes = min(DefaultMemoryObjectBytes, c.MemoryBytes)
		}
	}
	if c.MaxObjectBytes == 0 {
		c.MaxObjectBytes = min(DefaultMaxObjectBytes, c.DiskBytes)
	}
	if c.Dir == "" {
		c.MaxObjectBytes = c.MemoryObjectBytes
	}
	if c.MaxVariants == 0 {
		c.MaxVariants = DefaultMaxVariants
	}
	return c
}

// Config is the caching of one route in the document. The zero value follows what responses say, in the default store.
type Config struct {
	// Store is the name of the store.
	Store string `json:"store,omitempty"`
	// DefaultTTL is how long a response is fresh that says nothing about it: no max-age, Expires or no-store. Zero leaves
	// that to a tenth of its age by Last-Modified. Neither concerns requests with Cookie or Authorization.
	DefaultTTL field.Duration `json:"default_ttl,omitzero"`
	// NoHeuristic stores only what says how long it is fresh.
	NoHeuristic bool `json:"no_heuristic,omitempty"`
	// StaleWhileRevalidate and StaleIfError hold for responses that do not say it themselves (RFC 5861).
	StaleWhileRevalidate field.Duration `json:"stale_while_revalidate,omitzero"`
	StaleIfError         field.Duration `json:"stale_if_error,omitzero"`
	// KeyHeaders are request fields whose values are part of the key.
	KeyHeaders []string `json:"key_headers,omitempty"`
	// IgnoreQuery leaves the query out of the key.
	IgnoreQuery bool `json:"ignore_query,omitempty"`
	// Bypass are globs of paths that are never looked up or stored; "*" is any text.
	Bypass []string `json:"bypass,omitempty"`
	// StoreSetCookie stores responses with Set-Cookie, cookie and all. Every client gets the same cookie.
	StoreSetCookie bool `json:"store_set_cookie,omitempty"`
	// ClientDirectives obeys no-cache, no-store, max-age, min-fresh and max-stale of requests, with which any client can
	// send the back end work. only-if-cached is always obeyed.
	ClientDirectives bool `json:"client_directives,omitempty"`
	// Wait is how long a request waits for another that fetches the same; zero is DefaultWait.
	Wait field.Duration `json:"wait,omitzero"`
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var e field.Errors
	for _, d := range []struct {
		path string
		d    field.Duration
		most time.Duration
	}{{"default_ttl", c.DefaultTTL, longest}, {"stale_while_revalidate", c.StaleWhileRevalidate, longest}, {"stale_if_error", c.StaleIfError, longest}, {"wait", c.Wait, 5 * time.Minute}} {
		if d.d < 0 || time.Duration(d.d) > d.most {
			e.Add(d.path, "%v: must be between 0s and %v", d.d, field.Duration(d.most))
		}
	}
	if len(c.KeyHeaders) > maxKeyHeaders {
		e.Add("key_headers", "%d fields: at most %d", len(c.KeyHeaders), maxKeyHeaders)
	}
	for i, name := range c.KeyHeaders {
		if !isToken(name) {
			e.Add(field.Index("key_headers", i), "%q: is no name of a field; write for example X-Tenant", name)
		}
	}
	if len(c.Bypass) > maxBypass {
		e.Add("bypass", "%d globs: at most %d", len(c.Bypass), maxBypass)
	}
	for i, g := range c.Bypass {
		if !strings.HasPrefix(g, "/") && !strings.HasPrefix(g, "*") {
			e.Add(field.Index("bypass", i), "%q: must begin with / or *, for example /account/*", g)
		}
	}
	return e.Err()
}

// isToken is the grammar of field names (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func (c Config) withDefaults() Config {
	if c.Wait == 0 {
		c.Wait = field.Duration(DefaultWait)
	}
	names := make([]string, len(c.KeyHeaders))
	for i, n := range c.KeyHeaders {
		names[i] = textproto.CanonicalMIMEHeaderKey(n)
	}
	c.KeyHeaders = names
	return c
}
