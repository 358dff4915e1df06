package document

import (
	"fmt"

	"github.com/goccy/go-yaml/token"
)

// Bounds of the YAML parser, checked on its tokens before it runs.
const (
	// maxIndent is the column in which a block may start. The parser recurses once for each level, and a Go stack that
	// overflows cannot be recovered from.
	maxIndent = 8 * MaxDepth
	// maxKeys is how many fields one mapping may have: the parser's time grows with their square, 24 s for 80,000.
	maxKeys = 1000
	// maxMarks bounds anchors and tags, which nest too.
	maxMarks = 2 * MaxDepth
)

// tooMuch finds the token at which a document is more than the parser may be given.
func tooMuch(tokens token.Tokens) (*token.Token, string) {
	b := &bounds{}
	documents, marks := 0, 0
	for _, tk := range tokens {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			if b.open(); b.flow > MaxDepth {
				return tk, fmt.Sprintf("nested deeper than %d", MaxDepth)
			}
		case token.SequenceEndType, token.MappingEndType:
			b.close()
		case token.SequenceEntryType, token.MappingKeyType:
			if tk.Position.Column > maxIndent {
				return tk, fmt.Sprintf("indented by more than %d columns", maxIndent)
			}
			b.leave(tk.Position.Column)
		case token.MappingValueType:
			key := tk
			if tk.Prev != nil {
				key = tk.Prev
			}
			if b.flow == 0 && key.Position.Column > maxIndent {
				return key, fmt.Sprintf("indented by more than %d columns", maxIndent)
			}
			if b.key(key.Position.Column) > maxKeys {
				return key, fmt.Sprintf("a mapping has more than %d fields", maxKeys)
			}
		case token.DocumentHeaderType:
			if documents++; documents > 2 {
				return tk, "a third document starts here; write one document in a file"
			}
		case token.AnchorType, token.TagType:
			if marks++; marks > maxMarks {
				return tk, fmt.Sprintf("more than %d anchors and tags", maxMarks)
			}
		}
	}
	return nil, ""
}

// bounds counts the fields of the mappings that are open at a token.
type bounds struct {
	levels []level
	flow   int // how many of levels are in brackets
}

// level is a mapping by the column of its keys, or, with column 0, anything in brackets.
type level struct{ column, keys int }

func (b *bounds) open() {
	b.levels = append(b.levels, level{})
	b.flow++
}

func (b *bounds) close() {
	if b.flow == 0 {
		return // the parser will say so
	}
	b.leave(0)
	b.levels = b.levels[:len(b.levels)-1]
	b.flow--
}

// leave ends the blocks that are indented by more than column.
func (b *bounds) leave(column int) {
	for n := len(b.levels); n > 0 && b.levels[n-1].column > column; n-- {
		b.levels = b.levels[:n-1]
	}
}

// key counts a field and returns how many its mapping has.
func (b *bounds) key(column int) int {
	if b.flow == 0 {
		b.leave(column)
		if n := len(b.levels); n == 0 || b.levels[n-1].column != column {
			b.levels = append(b.levels, level{column: column})
		}
	}
	last := &b.levels[len(b.levels)-1]
	last.keys++
	return last.keys
}
