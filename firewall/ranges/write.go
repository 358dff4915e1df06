package ranges

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A file of ranges is a header of headerSize bytes and then the records: IPv4 ranges of 4+4 bytes, then IPv6 ranges of
// 16+16 bytes, first and last address in network order. The header holds magic (8), version (4), zero (4), and the number
// of IPv4 and of IPv6 ranges (8 each), big-endian. The digest is the SHA-256 of the records followed by the header: the
// same records with other counts would mean other addresses.
const (
	magic      = "pfranges"
	version    = 1
	headerSize = 32
	size4      = 8
	size6      = 32
	// Extension ends the name of a file of ranges; before it stands the digest.
	Extension = ".ranges"
	// TempPattern matches what an interrupted Write leaves behind.
	TempPattern = ".ranges-*"
)

// Info names a file of ranges.
type Info struct {
	Path   string `json:"path"`
	Digest string `json:"digest"` // SHA-256 in hex
	V4     int    `json:"v4"`     // ranges, not addresses
	V6     int    `json:"v6"`
}

// Write stores s in dir as <digest>.ranges and returns it once it is durable. A file of that name that is intact is kept as
// it is, so storing the same addresses twice changes nothing. A sequence that is not canonical, or ends with an error,
// leaves no file.
func Write(dir string, s Seq) (Info, error) {
	f, err := os.CreateTemp(dir, TempPattern)
	if err != nil {
		return Info{}, fmt.Errorf("write ranges: %w", err)
	}
	defer os.Remove(f.Name()) // without effect after the rename
	defer f.Close()
	info, err := Encode(f, s)
	if err != nil {
		return Info{}, fmt.Errorf("write ranges in %s: %w", dir, err)
	}
	info.Path = filepath.Join(dir, info.Digest+Extension)
	if intact(info) {
		return info, nil
	}
	if err := f.Sync(); err != nil {
		return Info{}, fmt.Errorf("write ranges: %w", err)
	}
	if err := f.Close(); err != nil {
		return Info{}, fmt.Errorf("write ranges: %w", err)
	}
	if err := os.Rename(f.Name(), info.Path); err != nil {
		return Info{}, fmt.Errorf("write ranges: %w", err)
	}
	return info, syncDir(dir)
}

// intact reports whether the file of info is there and holds what its name says.
func intact(info Info) bool {
	f, err := Open(info.Path)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Verify() == nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}

// Encode writes s in the format of a file of ranges to w, from its start; the Info has no Path. What is in w after an error
// is not a file of ranges: its header is written last.
func Encode(w io.WriteSeeker, s Seq) (Info, error) {
	if _, err := w.Seek(headerSize, io.SeekStart); err != nil {
		return Info{}, err
	}
	sum := sha256.New()
	buf := bufio.NewWriterSize(io.MultiWriter(w, sum), blockSize)
	rec := make([]byte, size6)
	var (
		info  Info
		last  Range
		first = true
	)
	for r, err := range s {
		if err == nil {
			err = follows(last, r, first)
		}
		if err != nil {
			return Info{}, err
		}
		last, first = r, false
		n := size6
		if r.Is4() {
			n = size4
			a, b := r.From.As4(), r.To.As4()
			copy(rec, a[:])
			copy(rec[4:], b[:])
			info.V4++
		} else {
			a, b := r.From.As16(), r.To.As16()
			copy(rec, a[:])
			copy(rec[16:], b[:])
			info.V6++
		}
		if _, err := buf.Write(rec[:n]); err != nil {
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
	h := make([]byte, 0, headerSize)
	h = append(h, magic...)
	h = binary.BigEndian.AppendUint32(h, version)
	h = binary.BigEndian.AppendUint32(h, 0)
	h = binary.BigEndian.AppendUint64(h, uint64(v4))
	return binary.BigEndian.AppendUint64(h, uint64(v6))
}
