package header

import (
	"iter"
	"net/http"
	"strings"
)

// Elements are the members of a comma-separated list over all lines of a field, without the white space around them and
// without empty ones. A comma inside a quoted string separates nothing (RFC 9110, section 5.6.1).
func Elements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for line != "" {
				end := elementEnd(line)
				if e := trim(line[:end]); e != "" && !yield(e) {
					return
				}
				if end == len(line) {
					break
				}
				line = line[end+1:]
			}
		}
	}
}

// elementEnd is where the first element of line ends: at its comma, or at the end. A quoted string that nobody closes
// reaches to the end.
func elementEnd(line string) int {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return i
		}
	}
	return len(line)
}

func trim(s string) string { return strings.Trim(s, " \t") }

// Has reports whether one element of the list is token, in whatever case, parameters not looked at.
func Has(lines []string, token string) bool {
	for e := range Elements(lines) {
		name, _, _ := strings.Cut(e, ";")
		if strings.EqualFold(trim(name), token) {
			return true
		}
	}
	return false
}

// AddVary says that the response depends on a request field, unless it says so already.
func AddVary(h http.Header, name string) {
	if vary := h["Vary"]; !Has(vary, name) && !Has(vary, "*") {
		h["Vary"] = append(vary[:len(vary):len(vary)], name)
	}
}

// Directives are the members of a field such as Cache-Control: a name in lower case, and its argument without quotes, in
// order of appearance.
func Directives(lines []string) iter.Seq2[string, Argument] {
	return func(yield func(string, Argument) bool) {
		for e := range Elements(lines) {
			name, value, has := strings.Cut(e, "=")
			a := Argument{Given: has}
			// White space around "=" is no part of the grammar, and such a directive is one that nobody knows.
			if a.Text = value; len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
				a.Text, a.Quoted = unquote(value[1:len(value)-1]), true
			}
			if !yield(strings.ToLower(name), a) {
				return
			}
		}
	}
}

// Argument is what stands behind the "=" of a directive.
type Argument struct {
	Text          string
	Given, Quoted bool
}

func unquote(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
