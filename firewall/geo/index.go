package geo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sort"

	"github.com/platformd/platformd/firewall/ranges"
)

// Index looks countries up in a database that is in memory: its bytes as Encode wrote them, which it does not copy. It
// allocates nothing, and may be asked from many goroutines.
type Index struct{ v4, v6 []byte }

// NewIndex checks the header and the size of a database. Its records are believed; File.Verify is for those who have doubts.
func NewIndex(b []byte) (*Index, error) {
	if len(b) < headerSize {
		return nil, fmt.Errorf("index country database: %w: it has %d bytes", ranges.ErrCorrupt, len(b))
	}
	h, rest := b[:headerSize], b[headerSize:]
	v4, v6 := binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint64(h[24:])
	if v4 > uint64(len(rest)) || v6 > uint64(len(rest)) || !bytes.Equal(h, header(int(v4), int(v6))) || v4*size4+v6*size6 != uint64(len(rest)) {
		return nil, fmt.Errorf("index country database: %w: its header and its size of %d bytes do not agree", ranges.ErrCorrupt, len(b))
	}
	return &Index{rest[:v4*size4], rest[v4*size4:]}, nil
}

// Country is the country of an address, the zero Code where it is unknown.
func (x *Index) Country(a netip.Addr) Code {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return find(x.v4, size4, b[:])
	}
	if !a.Is6() {
		return Code{}
	}
	b := a.As16()
	return find(x.v6, size6, b[:])
}

// find looks for the record that a lies in, among sorted ones of a size.
func find(records []byte, size int, a []byte) Code {
	n := len(records) / size
	i := sort.Search(n, func(i int) bool { return bytes.Compare(a, records[i*size+len(a):i*size+2*len(a)]) <= 0 })
	if i == n {
		return Code{}
	}
	r := records[i*size : (i+1)*size]
	if bytes.Compare(a, r[:len(a)]) < 0 {
		return Code{}
	}
	return Code(r[2*len(a):])
}
