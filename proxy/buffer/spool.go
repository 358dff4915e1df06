package buffer

import (
	"io"
	"os"
)

// spool holds one body: its beginning in blocks of memory, the rest in a file. It is for one goroutine at a time.
type spool struct {
	pool           *Pool
	memory, disk   int64 // the most of each
	blocks         []*[blockBytes]byte
	inMemory       int64
	file           *os.File
	inFile, booked int64 // booked is what of the pool's disk is ours
	noFile         bool  // there was none to be had
}

func (s *spool) length() int64 { return s.inMemory + s.inFile }

// append takes as much of p as there is room for.
func (s *spool) append(p []byte) (n int) {
	for len(p) > 0 && s.inFile == 0 {
		room := int64(len(s.blocks))*blockBytes - s.inMemory
		if room == 0 {
			// One block is always there, so that a body moves on when the pool is empty.
			if len(s.blocks) == 0 {
				s.pool.memory.Add(blockBytes)
			} else if s.inMemory+blockBytes > s.memory || !take(&s.pool.memory, blockBytes, s.pool.config.MemoryBytes) {
				break
			}
			s.blocks = append(s.blocks, s.pool.blocks.Get().(*[blockBytes]byte))
			room = blockBytes
		}
		got := copy(s.blocks[len(s.blocks)-1][blockBytes-room:], p)
		s.inMemory += int64(got)
		n += got
		p = p[got:]
	}
	return n + s.spill(p)
}

// spill takes as much of p as there is room for in the file.
func (s *spool) spill(p []byte) (n int) {
	for len(p) > 0 && !s.noFile {
		piece := p[:min(len(p), blockBytes)]
		if s.booked < s.inFile+int64(len(piece)) {
			if s.booked+blockBytes > s.disk || !take(&s.pool.disk, blockBytes, s.pool.config.DiskBytes) {
				return n
			}
			s.booked += blockBytes
			continue
		}
		if s.file == nil {
			var err error
			if s.file, err = s.pool.file(); err != nil {
				s.noFile = true
				return n
			}
		}
		got, err := s.file.WriteAt(piece, s.inFile)
		if err != nil { // the disk is full: what it took is not counted
			return n
		}
		s.inFile += int64(got)
		n += got
		p = p[got:]
	}
	return n
}

// piece is what stands at off: a part of a block, or of the file by way of scratch.
func (s *spool) piece(off int64, scratch []byte) ([]byte, error) {
	if off < s.inMemory {
		block := s.blocks[off/blockBytes]
		from := off % blockBytes
		return block[from:min(blockBytes, s.inMemory-off+from)], nil
	}
	if off >= s.length() {
		return nil, io.EOF
	}
	at := off - s.inMemory
	n, err := s.file.ReadAt(scratch[:min(int64(len(scratch)), s.inFile-at)], at)
	if n > 0 {
		err = nil
	}
	return scratch[:n], err
}

// reset gives everything back.
func (s *spool) reset() {
	for _, b := range s.blocks {
		s.pool.blocks.Put(b)
	}
	s.pool.memory.Add(-int64(len(s.blocks)) * blockBytes)
	s.pool.disk.Add(-s.booked)
	if s.file != nil {
		s.file.Close()
	}
	*s = spool{pool: s.pool, memory: s.memory, disk: s.disk}
}

// reader reads a spool that does not change any more.
type reader struct {
	*spool
	off int64
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	got, err := r.piece(r.off, p)
	if err != nil {
		return 0, err
	}
	n := copy(p, got)
	r.off += int64(n)
	return n, nil
}
