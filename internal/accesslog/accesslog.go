// Package accesslog keeps the proxy's records of requests: the newest in memory, all of them in files that are rotated.
//
// The records come from a process that is not trusted, in batches of lines of JSON. A line is kept as it came, if it is
// short and has no control character in it; it is read only where somebody wants to see it, and a line that is then no
// record is left out. Files are called access.jsonl, access.jsonl.1 and so on, the last being the newest. A disk that is
// full costs records, and nothing else: requests never wait for this package.
package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/proxy"
)

// Config of a Log. A zero field means its default.
type Config struct {
	MaxBytes int64 // of a file before it is rotated; 64 MiB
	Keep     int   // files beside the current one; 7
	Memory   int   // records in memory; 20,000
}

// maxLine bounds a record.
const maxLine = 32 << 10

// Log keeps records. Its methods are safe for concurrent use.
type Log struct {
	cfg  Config
	path string
	ring *activity.Ring[string]

	mu   sync.Mutex
	file *os.File
	size int64
	lost int64
	err  error
}

// Open opens the log below dir, which is made if it is not there.
func Open(dir string, cfg Config) (*Log, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.Keep == 0 {
		cfg.Keep = 7
	}
	if cfg.Memory == 0 {
		cfg.Memory = 20_000
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	l := &Log{cfg: cfg, path: filepath.Join(dir, "access.jsonl"), ring: activity.NewRing[string](cfg.Memory)}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open access log: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, st.Size()
	return nil
}

// Append keeps the good lines of a batch.
func (l *Log) Append(batch []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	good := make([]byte, 0, len(batch))
	for line := range bytes.Lines(batch) {
		if !isRecord(line) {
			l.lost++
			continue
		}
		good = append(good, line...)
		l.ring.Add(string(line[:len(line)-1]))
	}
	l.write(good)
}

// isRecord reports whether a line looks like one of ours.
func isRecord(line []byte) bool {
	n := len(line)
	if n < 3 || n > maxLine || line[n-1] != '\n' || line[0] != '{' || line[n-2] != '}' {
		return false
	}
	for _, c := range line[:n-1] {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func (l *Log) write(b []byte) {
	if len(b) == 0 {
		return
	}
	if l.size+int64(len(b)) > l.cfg.MaxBytes || l.file == nil {
		l.rotate()
	}
	if l.file == nil {
		l.lost += int64(bytes.Count(b, []byte("\n")))
		return
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	if l.err = err; err != nil {
		l.lost += int64(bytes.Count(b[n:], []byte("\n")))
	}
}

// rotate makes room for a new file. What cannot be moved is written to further.
func (l *Log) rotate() {
	if l.file != nil && l.size > 0 {
		for i := l.cfg.Keep - 1; i >= 0; i-- {
			err := os.Rename(l.name(i), l.name(i+1))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.err = err
				return
			}
		}
		l.file.Close()
		l.file = nil
	}
	l.err = l.open()
}

func (l *Log) name(i int) string {
	if i == 0 {
		return l.path
	}
	return fmt.Sprintf("%s.%d", l.path, i)
}

// Entry is a record with its number since the program started.
type Entry struct {
	Seq uint64 `json:"seq"`
	proxy.Access
}

// Newest gives the newest records that are remembered, oldest first.
func (l *Log) Newest(n int) []Entry {
	var out []Entry
	for _, e := range l.ring.Newest(n) {
		if x, ok := read(e); ok {
			out = append(out, x)
		}
	}
	return out
}

// Follow gives what is remembered behind a number, and then what comes, until ctx ends.
func (l *Log) Follow(ctx context.Context, after uint64) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for e := range l.ring.Follow(ctx, after) {
			if x, ok := read(e); ok && !yield(x) {
				return
			}
		}
	}
}

func read(e activity.Entry[string]) (Entry, bool) {
	x := Entry{Seq: e.Seq}
	err := json.Unmarshal([]byte(e.Value), &x.Access)
	return x, err == nil
}

// State is how many records could not be kept, and why the last of them.
func (l *Log) State() (lost int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost, l.err
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
