package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// printer writes for people; colours only on a terminal.
type printer struct {
	w      io.Writer
	colour bool
}

func newPrinter(f *os.File) *printer {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &printer{w: f, colour: err == nil && os.Getenv("NO_COLOR") == ""}
}

func (p *printer) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *printer) say(s string) { fmt.Fprintln(p.w, s) }

func (p *printer) title(s string) { fmt.Fprintf(p.w, "\n%s\n", p.paint("1", "== "+s)) }

func (p *printer) command(line string) {
	fmt.Fprintf(p.w, "\n  %s\n", p.paint("36", "$ platformctl "+line))
}

// output shows what a command printed, at most so many lines of it.
func (p *printer) output(text string, most int) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		if i == most {
			fmt.Fprintf(p.w, "    ... %d more lines\n", len(lines)-most)
			break
		}
		fmt.Fprintln(p.w, "    "+l)
	}
}

// seen is what a client saw, beside what it should have seen.
func (p *printer) seen(what string, got, want bool, yes, no string) {
	word, mark := p.paint("31", no), p.paint("32", "as it should be")
	if got {
		word = p.paint("32", yes)
	}
	if got != want {
		mark = p.paint("1;31", "NOT as it should be")
	}
	fmt.Fprintf(p.w, "  > %-46s %-12s %s\n", what, word, mark)
}
