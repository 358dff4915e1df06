package feeds

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/platformd/platformd/firewall/ranges"
)

// The formats of a feed. CSV is written "csv:N", with addresses in column N from 1.
const (
	Netset = "netset" // an address, prefix or range a line; # ; and // start a comment
	JSON   = "json"   // Spamhaus DROP: an object a line with "cidr", and a last one with "type":"metadata"
	Hosts  = "hosts"  // an address, prefix or range first, then names and comments
	csvTag = "csv:"
)

// Limits bound what Parse reads. Zero values are the defaults.
type Limits struct {
	Bytes     int64 `json:"bytes,omitempty"`      // after decompression; 64 MiB
	Lines     int   `json:"lines,omitempty"`      // 4,000,000
	LineBytes int   `json:"line_bytes,omitempty"` // 4,096; a longer line is a bad line
	Ranges    int   `json:"ranges,omitempty"`     // before merging; 2,000,000
}

func (l Limits) orDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	if l.Lines <= 0 {
		l.Lines = 4_000_000
	}
	if l.LineBytes <= 0 {
		l.LineBytes = 4096
	}
	if l.Ranges <= 0 {
		l.Ranges = 2_000_000
	}
	return l
}

// A feed may hold this many bad lines, or one in badShare, before it is taken to be something else than its format says.
const (
	badFew   = 5
	badShare = 20
	// badShown is how many bad lines are reported.
	badShown = 5
)

// Sentinels for what a caller may branch on.
var (
	ErrTooLarge = errors.New("too large")
	ErrFormat   = errors.New("not in this format")
)

// Result is what Parse read.
type Result struct {
	// Ranges is canonical: sorted, merged.
	Ranges []ranges.Range
	Format string // as given or detected
	Lines  int    // with content: not empty, not a comment
	Bad    int
	// BadLines are the first few.
	BadLines []BadLine
}

// BadLine is a line that holds no address where the format has one.
type BadLine struct {
	Line  int    `json:"line"` // from 1
	Cause string `json:"cause"`
}

// CheckFormat reports why format is none, nil if it is one or empty.
func CheckFormat(format string) error {
	if format == "" {
		return nil
	}
	_, err := readerOf(format)
	return err
}

// Parse reads a feed, gzipped or not. An empty format is detected from the first lines. It ends with an error where the
// feed is too large, or has so many bad lines that it is likely to be something else; a few bad lines are only counted.
func Parse(r io.Reader, format string, lim Limits) (Result, error) {
	lim = lim.orDefaults()
	br := bufio.NewReaderSize(r, max(sniff, lim.LineBytes))
	if b, _ := br.Peek(2); len(b) == 2 && b[0] == 0x1f && b[1] == 0x8b {
		z, err := gzip.NewReader(br)
		if err != nil {
			return Result{}, fmt.Errorf("parse feed: gzip: %w", err)
		}
		r = z
	} else {
		r = br
	}
	br = bufio.NewReaderSize(&limited{r: r, left: lim.Bytes, most: lim.Bytes}, max(sniff, lim.LineBytes))
	if b, _ := br.Peek(3); bytes.Equal(b, []byte("\xef\xbb\xbf")) {
		br.Discard(3)
	}
	if format == "" {
		head, err := br.Peek(sniff)
		if err != nil && !errors.Is(err, io.EOF) {
			return Result{}, fmt.Errorf("parse feed: %w", err)
		}
		if format, err = Detect(head); err != nil {
			return Result{}, fmt.Errorf("parse feed: %w", err)
		}
	}
	read, err := readerOf(format)
	if err != nil {
		return Result{}, fmt.Errorf("parse feed: %w", err)
	}
	p := parser{lim: lim, res: Result{Format: format}}
	if err := p.run(br, read); err != nil {
		return p.res, fmt.Errorf("parse feed as %s: %w", format, err)
	}
	p.res.Ranges = ranges.Normalize(p.all)
	return p.res, nil
}

type parser struct {
	lim     Limits
	res     Result
	all     []ranges.Range
	records int // what a metadata line claims, -1 without one
}

// lineReader finds the range in one line. ok is false for a line without content. It may note what a line says about the
// whole feed in p.
type lineReader func(p *parser, line string) (r ranges.Range, ok bool, err error)

func readerOf(format string) (lineReader, error) {
	switch {
	case format == Netset:
		return readNetset, nil
	case format == Hosts:
		return readHosts, nil
	case format == JSON:
		return readJSON, nil
	case strings.HasPrefix(format, csvTag):
		if n, err := strconv.Atoi(format[len(csvTag):]); err == nil && n >= 1 && n <= 100 {
			return readCSV(n), nil
		}
	}
	return nil, fmt.Errorf("format %q is unknown; write netset, json, hosts, csv:N with the column of the addresses from 1 to 100, or nothing to detect it", format)
}

func (p *parser) run(br *bufio.Reader, read lineReader) error {
	p.records = -1
	for n := 1; ; n++ {
		line, long, err := readLine(br, p.lim.LineBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", n, err)
		}
		end := err != nil
		if end && line == "" && !long {
			break
		}
		if n > p.lim.Lines {
			return fmt.Errorf("%w: more than %d lines", ErrTooLarge, p.lim.Lines)
		}
		p.take(n, line, long, read)
		if len(p.all) > p.lim.Ranges {
			return fmt.Errorf("%w: more than %d ranges", ErrTooLarge, p.lim.Ranges)
		}
		if end {
			break
		}
	}
	return p.judge()
}

func (p *parser) take(n int, line string, long bool, read lineReader) {
	var (
		r   ranges.Range
		ok  = true
		err error
	)
	if long {
		err = fmt.Errorf("longer than %d bytes", p.lim.LineBytes)
	} else {
		r, ok, err = read(p, line)
	}
	switch {
	case err != nil:
		if p.res.Lines == 0 && strings.HasPrefix(p.res.Format, csvTag) && !strings.ContainsAny(line, "0123456789") {
			return // the names of the columns
		}
		p.res.Lines++
		p.res.Bad++
		if len(p.res.BadLines) < badShown {
			p.res.BadLines = append(p.res.BadLines, BadLine{n, clip(err.Error())})
		}
	case ok:
		p.res.Lines++
		p.all = append(p.all, r)
	}
}

func (p *parser) judge() error {
	res := &p.res
	if res.Bad > 0 && (res.Bad == res.Lines || res.Bad > badFew && res.Bad*badShare > res.Lines) {
		first := res.BadLines[0]
		return fmt.Errorf("%w: %d of %d lines are bad, first line %d: %s", ErrFormat, res.Bad, res.Lines, first.Line, first.Cause)
	}
	if p.records >= 0 && p.records != res.Lines {
		return fmt.Errorf("%w: its metadata says %d records, there are %d: it is not complete", ErrFormat, p.records, res.Lines)
	}
	return nil
}

// readLine reads one line without its end. Of a line longer than most it reads everything and returns long.
func readLine(br *bufio.Reader, most int) (line string, long bool, err error) {
	b, err := br.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = br.ReadSlice('\n')
	}
	if long || len(b) > most {
		return "", true, err
	}
	return strings.TrimSpace(string(b)), false, err
}

// limited is io.LimitReader with an error at the limit instead of a silent end.
type limited struct {
	r    io.Reader
	left int64
	most int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.most)
	}
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	l.left -= int64(n)
	if l.left < 0 {
		return n - 1, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.most)
	}
	return n, err
}

// clip makes outside text fit for a message: short, printable, one line.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
	if len(s) > 160 {
		s = strings.ToValidUTF8(s[:160], "") + "..."
	}
	return s
}
