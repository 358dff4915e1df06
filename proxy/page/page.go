// Package page is what clients are shown where the proxy itself answers: errors, and that a site is being worked on.
//
// The model in words. A Config names pages by what they are for: a status ("404"), all of a class ("4xx", "5xx"), or
// "maintenance". A page has up to three forms, HTML, JSON and plain text, and a client gets the one that it likes best by its
// Accept; a form that the page has not got is that of the next page that fits, at last the proxy's own. A form is content that
// stands in the document, or "file:///PATH" for a file below a folder that may be served. In it $status, $title, $host and
// $request_id are filled in, escaped as the form wants it; any other $ stands for itself.
//
// Content is bounded in size and in what it grows to. A file is read when the configuration is put in force, so that a missing one
// is told then, and is looked at again once a second while it is shown; where it cannot be read any more, what was read last
// is shown. The package runs nothing that a page contains and fetches nothing that it names.
package page

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/platformd/platformd/proxy/field"
)

// Maintenance is the name of the page for routes that are being worked on. Where there is none it is that of status 503.
const Maintenance = "maintenance"

// Bounds of a page.
const (
	maxInline    = 64 << 10  // bytes of a form in the document
	maxFile      = 256 << 10 // of one in a file
	maxVariables = 64        // of a form: each may be as long as a host name
)

// Config is pages by what they are for: a status ("404"), a class of them ("4xx" or "5xx"), or "maintenance".
type Config map[string]Page

// Page is one page in the forms that it has. Each is the content itself, or "file:///PATH" for a file below a --file-root.
type Page struct {
	HTML string `json:"html,omitempty"`
	// JSON must be JSON once $status, which is a number, and the other variables, which belong into strings, are filled in.
	JSON string `json:"json,omitempty"`
	Text string `json:"text,omitempty"`
}

// forms gives the forms of p, with the names that they have in the document.
func (p *Page) forms() [forms]struct{ name, content string } {
	return [forms]struct{ name, content string }{HTML: {"html", p.HTML}, JSON: {"json", p.JSON}, Text: {"text", p.Text}}
}

// Validate says everything that is wrong with c, but for what only the files tell.
func (c Config) Validate() error {
	var e field.Errors
	for name, p := range c {
		at := field.Key("", name)
		if name != Maintenance && !IsStatus(name) {
			e.Add(at, "%q must be a status from 400 to 599, 4xx, 5xx or %s", name, Maintenance)
		}
		if p == (Page{}) {
			e.Add(at, "has neither html nor json nor text; give it one of them, or leave it out")
		}
		for f, form := range p.forms() {
			path, isFile := file(form.content)
			switch {
			case form.content == "":
			case isFile && (!filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/"):
				e.Add(at+"."+form.name, "%q: write an absolute path without dot segments, for example file:///srv/www/404.html", form.content)
			case isFile:
			default:
				_, err := parse(Form(f), form.content, maxInline)
				e.Join(at+"."+form.name, err)
			}
		}
	}
	return e.Err()
}

// IsStatus reports whether s is a status of an error, or a class of them: "404", "5xx".
func IsStatus(s string) bool {
	return len(s) == 3 && (s[0] == '4' || s[0] == '5') && (s[1:] == "xx" || strings.Trim(s[1:], "0123456789") == "")
}

// Matches reports whether a status is one of a list of statuses and classes.
func Matches(list []string, status int) bool {
	if len(list) == 0 || status < 400 || status > 599 {
		return false
	}
	return slices.Contains(list, number(status)) || slices.Contains(list, class(status))
}

func class(status int) string { return number(status / 100)[:1] + "xx" }

func number(n int) string { return fmt.Sprint(n) }

// file is the path of a form that stands in a file.
func file(content string) (string, bool) { return strings.CutPrefix(content, "file://") }

// template is content, cut where variables stand: literal text and variables in turn, text first and last.
type template struct {
	form   Form
	pieces []string
}

// parse cuts content up and checks its bounds.
func parse(f Form, content string, most int) (*template, error) {
	if len(content) > most {
		return nil, fmt.Errorf("has %d bytes; at most %d, larger ones can stand in a file (%d) or be served by a route", len(content), most, maxFile)
	}
	t := &template{form: f}
	rest, text := content, ""
	for {
		before, behind, found := strings.Cut(rest, "$")
		text += before
		if !found {
			break
		}
		i := slices.Index(variables[:], behind[:len(behind)-len(strings.TrimLeft(behind, "abcdefghijklmnopqrstuvwxyz_"))])
		if i < 0 {
			text, rest = text+"$", behind
			continue
		}
		t.pieces, text, rest = append(t.pieces, text, variables[i]), "", behind[len(variables[i]):]
	}
	t.pieces = append(t.pieces, text)
	if n := len(t.pieces) / 2; n > maxVariables {
		return nil, fmt.Errorf("has %d variables; at most %d", n, maxVariables)
	}
	if sample := (Values{Status: 404, Title: "Not Found", Host: "a.test", RequestID: "x"}); f == JSON && !json.Valid(t.render(&sample)) {
		return nil, fmt.Errorf(`is not JSON once its variables are filled in; write for example {"status": $status, "error": "$title", "request": "$request_id"}`)
	}
	return t, nil
}
