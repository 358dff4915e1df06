// Package report is what is asked of an import of a compose file, and what it tells: the part of compose that those need who do
// not read such files themselves.
//
// A program that only talks about imports should not pay for reading them: the library that does it takes longer to come up
// than most commands take.
package report

import (
	"fmt"

	"github.com/platformd/platformd/apps"
)

// Program reads compose files for others: a Request on its standard input, an Answer on its standard output.
const Program = "platform-compose"

// Request is one import.
type Request struct {
	File []byte `json:"file"`
	// EnvFile are NAME=VALUE lines; Options.Variables stand above them.
	EnvFile []byte  `json:"env_file,omitempty"`
	Options Options `json:"options"`
}

// Answer has a Result and its manifest as YAML, or says what is wrong.
type Answer struct {
	Error    string  `json:"error,omitempty"`
	Result   *Result `json:"result,omitempty"`
	Manifest []byte  `json:"manifest,omitempty"`
}

// Options of an import.
type Options struct {
	// Name is the id of the manifest; empty is the name of the project, else that of the service.
	Name string `json:"name,omitempty"`
	// Service is the one that becomes the app; empty is a guess, which is told.
	Service string `json:"service,omitempty"`
	// HTTPPort is where it serves HTTP; 0 is a guess, which is told.
	HTTPPort uint16 `json:"http_port,omitempty"`
	// Variables are what ${NAME} in the file stands for.
	Variables map[string]string `json:"variables,omitempty"`
}

// Status is what became of a setting.
type Status string

// The statuses.
const (
	Taken   Status = "taken"
	Changed Status = "changed"
	Left    Status = "left out"
)

// Line is what became of one setting, or of all below it.
type Line struct {
	// Line counts from 1; 0 is unknown.
	Line   int    `json:"line,omitempty"`
	Path   string `json:"path"`
	Status Status `json:"status"`
	// Text says what holds in its place, or why it cannot be taken and what to do.
	Text string `json:"text,omitempty"`
}

// String is one line of a report.
func (l Line) String() string {
	out := fmt.Sprintf("%s: %s", l.Path, l.Status)
	if l.Line > 0 {
		out = fmt.Sprintf("%d: %s", l.Line, out)
	}
	if l.Text != "" {
		out += ": " + l.Text
	}
	return out
}

// Result is a manifest and what became of each setting, by line.
type Result struct {
	Manifest apps.Manifest `json:"manifest"`
	Service  string        `json:"service"`
	Lines    []Line        `json:"lines"`
}

// LeftOut counts what was not taken.
func (r *Result) LeftOut() int {
	n := 0
	for _, l := range r.Lines {
		if l.Status == Left {
			n++
		}
	}
	return n
}
