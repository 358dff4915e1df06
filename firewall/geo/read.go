package geo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/platformd/platformd/firewall/ranges"
)

// The formats of a source.
const (
	Tor  = "tor"  // first,last,country a line; IPv4 as numbers; # starts a comment line
	CSV  = "csv"  // the same with or without quotes; addresses or numbers
	MMDB = "mmdb" // read by geo/mmdb
)

// ErrTooLarge is the cause where a source has more than is allowed.
var ErrTooLarge = errors.New("too large")

// ErrFormat is the cause where a source is not what its format says.
var ErrFormat = errors.New("not in this format")

// Limits bound what is read. Zero values are the defaults.
type Limits struct {
	Bytes   int64 `json:"bytes,omitempty"`   // 256 MiB
	Records int   `json:"records,omitempty"` // 2,000,000, after adjacent ones are joined
}

// OrDefaults fills in the zero values.
func (l Limits) OrDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 256 << 20
	}
	if l.Records <= 0 {
		l.Records = 2_000_000
	}
	return l
}

// Stats is what was seen while reading a source.
type Stats struct {
	Format  string `json:"format"`
	Lines   int    `json:"lines"` // or networks
	Records int    `json:"records"`
	// Unknown lines name no country, or a code that is nobody's.
	Unknown int `json:"unknown,omitempty"`
	Bad     int `json:"bad,omitempty"`
	// FirstBad says what is wrong with the first bad line.
	FirstBad string `json:"first_bad,omitempty"`
}

const (
	lineBytes = 4096
	// A source may hold this many bad lines, or one in badShare.
	badFew   = 10
	badShare = 100
)

// CheckFormat reports why format is none, nil if it is one or empty.
func CheckFormat(format string) error {
	switch format {
	case "", Tor, CSV, MMDB:
		return nil
	}
	return fmt.Errorf("format %q is unknown; write tor, csv, mmdb, or nothing to detect it", format)
}

// mmdbMarker stands before the metadata at the end of a MaxMind DB.
const mmdbMarker = "\xab\xcd\xefMaxMind.com"

// Detect tells the format of a file by its content.
func Detect(r io.ReaderAt, size int64) (string, error) {
	tail := make([]byte, min(size, 128<<10)) // the specification allows 128 KiB of metadata
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("detect format: %w", err)
	}
	if bytes.Contains(tail, []byte(mmdbMarker)) {
		return MMDB, nil
	}
	head := make([]byte, min(size, lineBytes))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("detect format: %w", err)
	}
	if bytes.HasPrefix(head, []byte("#")) {
		return Tor, nil
	}
	if len(head) > 0 && bytes.IndexByte(head, 0) < 0 && bytes.Count(head, []byte(",")) >= 2 {
		return CSV, nil
	}
	return "", fmt.Errorf("%w: neither a MaxMind DB nor lines of first,last,country", ErrFormat)
}

// Builder gathers the records of one source.
type Builder struct {
	Stats Stats
	lim   Limits
	known map[Code]string
	recs  []Record
}

// NewBuilder starts an empty source.
func NewBuilder(format string, lim Limits) *Builder {
	return &Builder{Stats: Stats{Format: format}, lim: lim.OrDefaults(), known: table()}
}

// Add notes that r is of a country. A code of nobody is counted as unknown.
func (b *Builder) Add(r ranges.Range, country []byte) error {
	b.Stats.Lines++
	var c Code
	if len(country) == 2 {
		c, _ = former(Code{country[0] &^ 0x20, country[1] &^ 0x20})
	}
	if b.known[c] == "" {
		b.Stats.Unknown++
		return nil
	}
	if n := len(b.recs); n > 0 && b.recs[n-1].Country == c && b.recs[n-1].To.Next() == r.From {
		b.recs[n-1].To = r.To
		return nil
	}
	if len(b.recs) >= b.lim.Records {
		return fmt.Errorf("%w: more than %d records", ErrTooLarge, b.lim.Records)
	}
	b.recs = append(b.recs, Record{r, c})
	return nil
}

