// Package buffer keeps slow clients away from back ends: it takes a response in as fast as the back end makes it, and a
// request before the back end hears of it.
//
// A body is held in memory up to a bound, then in a file without a name, up to another; both count against a Pool that all
// routes share, but for 32 KiB that each body has in any case. What finds no more room is not lost: the rest of it goes through as if it were not buffered, and the back end
// waits for the client once more.
//
// Three modes. Streaming passes everything on as it comes. Full holds everything back until it is whole: a
// response then has a length, a request that breaks off or has bad chunks never reaches the back end. Adaptive
// sends a response on as it comes and holds only what the client is not ready for, and takes a request in whole when it
// says that it is short.
//
// Event streams, gRPC, upgrades and responses with "X-Accel-Buffering: no" are always passed on as they come.
package buffer

import (
	"path/filepath"
	"strings"

	"github.com/platformd/platformd/proxy/field"
)

// Mode says what is done with bodies of one direction.
type Mode string

// The modes; empty is Streaming.
const (
	Streaming Mode = "streaming"
	Full      Mode = "full"
	Adaptive  Mode = "adaptive"
)

// Defaults.
const (
	DefaultMemoryBytes     = 1 << 20
	DefaultDiskBytes       = 100 << 20
	DefaultAdaptiveBytes   = 1 << 20
	DefaultPoolMemoryBytes = 64 << 20
	DefaultPoolDiskBytes   = 1 << 30
)

// PoolConfig is what the bodies of all routes may take together, in the document.
type PoolConfig struct {
	// MemoryBytes bounds memory. Zero is DefaultPoolMemoryBytes.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// Dir is the folder of files; empty is none. Nothing is ever seen in it.
	Dir string `json:"dir,omitempty"`
	// DiskBytes bounds the files. Zero is DefaultPoolDiskBytes.
	DiskBytes int64 `json:"disk_bytes,omitempty"`
}

// Validate reports every mistake at once.
func (c PoolConfig) Validate() error {
	var e field.Errors
	size(&e, "memory_bytes", c.MemoryBytes)
	size(&e, "disk_bytes", c.DiskBytes)
	if c.Dir != "" && (!filepath.IsAbs(c.Dir) && !filepath.IsLocal(c.Dir) || filepath.Clean(c.Dir) != c.Dir || strings.ContainsRune(c.Dir, 0)) {
		e.Add("dir", "%q: must be the absolute path of a folder, for example /var/cache/platform/buffer", c.Dir)
	}
	if c.Dir == "" && c.DiskBytes != 0 {
		e.Add("disk_bytes", "needs dir, the folder to use")
	}
	return e.Err()
}

// Config is the buffering of one route in the document. The zero value buffers nothing.
type Config struct {
	Response Mode `json:"response,omitempty"`
	Request  Mode `json:"request,omitempty"`
	// MemoryBytes and DiskBytes bound one body. Zero are DefaultMemoryBytes and DefaultDiskBytes.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	DiskBytes   int64 `json:"disk_bytes,omitempty"`
	// AdaptiveBytes is the longest request that adaptive mode takes in whole. Zero is DefaultAdaptiveBytes.
	AdaptiveBytes int64 `json:"adaptive_bytes,omitempty"`
}

// Validate reports every mistake at once.
func (c Config) Validate() error {
	var e field.Errors
	for _, m := range []struct {
		path string
		mode Mode
	}{{"response", c.Response}, {"request", c.Request}} {
		switch m.mode {
		case "", Streaming, Full, Adaptive:
		default:
			e.Add(m.path, "%q: must be %s, %s or %s", m.mode, Streaming, Full, Adaptive)
		}
	}
	size(&e, "memory_bytes", c.MemoryBytes)
	size(&e, "disk_bytes", c.DiskBytes)
	size(&e, "adaptive_bytes", c.AdaptiveBytes)
	return e.Err()
}

func size(e *field.Errors, path string, n int64) {
	const most = 1 << 44
	if n < 0 || n > most {
		e.Add(path, "%d: must be between 1 and %d, or 0 for the default", n, int64(most))
	}
}

func or(n, otherwise int64) int64 {
	if n == 0 {
		return otherwise
	}
	return n
}
