package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/api/wire"
)

// style is an ANSI colour; it is used on a terminal only.
type style string

const (
	plain  style = ""
	bold   style = "1"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	dim    style = "2"
)

// colours reports whether w is a terminal that shows them, and nobody asked for none (no-color.org).
func (a *app) colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || a.env("NO_COLOR") != "" || a.env("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (a *app) paint(s style, text string) string {
	if s == plain || text == "" || !a.colours(a.out) {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// table is aligned columns. What came from outside is made printable, so that no cell steers the terminal.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// print writes the table; a column that is empty everywhere is left out.
func (a *app) print(t *table) {
	width := make([]int, len(t.head))
	for _, r := range t.rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for i := range width {
		if width[i] > 0 {
			width[i] = max(width[i], utf8.RuneCountInString(t.head[i]))
		}
	}
	line := func(cells []string, s style) {
		var b strings.Builder
		for i, c := range cells {
			if width[i] > 0 {
				fmt.Fprintf(&b, "%s%s  ", c, strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)))
			}
		}
		a.printf("%s\n", a.paint(s, strings.TrimRight(b.String(), " ")))
	}
	line(t.head, bold)
	for _, r := range t.rows {
		line(r, plain)
	}
}

// printable replaces control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}

// when is a moment for people, in local time.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// left is how long it takes until t.
func (a *app) left(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if d := t.Sub(a.now()); d > 0 {
		return wire.FormatDuration(d)
	}
	return "ended"
}

// ago is how long t is past.
func (a *app) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return wire.FormatDuration(a.now().Sub(t)) + " ago"
}

func join[T any](in []T) string {
	var out []string
	for _, v := range in {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ", ")
}
