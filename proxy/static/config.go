// Package static serves a tree of files, or one file, over HTTP.
//
// Everything is opened below the root by os.Root: no "..", no symbolic link and no race between looking and opening leads
// out of it; links that stay inside are followed. Names that begin with a dot are refused, but for .well-known. Only regular files are
// sent: a FIFO or a device below the root is as good as not there. The root is opened for each request, so that a
// deployment that exchanges the folder, or the link it is reached by, needs no reload.
//
// Ranges and conditional requests are those of http.ServeContent, with at most header.MaxRanges ranges. The entity tag is
// made of modification time and size: weak while the file is so young that it could change again without either of them
// showing it, strong after that. A file next to the wanted one that holds the same in a content coding (app.js.br) is sent
// to clients that accept it.
//
// It never writes, lists nothing unless it is asked to, guesses no content type from content, and runs nothing.
package static

import (
	"mime"
	"path/filepath"
	"strings"

	"github.com/platformd/platformd/proxy/field"
)

// Modes of Config.Mode.
const (
	// ModeFile reads files from disk for each request; the kernel's page cache makes that fast.
	ModeFile = "file"
	// ModeMemory keeps small files in memory. It looks at time and size on disk for each request.
	ModeMemory = "memory"
)

// Bounds and defaults.
const (
	// DefaultMemoryBytes bounds what memory mode keeps, DefaultMemoryFileBytes each file of it.
	DefaultMemoryBytes     = 64 << 20
	DefaultMemoryFileBytes = 1 << 20
	maxIndex               = 16
	// maxListed bounds the entries of one listed folder.
	maxListed = 10_000
)

// Config is a file back end in the document. Only Root is needed.
type Config struct {
	// Root is the absolute path of a folder, or of one file that is served at the route's own path.
	Root string `json:"root"`
	// Index are the names looked for in a folder, in this order. Empty is index.html.
	Index []string `json:"index,omitempty"`
	// Fallback is the file, relative to the root, that is sent with 200 where nothing is found: for applications that route in
	// the browser.
	Fallback string `json:"fallback,omitempty"`
	// Listing shows the content of folders without an index.
	Listing bool `json:"listing,omitempty"`
	// Dotfiles serves names that begin with a dot. They are often secrets: .git, .env, .htpasswd.
	Dotfiles bool `json:"dotfiles,omitempty"`
	// CacheControl is sent with every file; empty sends none, and leaves caches to their heuristics.
	CacheControl string `json:"cache_control,omitempty"`
	// PlainOnly ignores files that hold the same in a content coding.
	PlainOnly bool `json:"plain_only,omitempty"`
	// Types maps extensions (".foo") to content types, before the built-in ones.
	Types map[string]string `json:"types,omitempty"`
	// Mode is ModeFile (or empty), or ModeMemory.
	Mode string `json:"mode,omitempty"`
	// MemoryBytes and MemoryFileBytes bound ModeMemory; zero is the default.
	MemoryBytes     int64 `json:"memory_bytes,omitempty"`
	MemoryFileBytes int64 `json:"memory_file_bytes,omitempty"`
}

// Validate reports every mistake at once. It does not look at the disk: a root may appear later.
func (c Config) Validate() error {
	var e field.Errors
	switch {
	case c.Root == "":
		e.Add("root", "is empty; give the absolute path of a folder or file")
	case !filepath.IsAbs(c.Root) || filepath.Clean(c.Root) != strings.TrimSuffix(c.Root, "/") && c.Root != "/":
		e.Add("root", "%q: must be an absolute path without . and .., for example /srv/www", c.Root)
	case strings.ContainsRune(c.Root, 0):
		e.Add("root", "%q: has a zero byte", c.Root)
	}
	if len(c.Index) > maxIndex {
		e.Add("index", "%d names: at most %d; each is looked for on disk", len(c.Index), maxIndex)
	}
	for i, name := range c.Index {
		if name == "" || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
			e.Add(field.Index("index", i), "%q: must be a file name, for example index.html", name)
		}
	}
	if c.Fallback != "" && (!filepath.IsLocal(c.Fallback) || strings.ContainsRune(c.Fallback, 0)) {
		e.Add("fallback", "%q: must be a file below the root, for example index.html", c.Fallback)
	}
	if strings.ContainsFunc(c.CacheControl, func(r rune) bool { return r < ' ' || r > '~' }) {
		e.Add("cache_control", "%q: must be printable ASCII, for example public, max-age=3600", c.CacheControl)
	}
	for ext, t := range c.Types {
		if len(ext) < 2 || ext[0] != '.' || strings.ToLower(ext) != ext || strings.ContainsAny(ext, "/\x00") {
			e.Add(field.Key("types", ext), "%q: write the extension in lower case with its dot, for example .webmanifest", ext)
		}
		if _, _, err := mime.ParseMediaType(t); err != nil || !strings.Contains(t, "/") {
			e.Add(field.Key("types", ext), "%q: is no content type; write for example application/json", t)
		}
	}
	if c.Mode != "" && c.Mode != ModeFile && c.Mode != ModeMemory {
		e.Add("mode", "%q: must be %s or %s", c.Mode, ModeFile, ModeMemory)
	}
	if c.Mode != ModeMemory && (c.MemoryBytes != 0 || c.MemoryFileBytes != 0) {
		e.Add("mode", "memory_bytes and memory_file_bytes need mode %s", ModeMemory)
	}
	const most = 64 << 30
	if c.MemoryBytes < 0 || c.MemoryBytes > most {
		e.Add("memory_bytes", "%d: must be between 0 (the default, %d) and %d", c.MemoryBytes, DefaultMemoryBytes, int64(most))
	}
	if most := c.withDefaults().MemoryBytes; c.MemoryFileBytes < 0 || c.MemoryFileBytes > most {
		e.Add("memory_file_bytes", "%d: must be between 0 (the default, %d) and memory_bytes, %d", c.MemoryFileBytes, DefaultMemoryFileBytes, most)
	}
	return e.Err()
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if len(c.Index) == 0 {
		c.Index = []string{"index.html"}
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = DefaultMemoryBytes
	}
	if c.MemoryFileBytes == 0 {
		c.MemoryFileBytes = min(DefaultMemoryFileBytes, c.MemoryBytes)
	}
	return c
}
