package feeds

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// sniff is how much of a feed Detect gets to see, sniffLines how many lines with content it judges.
const (
	sniff      = 64 << 10
	sniffLines = 50
)

// Detect guesses the format from the beginning of a feed. A feed without content is a Netset. It is an error when fewer
// than half of the lines fit any format.
func Detect(head []byte) (string, error) {
	var lines []string
	text := string(head)
	if len(head) >= sniff { // the last line is probably cut
		text = text[:strings.LastIndexByte(text, '\n')+1]
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); uncomment(line) != "" {
			lines = append(lines, line)
		}
		if len(lines) == sniffLines {
			break
		}
	}
	if len(lines) == 0 {
		return Netset, nil
	}
	switch lines[0][0] {
	case '<':
		return "", errors.New("it is a web page (HTML or XML), not a list; check the address")
	case '{':
		return JSON, nil
	}
	best, score := "", 0
	try := func(format string, read lineReader) {
		n := 0
		for _, line := range lines {
			if _, ok, err := read(&parser{}, line); ok && err == nil {
				n++
			}
		}
		if n > score {
			best, score = format, n
		}
	}
	try(Netset, readNetset)
	try(Hosts, readHosts)
	for n := 1; n <= min(len(split(lines[0])), 20); n++ {
		if len(split(lines[0])) > 1 {
			try(csvTag+strconv.Itoa(n), readCSV(n))
		}
	}
	if score*2 < len(lines) {
		return "", fmt.Errorf("%w: the format was not recognised, the first line is %q; name one of netset, json, hosts, csv:N", ErrFormat, clip(lines[0]))
	}
	return best, nil
}
