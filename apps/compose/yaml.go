package compose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/platformd/platformd/apps"
)

// Bounds of a compose file; real ones have some hundred lines.
const (
	maxBytes = 1 << 20
	maxDepth = 32
	maxNodes = 50_000 // with every alias expanded
)

// file is a compose file as it was written: its values, and where each of them stands.
type file struct {
	text   string
	root   *yaml.Node
	values map[string]any
}

func parse(data []byte) (f *file, err error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("read the compose file: it has %d bytes; at most %d are read", len(data), maxBytes)
	}
	defer func() {
		if p := recover(); p != nil { // as in load
			f, err = nil, fmt.Errorf("read the compose file: it is not YAML (%v)", p)
		}
	}()
	f = &file{text: string(data)}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("read the compose file: %w", err)
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("read the compose file: it is not a mapping with services in it")
	}
	f.root = doc.Content[0]
	n := 0
	if err := measure(f.root, 0, &n); err != nil {
		return nil, err
	}
	if err := f.root.Decode(&f.values); err != nil {
		return nil, fmt.Errorf("read the compose file: %w", err)
	}
	return f, nil
}

// measure refuses what would take too much memory, before it is expanded.
func measure(n *yaml.Node, depth int, count *int) error {
	if *count++; *count > maxNodes || depth > maxDepth {
		return fmt.Errorf("read the compose file: it is nested deeper than %d or has more than %d values", maxDepth, maxNodes)
	}
	if n.Kind == yaml.AliasNode {
		return measure(n.Alias, depth+1, count)
	}
	for _, c := range n.Content {
		if err := measure(c, depth+1, count); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether the file has a field at its top.
func (f *file) has(key string) bool { _, v := below(f.root, key); return v != nil }

// line is where a path of the model stands in the file, or the nearest value above it.
func (f *file) line(path string) int {
	n, line := f.root, 0
	for path != "" {
		var step string
		if quoted, err := strconv.QuotedPrefix(strings.TrimPrefix(path, "[")); path[0] == '[' && err == nil {
			step, _ = strconv.Unquote(quoted)
			path = strings.TrimPrefix(path[1+len(quoted):], "]")
		} else if path[0] == '[' {
			step, path, _ = strings.Cut(path[1:], "]")
		} else {
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			step, path = path[:end], path[end:]
		}
		path = strings.TrimPrefix(path, ".")
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		key, next := below(n, step)
		if next == nil {
			return line
		}
		line, n = key.Line, next
	}
	return line
}

// below finds a step below a node: a field, also of a mapping that is merged in, an item by its number, or one that begins
// with KEY=.
func below(n *yaml.Node, step string) (key, value *yaml.Node) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i], n.Content[i+1]
			}
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "<<" {
				if k, v := below(n.Content[i+1], step); v != nil {
					return k, v
				}
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
		for _, c := range n.Content {
			if name, _, _ := strings.Cut(c.Value, "="); c.Kind == yaml.ScalarNode && name == step {
				return c, c
			}
			if c.Kind == yaml.AliasNode || c.Kind == yaml.MappingNode {
				if k, v := below(c, step); v != nil {
					return k, v
				}
			}
		}
	}
	return nil, nil
}

// Encode writes a manifest as YAML, its fields in their order.
func Encode(m *apps.Manifest) ([]byte, error) {
	var raw bytes.Buffer
	j := json.NewEncoder(&raw)
	j.SetEscapeHTML(false)
	if err := j.Encode(m); err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	var n yaml.Node
	if err := yaml.Unmarshal(raw.Bytes(), &n); err != nil { // JSON is YAML
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	block(&n)
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&n); err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return []byte(b.String()), e.Close()
}

// block takes the style of JSON off, but keeps short lists on their line and texts that look like something else quoted.
func block(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle
	flat := n.Kind == yaml.SequenceNode
	for _, c := range n.Content {
		flat = flat && c.Kind == yaml.ScalarNode
		block(c)
	}
	if flat {
		n.Style |= yaml.FlowStyle
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.Style &^= yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle
	}
}
