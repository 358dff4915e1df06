package ranges

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// blockSize is how much is read or written at once: a multiple of both record sizes.
const blockSize = 64 << 10

// ErrCorrupt is the cause where a file is not what its header or its name says.
var ErrCorrupt = errors.New("corrupt")

// File is an open file of ranges. It is read where it is needed and never loaded. All methods but Close may be called from
// many goroutines at once.
type File struct {
	f    *os.File
	info Info
}

// Open opens a file that Write made, and checks its header and size. It does not read the records: see Verify.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open ranges: %w", err)
	}
	file, err := NewFile(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.info.Digest = strings.TrimSuffix(filepath.Base(path), Extension)
	return file, nil
}

// NewFile reads what Encode wrote to f. The File owns f unless there is an error. Its Info has a Path, f's name, but no
// Digest.
func NewFile(f *os.File) (*File, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open ranges: %w", err)
	}
	h := make([]byte, headerSize)
	if _, err := f.ReadAt(h, 0); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: only %d bytes", ErrCorrupt, st.Size())
		}
		return nil, fmt.Errorf("open ranges %s: %w", f.Name(), err)
	}
	if string(h[:8]) != magic {
		return nil, fmt.Errorf("open ranges %s: %w: not a file of ranges", f.Name(), ErrCorrupt)
	}
	if v := binary.BigEndian.Uint32(h[8:]); v != version {
		return nil, fmt.Errorf("open ranges %s: version %d is unknown, only %d is", f.Name(), v, version)
	}
	v4, v6 := binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint64(h[24:])
	const most = 1 << 40 // keeps the sum below from overflowing
	if v4 > most || v6 > most || int64(headerSize+v4*size4+v6*size6) != st.Size() || !bytes.Equal(h, header(int(v4), int(v6))) {
		return nil, fmt.Errorf("open ranges %s: %w: header says %d IPv4 and %d IPv6 ranges, size is %d bytes", f.Name(), ErrCorrupt, v4, v6, st.Size())
	}
	return &File{f: f, info: Info{Path: f.Name(), V4: int(v4), V6: int(v6)}}, nil
}

// Info is the path, the digest that the name states, and the counts.
func (f *File) Info() Info { return f.info }

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// Verify reads the whole file and compares it with its digest and with the rules of a canonical sequence.
func (f *File) Verify() error {
	sum := sha256.New()
	for _, v6 := range []bool{false, true} {
		if err := f.Raw(v6, func(b []byte) error { sum.Write(b); return nil }); err != nil {
			return err
		}
	}
	sum.Write(header(f.info.V4, f.info.V6))
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.info.Digest {
		return fmt.Errorf("verify ranges %s: %w: digest is %s", f.info.Path, ErrCorrupt, got)
	}
	for _, err := range f.All() {
		if err != nil {
			return err
		}
	}
	return nil
}

// All reads both families in order, and ends with an error where the file is not canonical.
func (f *File) All() Seq {
	return func(yield func(Range, error) bool) {
		for _, v6 := range []bool{false, true} {
			if !f.each(v6, yield) {
				return
			}
		}
	}
}

// Family is the part of All of one family.
func (f *File) Family(v6 bool) Seq {
	return func(yield func(Range, error) bool) { f.each(v6, yield) }
}

// errStop ends Raw when the reader of a sequence has had enough.
var errStop = errors.New("stop")

func (f *File) each(v6 bool, yield func(Range, error) bool) bool {
	var last Range
	first := true
	_, _, size := f.span(v6)
	err := f.Raw(v6, func(recs []byte) error {
		for ; len(recs) > 0; recs = recs[size:] {
			r := decode(recs, v6)
			if err := follows(last, r, first); err != nil {
				return fmt.Errorf("read ranges %s: %w: %w", f.info.Path, ErrCorrupt, err)
			}
			last, first = r, false
			if !yield(r, nil) {
				return errStop
			}
		}
		return nil
	})
	switch {
	case err == nil:
		return true
	case errors.Is(err, errStop):
		return false
	}
	yield(Range{}, err)
	return false
}

// Raw calls fn with one block after another of whole records of one family, 8 bytes each for IPv4 and 32 for IPv6: first
// and last address in network order. fn must not keep the block. Records are passed on as they are: whoever has not
// verified the file checks them.
func (f *File) Raw(v6 bool, fn func(recs []byte) error) error {
	off, n, size := f.span(v6)
	left := int64(n) * int64(size)
	buf := make([]byte, min(blockSize, left))
	for left > 0 {
		b := buf[:min(int64(len(buf)), left)]
		if err := f.readAt(b, off); err != nil {
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
		off, left = off+int64(len(b)), left-int64(len(b))
	}
	return nil
}

// At reads the range at index i of a family, from 0.
func (f *File) At(v6 bool, i int) (Range, error) {
	var buf [size6]byte
	return f.at(v6, i, buf[:])
}

func (f *File) at(v6 bool, i int, buf []byte) (Range, error) {
	off, n, size := f.span(v6)
	if i < 0 || i >= n {
		return Range{}, fmt.Errorf("read ranges %s: index %d of %d", f.info.Path, i, n)
	}
	if err := f.readAt(buf[:size], off+int64(i)*int64(size)); err != nil {
		return Range{}, err
	}
	return decode(buf, v6), nil
}

// Contains finds the range that holds a by binary search in the file: about twenty reads of one record.
func (f *File) Contains(a netip.Addr) (Range, bool, error) {
	a = a.WithZone("").Unmap()
	if !a.IsValid() {
		return Range{}, false, nil
	}
	v6 := a.Is6()
	_, n, _ := f.span(v6)
	var (
		buf  [size6]byte
		fail error
	)
	i := sort.Search(n, func(i int) bool {
		r, err := f.at(v6, i, buf[:])
		if err != nil && fail == nil {
			fail = err
		}
		return err != nil || a.Compare(r.To) <= 0
	})
	if fail != nil || i == n {
		return Range{}, false, fail
	}
	r, err := f.at(v6, i, buf[:])
	if err != nil || !r.Contains(a) {
		return Range{}, false, err
	}
	return r, true, nil
}

// span is where the records of a family start, how many there are, and the size of one.
func (f *File) span(v6 bool) (off int64, n, size int) {
	if v6 {
		return headerSize + int64(f.info.V4)*size4, f.info.V6, size6
	}
	return headerSize, f.info.V4, size4
}

func (f *File) readAt(b []byte, off int64) error {
	if _, err := f.f.ReadAt(b, off); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: shorter than its header says", ErrCorrupt)
		}
		return fmt.Errorf("read ranges %s: %w", f.info.Path, err)
	}
	return nil
}

func decode(b []byte, v6 bool) Range {
	if v6 {
		return Range{netip.AddrFrom16([16]byte(b[:16])), netip.AddrFrom16([16]byte(b[16:32]))}
	}
	return Range{netip.AddrFrom4([4]byte(b[:4])), netip.AddrFrom4([4]byte(b[4:8]))}
}
