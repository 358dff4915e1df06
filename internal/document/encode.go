package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/token"
)

// Encode writes v as YAML: the fields in the order of the type, keys of maps sorted, empty values left out as their json
// tags say. Decode reads back what is equal in every field that encoding/json would write.
func Encode(v any) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	root, bad := parseJSON(raw.Bytes())
	if bad != nil {
		return nil, fmt.Errorf("encode %T: %s", v, bad)
	}
	w := &writer{plain: regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9_./:+*@%=-]*( [A-Za-z0-9_./+*@%=(-][A-Za-z0-9_./:+*@%=,()-]*)*$`)}
	w.node(root, "", true)
	return w.out.Bytes(), nil
}

type writer struct {
	out   bytes.Buffer
	plain *regexp.Regexp // texts that may stand without quotes, unless they look like another kind
}

// node writes n after a key or a dash that has been written without the space behind it; fresh says that n may begin on
// the line where the writer stands.
func (w *writer) node(n *node, indent string, fresh bool) {
	space := " "
	if fresh {
		space = ""
	}
	switch {
	case n.kind == mapping && len(n.fields) > 0:
		for i, f := range n.fields {
			w.startLine(i > 0 || !fresh, indent)
			w.out.WriteString(w.scalar(&node{kind: text, text: f.key}) + ":")
			w.node(f.value, indent+"  ", false)
		}
	case n.kind == sequence && len(n.items) > 0:
		if flow, ok := w.flow(n); ok {
			w.out.WriteString(space + flow)
			break
		}
		for i, item := range n.items {
			w.startLine(i > 0 || !fresh, indent)
			w.out.WriteString("- ")
			w.node(item, indent+"  ", true)
		}
	default:
		w.out.WriteString(space + w.scalar(n))
	}
	if indent == "" {
		w.out.WriteByte('\n')
	}
}

func (w *writer) startLine(newline bool, indent string) {
	if newline {
		w.out.WriteString("\n" + indent)
	}
}

// flow is a short list of scalars on one line: [22, 8000-8010].
func (w *writer) flow(n *node) (string, bool) {
	parts, size := make([]string, 0, len(n.items)), 0
	for _, item := range n.items {
		if item.kind >= sequence {
			return "", false
		}
		s := w.scalar(item)
		if item.kind == text && s[0] != '"' && strings.ContainsAny(s, ",[]{}: ") {
			s = quote(item.text)
		}
		if size += len(s) + 2; size > 80 {
			return "", false
		}
		parts = append(parts, s)
	}
	return "[" + strings.Join(parts, ", ") + "]", true
}

func (w *writer) scalar(n *node) string {
	switch n.kind {
	case null:
		return "null"
	case boolean, number:
		return n.text
	case sequence:
		return "[]"
	case mapping:
		return "{}"
	}
	if !w.plain.MatchString(n.text) || strings.HasSuffix(n.text, ":") || looksOther(n.text) {
		return quote(n.text)
	}
	return n.text
}

// looksOther reports whether some YAML reader, of version 1.1 or 1.2, takes s for something else than a text.
func looksOther(s string) bool {
	if token.IsNeedQuoted(s) {
		return true
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf":
		return true
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return true
	}
	// 1.1 has numbers to the base of 60 (12:30:45), dates, and underscores in numbers.
	return strings.Trim(s, "0123456789:-._") == "" && strings.Count(s, ".") != 3 || strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0o") || strings.HasPrefix(s, "0b")
}

// quote is a double-quoted YAML text; JSON's escapes are a part of YAML's.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}
