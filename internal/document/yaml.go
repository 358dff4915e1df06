package document

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// parseYAML reads one YAML document.
func parseYAML(data []byte, ms *Mistakes) (root *node) {
	// The library has panicked on malformed text before; a mistake in a file must not end the daemon.
	defer func() {
		if r := recover(); r != nil {
			root = nil
			ms.add(0, 0, "", "this is not YAML that can be read; check the quotes and the indentation")
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if tk, reason := tooMuch(tokens); tk != nil {
		ms.add(tk.Position.Line, tk.Position.Column, "", reason)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil && at.GetToken().Position != nil {
			pos := at.GetToken().Position
			ms.add(pos.Line, pos.Column, "", at.GetMessage())
		} else {
			ms.add(0, 0, "", err.Error())
		}
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case body == nil:
			body = doc.Body
		default:
			pos := doc.GetToken().Position
			ms.add(pos.Line, pos.Column, "", "a second document starts here; write one document in a file")
			return nil
		}
	}
	if body == nil {
		ms.add(1, 1, "", "the document is empty")
		return nil
	}
	y := &yamlReader{ms: ms, anchors: map[string]*node{}}
	return y.node(body, 0)
}

type yamlReader struct {
	ms      *Mistakes
	anchors map[string]*node
}

func (y *yamlReader) bad(n ast.Node, format string, a ...any) *node {
	out := &node{kind: null}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		out.line, out.col = tk.Position.Line, tk.Position.Column
	}
	y.ms.add(out.line, out.col, "", fmt.Sprintf(format, a...))
	return out.close()
}

// node turns a syntax node into ours. What cannot be turned is reported and becomes null, so that the rest is still read.
func (y *yamlReader) node(in ast.Node, depth int) *node {
	if depth > 4*maxIndent {
		return y.bad(in, "nested too deep")
	}
	n := &node{}
	if tk := in.GetToken(); tk != nil && tk.Position != nil {
		n.line, n.col = tk.Position.Line, tk.Position.Column
		n.text = tk.Value
	}
	switch in := in.(type) {
	case *ast.NullNode:
		n.kind = null
	case *ast.BoolNode:
		n.kind = boolean
		n.text = fmt.Sprint(in.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.kind = number
	case *ast.StringNode:
		n.kind, n.text = text, in.Value
	case *ast.LiteralNode:
		n.kind, n.text = text, in.Value.Value
	case *ast.SequenceNode:
		n.kind = sequence
		for _, item := range in.Values {
			n.items = append(n.items, y.node(item, depth+1))
		}
	case *ast.MappingNode:
		n.kind = mapping
		for i, pair := range in.Values {
			if i == 0 && !in.IsFlowStyle {
				n.line, n.col = place(pair.Key, n.line, n.col)
			}
			y.pair(n, pair, depth)
		}
	case *ast.MappingValueNode:
		n.kind = mapping
		n.line, n.col = place(in.Key, n.line, n.col)
		y.pair(n, in, depth)
	case *ast.AnchorNode:
		if in.Value == nil {
			return y.bad(in, "anchor without a value")
		}
		v := y.node(in.Value, depth+1)
		// Known only now: an alias inside its own anchor finds nothing, so there are no cycles.
		y.anchors[in.Name.GetToken().Value] = v
		return v
	case *ast.AliasNode:
		name := in.Value.GetToken().Value
		v := y.anchors[name]
		if v == nil {
			return y.bad(in, "alias *%s: there is no anchor &%s before it", name, name)
		}
		if v.depth > MaxDepth || v.size > MaxNodes {
			return y.bad(in, "alias *%s: expands to too much", name)
		}
		return v
	case *ast.TagNode:
		if !strings.HasPrefix(in.Start.Value, "!!") || in.Value == nil {
			return y.bad(in, "tag %s: tags are not used here; leave it out", in.Start.Value)
		}
		v := *y.node(in.Value, depth+1)
		if in.Start.Value == "!!str" && v.kind < sequence {
			v.kind = text
		}
		return &v
	default:
		return y.bad(in, "%s is not used here", strings.ToLower(in.Type().String()))
	}
	return n.close()
}

func (y *yamlReader) pair(n *node, pair *ast.MappingValueNode, depth int) {
	key := pair.Key
	line, col := place(key, n.line, n.col)
	if key.IsMergeKey() {
		y.bad(key, "merge keys (<<) are not used here; write the fields out")
		return
	}
	k := y.node(unwrapKey(key), depth+1)
	if k.kind >= sequence {
		y.bad(key, "a field name must be a text")
		return
	}
	value := &node{kind: null, line: line, col: col}
	value.close()
	if pair.Value != nil {
		value = y.node(pair.Value, depth+1)
	}
	n.fields = append(n.fields, field{key: k.text, line: line, col: col, value: value})
}

// unwrapKey takes the key out of "? key".
func unwrapKey(key ast.Node) ast.Node {
	if k, ok := key.(*ast.MappingKeyNode); ok && k.Value != nil {
		return k.Value
	}
	return key
}

func place(n ast.Node, line, col int) (int, int) {
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line, tk.Position.Column
	}
	return line, col
}
