package page

import (
	"encoding/json"
	"html"
	"strconv"
	"strings"
)

// Form is how a page is written.
type Form int

// The forms. A client that says nothing of what it likes, such as curl, gets Text.
const (
	HTML Form = iota
	JSON
	Text
	forms
)

// ContentType is that of a form. JSON of the operator's own need not be the problem details of RFC 9457.
func (f Form) ContentType() string {
	return [forms]string{HTML: "text/html; charset=utf-8", JSON: "application/json", Text: "text/plain; charset=utf-8"}[f]
}

// Values are what is filled in.
type Values struct {
	Status    int
	Title     string // of the status
	Host      string
	RequestID string
}

// variables are the names behind $.
var variables = [...]string{"status", "title", "host", "request_id"}

func (v *Values) get(name string) string {
	switch name {
	case "status":
		return strconv.Itoa(v.Status)
	case "title":
		return v.Title
	case "host":
		return v.Host
	}
	return v.RequestID
}

// escape makes s harmless in a form: in HTML also within a quoted attribute, in JSON within a string.
func (f Form) escape(s string) string {
	switch f {
	case HTML:
		return html.EscapeString(s)
	case JSON:
		b, _ := json.Marshal(s) // of a string it never fails
		return string(b[1 : len(b)-1])
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

func (t *template) render(v *Values) []byte {
	var b []byte
	for i, piece := range t.pieces {
		if i%2 == 1 {
			piece = t.form.escape(v.get(piece))
		}
		b = append(b, piece...)
	}
	return b
}
