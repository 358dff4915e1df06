// Package document reads what a person wrote, YAML or JSON, into a typed value, and says everything that is wrong with it
// at once, each mistake with its line, its column and the path of its field.
//
// The model in words. Text becomes a small tree of nodes that know where they stand (parse). The tree is laid over the
// target's fields by their json tags (Decode); a scalar is handed to the type's own UnmarshalText, whose sentence becomes
// the mistake. What only a domain can judge is judged later, on the value: its errors name a field path, and Place puts
// the line to it. Encode is the way back: the fields in the order of the type, empty ones left out as encoding/json does.
//
// Input is hostile: size, depth, number of nodes and what aliases expand to are bounded before anything is allocated for
// them. Unknown and repeated fields are mistakes, never ignored. The package knows no domain, reads no file, and never
// leaves a target half filled.
package document

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a document. A hundred thousand blocks in YAML are about 8 MiB.
const (
	MaxBytes = 16 << 20
	MaxDepth = 32
	// MaxNodes counts scalars, lists and mappings, with every alias expanded.
	MaxNodes = 2_000_000
	// MaxMistakes is how many are listed; the rest is counted.
	MaxMistakes = 100
)

// Mistake is one thing that is wrong, and where. Line and Column count from 1; zero is unknown.
type Mistake struct {
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Path   string `json:"path,omitempty"`
	Reason string `json:"reason"`
}

// String is "line:column: path: reason", without what is unknown.
func (m Mistake) String() string {
	var b strings.Builder
	if m.Line > 0 {
		fmt.Fprintf(&b, "%d:", m.Line)
		if m.Column > 0 {
			fmt.Fprintf(&b, "%d:", m.Column)
		}
		b.WriteByte(' ')
	}
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.Reason)
	return b.String()
}

// Mistakes is the error of Decode and Place: everything that is wrong with one document, by line.
type Mistakes struct {
	File string    `json:"file,omitempty"`
	List []Mistake `json:"mistakes"`
	// More counts those that are not in List.
	More int `json:"more,omitempty"`
}

// Error is one line for each mistake, in the file:line:column form that editors understand.
func (m *Mistakes) Error() string {
	lines := make([]string, 0, len(m.List)+1)
	for _, x := range m.List {
		s := x.String()
		switch {
		case m.File == "":
		case x.Line > 0:
			s = m.File + ":" + s
		default:
			s = m.File + ": " + s
		}
		lines = append(lines, s)
	}
	if m.More > 0 {
		lines = append(lines, "and "+strconv.Itoa(m.More)+" more")
	}
	return strings.Join(lines, "\n")
}

func (m *Mistakes) add(line, column int, path, reason string) {
	if len(m.List) >= MaxMistakes {
		m.More++
		return
	}
	m.List = append(m.List, Mistake{Line: line, Column: column, Path: path, Reason: oneLine(reason)})
}

// err is m, sorted, or nil where nothing is wrong.
func (m *Mistakes) err() error {
	if len(m.List) == 0 {
		return nil
	}
	slices.SortStableFunc(m.List, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return m
}

// oneLine joins the lines of a joined error, so that a mistake stays one line.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
}
