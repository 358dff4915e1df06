package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

var errTooDeep = errors.New("the document is nested too deep")

// parseJSON reads one JSON value with the places of its nodes. encoding/json bounds nothing that matters here: tokens are
// read one by one, and the depth is checked before descending.
func parseJSON(data []byte) (*node, *Mistake) {
	p := &jsonParser{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	p.dec.UseNumber()
	n, err := p.value(0)
	if err == nil {
		if _, err = p.dec.Token(); err == io.EOF {
			return n, nil
		}
	}
	at := int(p.dec.InputOffset())
	// The error of a token has no place that can be relied on; reading the whole text once more does.
	var syntax *json.SyntaxError
	if whole := json.Unmarshal(data, new(json.RawMessage)); !errors.Is(err, errTooDeep) && errors.As(whole, &syntax) {
		at, err = int(syntax.Offset)-1, whole
		if json.NewDecoder(bytes.NewReader(data)).Decode(new(json.RawMessage)) == io.ErrUnexpectedEOF {
			at, err = len(data), errors.New("the text ends in the middle of the document")
		}
	}
	p.at, p.line, p.start = 0, 1, 0
	line, col := p.place(at)
	return nil, &Mistake{Line: line, Column: col, Reason: oneLine(err.Error())}
}

type jsonParser struct {
	data []byte
	dec  *json.Decoder
	// at is the offset up to which lines are counted, line the number of the line there, start its offset.
	at, line, start int
}

// place is the position of an offset; offsets never go back.
func (p *jsonParser) place(off int) (line, col int) {
	for off = min(off, len(p.data)); p.at < off; p.at++ {
		if p.data[p.at] == '\n' {
			p.line, p.start = p.line+1, p.at+1
		}
	}
	return p.line, p.at - p.start + 1
}

// next is the next token with the place where it starts.
func (p *jsonParser) next() (json.Token, int, int, error) {
	off := int(p.dec.InputOffset())
	for off < len(p.data) && bytes.IndexByte([]byte(" \t\r\n,:"), p.data[off]) >= 0 {
		off++
	}
	t, err := p.dec.Token()
	if err != nil {
		return nil, 0, 0, err
	}
	line, col := p.place(off)
	return t, line, col, nil
}

func (p *jsonParser) value(depth int) (*node, error) {
	t, line, col, err := p.next()
	if err != nil {
		return nil, err
	}
	n := &node{line: line, col: col}
	switch t := t.(type) {
	case nil:
		n.kind = null
	case bool:
		n.kind, n.text = boolean, "false"
		if t {
			n.text = "true"
		}
	case json.Number:
		n.kind, n.text = number, t.String()
	case string:
		n.kind, n.text = text, t
	case json.Delim:
		if depth > MaxDepth {
			return nil, errTooDeep
		}
		n.kind = sequence
		if t == '{' {
			n.kind = mapping
		}
		for p.dec.More() {
			var f field
			if n.kind == mapping {
				key, line, col, err := p.next()
				if err != nil {
					return nil, err
				}
				f.key, f.line, f.col = key.(string), line, col
			}
			if f.value, err = p.value(depth + 1); err != nil {
				return nil, err
			}
			if n.kind == mapping {
				n.fields = append(n.fields, f)
			} else {
				n.items = append(n.items, f.value)
			}
		}
		if _, err := p.dec.Token(); err != nil { // the closing delimiter
			return nil, err
		}
	}
	return n.close(), nil
}
