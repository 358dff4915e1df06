package document

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// structure is what a struct type looks like in a document.
type structure struct {
	names  []string
	fields map[string][]int
}

// structureOf follows encoding/json for tags, unexported and embedded fields; of two fields with one name the outer wins.
func structureOf(t reflect.Type) *structure {
	s := &structure{fields: map[string][]int{}}
	s.collect(t, nil)
	return s
}

func (s *structure) collect(t reflect.Type, at []int) {
	var embedded []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || f.Type == reflect.TypeFor[json.RawMessage]() && !f.IsExported():
			continue
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			embedded = append(embedded, f)
			continue
		case !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		if _, taken := s.fields[name]; !taken {
			s.names = append(s.names, name)
			s.fields[name] = append(slices.Clone(at), i)
		}
	}
	for _, f := range embedded {
		s.collect(f.Type, append(slices.Clone(at), f.Index...))
	}
}

// unknown is the reason for a field that is not there, with the one that was probably meant.
func (s *structure) unknown(name string) string {
	best, distance := "", 1+max(1, len(name)/3)
	for _, known := range s.names {
		if d := edits(strings.ToLower(name), strings.ToLower(known)); d < distance {
			best, distance = known, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("unknown field; did you mean %q?", best)
	case len(s.names) == 0:
		return "unknown field; there are none here"
	}
	return "unknown field; known are " + strings.Join(s.names, ", ")
}

// edits is the Levenshtein distance, bounded in cost by the longest field name that is worth comparing.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
