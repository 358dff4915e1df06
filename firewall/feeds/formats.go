package feeds

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/platformd/platformd/firewall/ranges"
)

func readNetset(_ *parser, line string) (ranges.Range, bool, error) {
	return address(uncomment(line))
}

func readHosts(_ *parser, line string) (ranges.Range, bool, error) {
	first, _, _ := strings.Cut(strings.ReplaceAll(uncomment(line), "\t", " "), " ")
	return address(first)
}

// readJSON reads one line of https://www.spamhaus.org/drop/drop_v4.json: {"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"x"},
// and at the end {"type":"metadata","records":1,...}, which tells whether all of it is there.
func readJSON(p *parser, line string) (ranges.Range, bool, error) {
	if line == "" {
		return ranges.Range{}, false, nil
	}
	var rec struct {
		CIDR    string `json:"cidr"`
		Type    string `json:"type"`
		Records *int   `json:"records"`
	}
	if err := json.Unmarshal([]byte(line), &rec); err != nil {
		return ranges.Range{}, true, fmt.Errorf("%q is not a JSON object with \"cidr\"", clip(line))
	}
	if rec.CIDR == "" && rec.Type == "metadata" {
		if rec.Records != nil && *rec.Records >= 0 {
			p.records = *rec.Records
		}
		return ranges.Range{}, false, nil
	}
	if rec.CIDR == "" {
		return ranges.Range{}, true, errors.New(`object has no "cidr"`)
	}
	r, _, err := address(rec.CIDR)
	return r, true, err
}

// readCSV reads column n, from 1, of lines whose fields are separated by a comma, a semicolon or a tab.
func readCSV(n int) lineReader {
	return func(_ *parser, line string) (ranges.Range, bool, error) {
		if line == "" || line[0] == '#' {
			return ranges.Range{}, false, nil
		}
		fields := split(line)
		if len(fields) < n {
			return ranges.Range{}, true, fmt.Errorf("has %d columns, addresses are expected in column %d", len(fields), n)
		}
		r, ok, err := address(fields[n-1])
		if err == nil && !ok {
			err = fmt.Errorf("column %d is empty", n)
		}
		return r, true, err
	}
}

// split cuts a CSV line. The separator is the first of comma, semicolon and tab outside quotes; no address holds one.
func split(line string) []string {
	var (
		out    []string
		sep    rune
		quoted bool
		start  int
	)
	field := func(s string) string { return strings.Trim(strings.TrimSpace(s), `"`) }
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case sep == 0 && (c == ',' || c == ';' || c == '\t'), c == sep && sep != 0:
			sep = c
			out = append(out, field(line[start:i]))
			start = i + 1
		}
	}
	return append(out, field(line[start:]))
}

func uncomment(line string) string {
	if i := strings.IndexAny(line, "#;"); i >= 0 {
		line = line[:i]
	}
	if i := strings.Index(line, "//"); i >= 0 {
		line = line[:i]
	}
	return strings.TrimSpace(line)
}

// address is ranges.Parse with the common case, a plain address, first.
func address(s string) (ranges.Range, bool, error) {
	if s == "" {
		return ranges.Range{}, false, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return ranges.Single(a.Unmap()), true, nil
	}
	r, err := ranges.Parse(clip(s))
	if err == nil && (r.From.Is4In6() || r.To.Is4In6()) {
		err = fmt.Errorf("%q is IPv4 written as IPv6", clip(s))
	}
	return r, true, err
}
