package geo

import (
	"bufio"
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

	"github.com/platformd/platformd/firewall/ranges"
)

// A database file is a header of headerSize bytes and then the records, IPv4 first: first and last address in network
// order and the country code. The header holds magic (8), version (4), zero (4), and the number of IPv4 and IPv6 records
// (8 each), big-endian. The digest is the SHA-256 of the records followed by the header.
const (
	magic      = "pfgeodb\n"
	version    = 1
	headerSize = 32
	size4      = 4 + 4 + 2
	size6      = 16 + 16 + 2
	blockSize  = 380 * 170 // a multiple of both record sizes, about 64 KiB
	// Extension ends the name of a database file; before it stands the digest.
	Extension = ".geo"
)

// Info names a database file.
type Info struct {
	Path   string `json:"path"`
	Digest string `json:"digest"` // SHA-256 in hex
	V4     int    `json:"v4"`     // records
	V6     int    `json:"v6"`
}

// Encode writes s as a database file to w, from its start; the Info has no Path.
func Encode(w io.WriteSeeker, s Seq) (Info, error) {
	if _, err := w.Seek(headerSize, io.SeekStart); err != nil {
		return Info{}, err
	}
	sum := sha256.New()
	buf := bufio.NewWriterSize(io.MultiWriter(w, sum), blockSize)
	var (
		info  Info
		last  Record
		first = true
		rec   = make([]byte, 0, size6)
	)
	for r, err := range s {
		if err == nil {
			err = follows(last, r, first)
		}
		if err != nil {
			return Info{}, err
		}
		last, first = r, false
		rec = rec[:0]
		if r.Is4() {
			a, b := r.From.As4(), r.To.As4()
			rec = append(append(rec, a[:]...), b[:]...)
			info.V4++
		} else {
			a, b := r.From.As16(), r.To.As16()
			rec = append(append(rec, a[:]...), b[:]...)
			info.V6++
		}
		if _, err := buf.Write(append(rec, r.Country[:]...)); err != nil {
			return Info{}, err
		}
	}
	if err := buf.Flush(); err != nil {
		return Info{}, err
	}
	h := header(info.V4, info.V6)
	sum.Write(h)
	if _, err := w.Seek(0, io.SeekStart); err != nil {
		return Info{}, err
	}
	if _, err := w.Write(h); err != nil {
		return Info{}, err
	}
	info.Digest = hex.EncodeToString(sum.Sum(nil))
	return info, nil
}

func header(v4, v6 int) []byte {
	h := append(make([]byte, 0, headerSize), magic...)
	h = binary.BigEndian.AppendUint32(h, version)
	h = binary.BigEndian.AppendUint32(h, 0)
	h = binary.BigEndian.AppendUint64(h, uint64(v4))
	return binary.BigEndian.AppendUint64(h, uint64(v6))
}

// File is an open database. All methods but Close may be called from many goroutines at once.
type File struct {
	f    *os.File
	info Info
}

// Open opens a database and checks its header and size. It does not read the records: see Verify.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open country database: %w", err)
	}
	file, err := NewFile(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	file.info.Digest = strings.TrimSuffix(filepath.Base(path), Extension)
	return file, nil
}

// NewFile reads what Encode wrote to f. The File owns f unless there is an error. Its Info has no Digest.
func NewFile(f *os.File) (*File, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open country database: %w", err)
	}
	h := make([]byte, headerSize)
	if _, err := f.ReadAt(h, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("open country database %s: %w", f.Name(), err)
	}
	v4, v6 := binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint64(h[24:])
	const most = 1 << 40 // keeps the sum below from overflowing
	if v4 > most || v6 > most || !bytes.Equal(h, header(int(v4), int(v6))) || int64(headerSize+v4*size4+v6*size6) != st.Size() {
		return nil, fmt.Errorf("open country database %s: %w: its header and its size of %d bytes do not agree", f.Name(), ranges.ErrCorrupt, st.Size())
	}
	return &File{f: f, info: Info{Path: f.Name(), V4: int(v4), V6: int(v6)}}, nil
}

