package static

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/maypok86/otter/v2"
)

// memory keeps small files as they were at one time and size.
type memory struct {
	files   *otter.Cache[string, *kept]
	largest int64
}

type kept struct {
	info fs.FileInfo
	data []byte
}

// overhead of one kept file beside its bytes: names, the file's information, the cache's own node.
const overhead = 512

func newMemory(total, largest int64) (*memory, error) {
	files, err := otter.New(&otter.Options[string, *kept]{
		MaximumWeight: uint64(total),
		Weigher:       func(name string, k *kept) uint32 { return uint32(min(int64(len(name)+len(k.data)+overhead), 1<<32-1)) },
		Executor:      func(fn func()) { fn() },
	})
	if err != nil {
		return nil, fmt.Errorf("memory for files: %w", err)
	}
	return &memory{files: files, largest: largest}, nil
}

// open gives a kept file where disk still says the same time, size and inode, and keeps it where it fits.
func (m *memory) open(root *os.Root, name string, info fs.FileInfo) (io.ReadSeekCloser, fs.FileInfo, error) {
	if k, ok := m.files.GetIfPresent(name); ok && same(k.info, info) {
		return content{bytes.NewReader(k.data)}, k.info, nil
	}
	f, info, err := openFile(root, name)
	if err != nil || info.Size() > m.largest {
		return f, info, err
	}
	defer f.Close()
	// One byte more than there should be tells that it is growing.
	data, err := io.ReadAll(io.LimitReader(f, info.Size()+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, err)
	}
	if after, err := f.Stat(); err == nil && same(info, after) && int64(len(data)) == info.Size() {
		m.files.Set(name, &kept{info: info, data: data})
		return content{bytes.NewReader(data)}, info, nil
	}
	// It is being written: as the disk has it, and not kept.
	g, info, err := openFile(root, name)
	return g, info, err
}

func same(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// content is bytes as a file.
type content struct{ *bytes.Reader }

func (content) Close() error { return nil }
