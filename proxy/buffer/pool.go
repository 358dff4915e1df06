package buffer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// blockBytes is the size of the pieces of memory that bodies are held in, and of what is copied at a time.
const blockBytes = 32 << 10

// tmpfile is O_TMPFILE (open(2)), which package syscall does not have: __O_TMPFILE is the same on every architecture that
// Go supports under Linux.
const tmpfile = 0o20000000 | syscall.O_DIRECTORY

// Pool is what all buffered bodies take together. It outlives routes, and is safe for concurrent use.
type Pool struct {
	config       PoolConfig
	memory, disk atomic.Int64
	blocks       sync.Pool
}

// NewPool makes a Pool.
func NewPool(c PoolConfig) (*Pool, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.MemoryBytes, c.DiskBytes = or(c.MemoryBytes, DefaultPoolMemoryBytes), or(c.DiskBytes, DefaultPoolDiskBytes)
	if c.Dir != "" {
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("buffer folder: %w", err)
		}
	}
	return &Pool{config: c, blocks: sync.Pool{New: func() any { return new([blockBytes]byte) }}}, nil
}

// Usage is what is held at this moment.
func (p *Pool) Usage() (memory, disk int64) { return p.memory.Load(), p.disk.Load() }

// take counts n bytes more; false where they would be too many.
func take(counter *atomic.Int64, n, most int64) bool {
	if counter.Add(n) > most {
		counter.Add(-n)
		return false
	}
	return true
}

// file makes a file that has no name, and that goes with its last descriptor, however this process ends.
func (p *Pool) file() (*os.File, error) {
	if p.config.Dir == "" {
		return nil, errors.New("no folder for buffers")
	}
	f, err := os.OpenFile(p.config.Dir, os.O_RDWR|tmpfile, 0o600)
	if err == nil {
		return f, nil
	}
	// A file system that cannot (overlay on old kernels, NFS) has the file for a moment.
	f, err = os.CreateTemp(p.config.Dir, "buffer-")
	if err != nil {
		return nil, fmt.Errorf("buffer file in %s: %w", p.config.Dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("buffer file %s: %w", filepath.Base(f.Name()), err)
	}
	return f, nil
}