// Info is the path, the digest that the name states, and the counts.
func (f *File) Info() Info { return f.info }

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// Verify reads the whole file and compares it with its digest and with the rules of canonical order.
func (f *File) Verify() error {
	sum := sha256.New()
	for _, v6 := range []bool{false, true} {
		if err := f.raw(v6, func(b []byte) error { sum.Write(b); return nil }); err != nil {
			return err
		}
	}
	sum.Write(header(f.info.V4, f.info.V6))
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.info.Digest {
		return fmt.Errorf("verify country database %s: %w: digest is %s", f.info.Path, ranges.ErrCorrupt, got)
	}
	for _, err := range f.All() {
		if err != nil {
			return err
		}
	}
	return nil
}

// errStop ends raw when the reader of a sequence has had enough.
var errStop = errors.New("stop")

// All reads every record in order, and ends with an error where the file is not canonical.
func (f *File) All() Seq {
	return func(yield func(Record, error) bool) {
		var last Record
		first := true
		for _, v6 := range []bool{false, true} {
			size := sizeOf(v6)
			err := f.raw(v6, func(b []byte) error {
				for ; len(b) > 0; b = b[size:] {
					r := decode(b, v6)
					if err := follows(last, r, first); err != nil {
						return fmt.Errorf("read country database %s: %w: %w", f.info.Path, ranges.ErrCorrupt, err)
					}
					last, first = r, false
					if !yield(r, nil) {
						return errStop
					}
				}
				return nil
			})
			if errors.Is(err, errStop) {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
		}
	}
}

// Lookup finds the country of an address by binary search in the file. ok is false, and the range the zero Range, for an
// address of unknown country.
func (f *File) Lookup(a netip.Addr) (cc string, r ranges.Range, ok bool, err error) {
	a = a.WithZone("").Unmap()
	if !a.IsValid() {
		return "", r, false, nil
	}
	v6, buf := a.Is6(), make([]byte, size6)
	n := f.info.V4
	if v6 {
		n = f.info.V6
	}
	var found Record
	sort.Search(n, func(i int) bool {
		if err != nil {
			return true
		}
		var rec Record
		rec, err = f.at(v6, i, buf)
		if err == nil && rec.Contains(a) {
			found = rec
		}
		return err != nil || a.Compare(rec.To) <= 0
	})
	if err != nil || found.Country == (Code{}) {
		return "", r, false, err
	}
	return found.Country.String(), found.Range, true, nil
}

func (f *File) at(v6 bool, i int, buf []byte) (Record, error) {
	b := buf[:sizeOf(v6)]
	if err := f.readAt(b, f.offset(v6)+int64(i)*int64(len(b))); err != nil {
		return Record{}, err
	}
	return decode(b, v6), nil
}

func (f *File) raw(v6 bool, fn func([]byte) error) error {
	off, left := f.offset(v6), int64(f.info.V4)*size4
	if v6 {
		left = int64(f.info.V6) * size6
	}
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

func (f *File) readAt(b []byte, off int64) error {
	if _, err := f.f.ReadAt(b, off); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: shorter than its header says", ranges.ErrCorrupt)
		}
		return fmt.Errorf("read country database %s: %w", f.info.Path, err)
	}
	return nil
}

func (f *File) offset(v6 bool) int64 {
	if v6 {
		return headerSize + int64(f.info.V4)*size4
	}
	return headerSize
}

func sizeOf(v6 bool) int {
	if v6 {
		return size6
	}
	return size4
}

func decode(b []byte, v6 bool) Record {
	if v6 {
		return Record{ranges.Range{From: netip.AddrFrom16([16]byte(b)), To: netip.AddrFrom16([16]byte(b[16:]))}, Code(b[32:34])}
	}
	return Record{ranges.Range{From: netip.AddrFrom4([4]byte(b)), To: netip.AddrFrom4([4]byte(b[4:]))}, Code(b[8:10])}
}
