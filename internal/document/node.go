package document

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// kind is what a node is, whichever syntax it came from.
type kind int

const (
	null kind = iota
	boolean
	number
	text
	sequence
	mapping
)

func (k kind) String() string {
	return [...]string{"nothing", "true or false", "a number", "a text", "a list", "a mapping"}[k]
}

// node is a value with its place. Aliases share nodes, so that the tree is a directed graph without cycles.
type node struct {
	kind      kind
	line, col int
	text      string // of a scalar, as it was written, without quotes
	items     []*node
	fields    []field
	size      int // nodes below and including this one, aliases expanded; saturates above MaxNodes
	depth     int
}

type field struct {
	key       string
	line, col int
	value     *node
}

// close computes size and depth from the children.
func (n *node) close() *node {
	n.size, n.depth = 1, 1
	child := func(c *node) {
		n.size = min(n.size+c.size, MaxNodes+1)
		n.depth = max(n.depth, c.depth+1)
	}
	for _, c := range n.items {
		child(c)
	}
	for _, f := range n.fields {
		child(f.value)
	}
	return n
}

// parse reads YAML, or JSON where the text is JSON. It returns nil where ms got a mistake that leaves nothing to look at.
func parse(data []byte, name string, ms *Mistakes) *node {
	if len(data) > MaxBytes {
		ms.add(0, 0, "", fmt.Sprintf("document has %d bytes; at most %d are read", len(data), MaxBytes))
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	start := bytes.TrimLeft(data, " \t\r\n")
	var root *node
	if len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		var bad *Mistake
		if root, bad = parseJSON(data); bad != nil && strings.EqualFold(filepath.Ext(name), ".json") {
			ms.List = append(ms.List, *bad)
			return nil
		}
	}
	if root == nil {
		root = parseYAML(data, ms)
	}
	if root == nil || len(ms.List) > 0 && root.size > MaxNodes {
		return nil
	}
	if root.depth > MaxDepth {
		ms.add(root.line, root.col, "", fmt.Sprintf("document is nested %d deep; at most %d", root.depth, MaxDepth))
		return nil
	}
	if root.size > MaxNodes {
		ms.add(root.line, root.col, "", fmt.Sprintf("document has more than %d values, aliases expanded", MaxNodes))
		return nil
	}
	return root
}

// join appends a field to a path; keys that would be mistaken for path syntax are quoted.
func join(path, key string) string {
	plain := key != ""
	for _, r := range key {
		if r == '.' || r == '[' || r == ']' || r == '"' || r <= ' ' || r == 0x7f {
			plain = false
		}
	}
	switch {
	case !plain:
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
