package document

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
)

// fieldError is what a domain's validation error offers so that it can be given a line.
type fieldError interface{ FieldPath() string }

// Locate is the line and column of the value at path ("firewall.ports[2].sources[0]") in a document that Decode accepts.
// Where the path leads beyond what is written, it is the place of the nearest value above; 0, 0 where the text cannot be
// read.
func Locate(data []byte, path string) (line, column int) {
	return locate(parse(data, "", &Mistakes{}), path)
}

func locate(n *node, path string) (line, column int) {
	if n == nil {
		return 0, 0
	}
	line, column = n.line, n.col
	for step := range steps(path) {
		var next *node
		if i, err := strconv.Atoi(step); err == nil && n.kind == sequence && i >= 0 && i < len(n.items) {
			next = n.items[i]
			line, column = next.line, next.col
		}
		for _, f := range n.fields {
			if f.key == step {
				next, line, column = f.value, f.line, f.col
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return line, column
}

// steps are the field names and indexes of a path, without dots, brackets and quotes.
func steps(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for path != "" {
			var step string
			switch {
			case strings.HasPrefix(path, `["`):
				quoted, err := strconv.QuotedPrefix(path[1:])
				if err != nil {
					return
				}
				step, _ = strconv.Unquote(quoted)
				path = strings.TrimPrefix(path[1+len(quoted):], "]")
			case path[0] == '[':
				step, path, _ = strings.Cut(path[1:], "]")
			default:
				end := strings.IndexAny(path, ".[")
				if end < 0 {
					end = len(path)
				}
				step, path = path[:end], path[end:]
			}
			path = strings.TrimPrefix(path, ".")
			if !yield(step) {
				return
			}
		}
	}
}

// Place turns the error of a semantic validation into Mistakes: every joined or wrapped error that has a FieldPath method
// gets the line of its field in data, the others stand without. It is nil where err is. An error that is *Mistakes
// already is returned as it is.
func Place(err error, data []byte, name string) error {
	if err == nil {
		return nil
	}
	var done *Mistakes
	if errors.As(err, &done) {
		return err
	}
	ms := &Mistakes{File: name}
	root := parse(data, name, &Mistakes{})
	for _, one := range leaves(err, nil) {
		var at fieldError
		if !errors.As(one, &at) {
			ms.add(0, 0, "", one.Error())
			continue
		}
		line, column := locate(root, at.FieldPath())
		reason := strings.TrimPrefix(one.Error(), at.FieldPath()+": ")
		ms.add(line, column, at.FieldPath(), reason)
	}
	return cmp.Or(ms.err(), err)
}

// leaves takes joined errors apart; an error that wraps a single one stays whole.
func leaves(err error, out []error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = leaves(e, out)
		}
		return out
	}
	return append(out, err)
}