// Records ends the source: canonical, and without addresses that are not public. It is an error when nothing is left.
func (b *Builder) Records() (Seq, Stats, error) {
	if b.Stats.Bad > 0 && (b.Stats.Bad >= b.Stats.Lines || b.Stats.Bad > badFew && b.Stats.Bad*badShare > b.Stats.Lines) {
		return nil, b.Stats, fmt.Errorf("%w: %d of %d lines are bad, %s", ErrFormat, b.Stats.Bad, b.Stats.Lines, b.Stats.FirstBad)
	}
	b.recs = sortRecords(b.recs)
	b.Stats.Records = len(b.recs)
	if len(b.recs) == 0 {
		return nil, b.Stats, fmt.Errorf("%w: no record with a country in %d lines", ErrFormat, b.Stats.Lines)
	}
	return Without(Records(b.recs), ranges.Reserved()), b.Stats, nil
}

// Read reads a source in format Tor or CSV.
func Read(r io.Reader, format string, lim Limits) (Seq, Stats, error) {
	if format != Tor && format != CSV {
		return nil, Stats{}, fmt.Errorf("read country data: format %q has no lines", format)
	}
	b := NewBuilder(format, lim)
	left := &io.LimitedReader{R: r, N: b.lim.Bytes + 1}
	br := bufio.NewReaderSize(left, 64<<10)
	for n := 1; ; n++ {
		line, err := br.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull) || len(line) > lineBytes
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, b.Stats, fmt.Errorf("read country data: line %d: %w", n, err)
		}
		if left.N <= 0 {
			return nil, b.Stats, fmt.Errorf("read country data: %w: more than %d bytes", ErrTooLarge, b.lim.Bytes)
		}
		if addErr := b.line(n, bytes.TrimSpace(line), long); addErr != nil {
			return nil, b.Stats, fmt.Errorf("read country data: %w", addErr)
		}
		if err != nil {
			break
		}
	}
	s, stats, err := b.Records()
	if err != nil {
		err = fmt.Errorf("read country data: %w", err)
	}
	return s, stats, err
}

func (b *Builder) line(n int, line []byte, long bool) error {
	if !long && (len(line) == 0 || line[0] == '#') {
		return nil
	}
	r, cc, err := ranges.Range{}, []byte(nil), fmt.Errorf("longer than %d bytes", lineBytes)
	if !long {
		r, cc, err = fields(line)
	}
	if err == nil {
		return b.Add(r, cc)
	}
	b.Stats.Lines++
	b.Stats.Bad++
	if b.Stats.FirstBad == "" {
		b.Stats.FirstBad = fmt.Sprintf("line %d: %v", n, err)
	}
	return nil
}

// fields cuts first,last,country out of a line; what comes after is ignored.
func fields(line []byte) (r ranges.Range, cc []byte, err error) {
	var f [3][]byte
	rest, more := line, true
	for i := range f {
		if !more {
			return r, nil, errors.New("has fewer than 3 columns: first,last,country are expected")
		}
		f[i], rest, more = bytes.Cut(rest, []byte(","))
		f[i] = bytes.Trim(bytes.TrimSpace(f[i]), `"`)
	}
	if r.From, err = address(f[0]); err != nil {
		return r, nil, err
	}
	if r.To, err = address(f[1]); err != nil {
		return r, nil, err
	}
	if !r.IsValid() {
		return r, nil, fmt.Errorf("%v to %v is not a range", r.From, r.To)
	}
	if len(f[2]) > 2 {
		return r, nil, fmt.Errorf("%q is not a country code", f[2][:min(len(f[2]), 20)])
	}
	return r, f[2], nil
}

// address reads an address, or an IPv4 address as a number.
func address(b []byte) (netip.Addr, error) {
	s := string(b)
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an address", s[:min(len(s), 50)])
	}
	return a.Unmap(), nil
}
