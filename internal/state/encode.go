package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/platformd/platformd/firewall"
)

// encoded is a document in bytes, with the places of its blocks: blocks are what there are many of and what changes
// often, and encoding/json takes about a microsecond for each. Those that did not change are copied as bytes.
type encoded struct {
	doc    []byte
	blocks []firewall.Block // as encoded
	ends   []int            // ends[i] is the offset in doc behind block i, its comma not included
}

// encode writes s, and brings the times of its new blocks into the form they will have when they are read back.
func encode(s *State, before *encoded) (*encoded, error) {
	blocks := s.Firewall.Blocks
	rest := *s
	rest.Firewall.Blocks = nil
	head, err := json.Marshal(&rest)
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	// The document begins {"version":1,"firewall":{ and no value stands before that, so the first match is the key.
	const key = `"firewall":{`
	at := bytes.Index(head, []byte(key)) + len(key)
	e := &encoded{blocks: blocks}
	if len(blocks) == 0 {
		e.doc = head
		return e, nil
	}
	same, tail := 0, 0
	if before != nil {
		same, tail = equalEnds(len(blocks), len(before.blocks), func(i, j int) bool { return blocks[i] == before.blocks[j] })
	}
	e.ends = make([]int, 0, len(blocks))
	size := len(head) + 200*(len(blocks)-same-tail)
	if before != nil {
		size += len(before.doc)
	}
	doc := append(make([]byte, 0, size), head[:at]...)
	doc = append(doc, `"blocks":[`...)
	doc = e.copy(doc, before, 0, same)
	for i := same; i < len(blocks)-tail; i++ {
		b := &blocks[i]
		b.Since, b.Until = b.Since.Round(0).UTC(), b.Until.Round(0).UTC()
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode block %v: %w", b.Target, err)
		}
		if len(e.ends) > 0 {
			doc = append(doc, ',')
		}
		doc = append(doc, raw...)
		e.ends = append(e.ends, len(doc))
	}
	if before != nil {
		doc = e.copy(doc, before, len(before.blocks)-tail, len(before.blocks))
	}
	doc = append(doc, ']')
	if head[at] != '}' {
		doc = append(doc, ',')
	}
	e.doc = append(doc, head[at:]...)
	return e, nil
}

// copy appends the bytes of before's blocks from..to.
func (e *encoded) copy(doc []byte, before *encoded, from, to int) []byte {
	if from >= to {
		return doc
	}
	if len(e.ends) > 0 {
		doc = append(doc, ',')
	}
	start := bytes.Index(before.doc, []byte(`"blocks":[`)) + len(`"blocks":[`)
	if from > 0 {
		start = before.ends[from-1] + 1
	}
	shift := len(doc) - start
	doc = append(doc, before.doc[start:before.ends[to-1]]...)
	for _, end := range before.ends[from:to] {
		e.ends = append(e.ends, end+shift)
	}
	return doc
}

// decode reads a document that encode wrote.
func decode(doc []byte) (State, error) {
	var s State
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return State{}, fmt.Errorf("decode state: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return State{}, errors.New("decode state: something follows the document")
	}
	return s, nil
}

// patch is a document as the bytes in which it differs from another: its first prefix and last suffix bytes are the
// other's. The zero prefix and suffix are a full copy.
type patch struct {
	prefix, suffix int
	data           []byte
}

func diffBytes(before, after []byte) patch {
	limit := min(len(before), len(after))
	const chunk = 4096 // bytes.Equal is many times faster than a loop
	p := 0
	for p+chunk <= limit && bytes.Equal(before[p:p+chunk], after[p:p+chunk]) {
		p += chunk
	}
	for p < limit && before[p] == after[p] {
		p++
	}
	s, b, a := 0, len(before), len(after)
	for limit -= p; s+chunk <= limit && bytes.Equal(before[b-s-chunk:b-s], after[a-s-chunk:a-s]); {
		s += chunk
	}
	for s < limit && before[b-s-1] == after[a-s-1] {
		s++
	}
	return patch{prefix: p, suffix: s, data: after[p : a-s]}
}

func (p patch) apply(before []byte) ([]byte, error) {
	if p.prefix < 0 || p.suffix < 0 || p.prefix+p.suffix > len(before) {
		return nil, errors.New("patch does not fit the document before it")
	}
	return slices.Concat(before[:p.prefix], p.data, before[len(before)-p.suffix:]), nil
}

// checksum finds damage that the database does not see. It is no protection against intent.
func checksum(doc []byte) uint32 { return crc32.Checksum(doc, crc32.MakeTable(crc32.Castagnoli)) }
