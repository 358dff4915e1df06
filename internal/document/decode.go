package document

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Decode reads the YAML or JSON document in data into *v by its json tags. name is the file's name for messages; where it
// ends in .json, only JSON is accepted. Fields that the document does not name keep what they have in *v; lists and
// mappings it names replace what is there. Where anything is wrong, the error is *Mistakes and *v is unchanged.
func Decode(data []byte, name string, v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("decode %s: target %T is not a pointer to a value", name, v)
	}
	d := &decoder{ms: &Mistakes{File: name}, types: map[reflect.Type]*structure{}}
	if root := parse(data, name, d.ms); root != nil {
		fresh := reflect.New(target.Type().Elem()).Elem()
		fresh.Set(target.Elem())
		d.value(root, fresh, "")
		if len(d.ms.List) == 0 {
			target.Elem().Set(fresh)
		}
	}
	return d.ms.err()
}

type decoder struct {
	ms    *Mistakes
	types map[reflect.Type]*structure
}

func (d *decoder) bad(n *node, path, format string, a ...any) {
	d.ms.add(n.line, n.col, path, fmt.Sprintf(format, a...))
}

func (d *decoder) value(n *node, v reflect.Value, path string) {
	if n.kind == null {
		v.SetZero()
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
		return
	}
	if d.own(n, v, path) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	case reflect.Slice:
		if !d.isList(n, path) {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
		for i, item := range n.items {
			d.value(item, v.Index(i), index(path, i))
		}
	case reflect.Array:
		if !d.isList(n, path) {
			return
		}
		if len(n.items) != v.Len() {
			d.bad(n, path, "must have %d items, not %d", v.Len(), len(n.items))
			return
		}
		for i, item := range n.items {
			d.value(item, v.Index(i), index(path, i))
		}
	case reflect.Interface:
		if v.NumMethod() > 0 {
			d.bad(n, path, "cannot be written in a document")
			return
		}
		v.Set(reflect.ValueOf(n.plain()))
	default:
		d.scalar(n, v, path)
	}
}

// own lets the type read the value itself, where it can.
func (d *decoder) own(n *node, v reflect.Value, path string) bool {
	p := v.Addr().Interface()
	if u, ok := p.(encoding.TextUnmarshaler); ok && n.kind < sequence {
		if err := u.UnmarshalText([]byte(n.text)); err != nil {
			if _, isTime := p.(*time.Time); isTime {
				err = fmt.Errorf("%q is not a time; write for example 2006-01-02T15:04:05Z", n.text)
			}
			d.bad(n, path, "%s", err)
		}
		return true
	}
	if u, ok := p.(json.Unmarshaler); ok {
		raw, err := json.Marshal(n.plain())
		if err == nil {
			err = u.UnmarshalJSON(raw)
		}
		if err != nil {
			d.bad(n, path, "%s", err)
		}
		return true
	}
	if _, ok := p.(encoding.TextUnmarshaler); ok {
		d.bad(n, path, "must be a text, not %v", n.kind)
		return true
	}
	return false
}

func (d *decoder) isList(n *node, path string) bool {
	if n.kind == sequence {
		return true
	}
	if n.kind < sequence {
		d.bad(n, path, "must be a list, not %v; write [%s]", n.kind, n.text)
	} else {
		d.bad(n, path, "must be a list, not %v; start each item with a dash", n.kind)
	}
	return false
}

func (d *decoder) structure(n *node, v reflect.Value, path string) {
	if n.kind != mapping {
		d.bad(n, path, "must be a mapping of fields, not %v", n.kind)
		return
	}
	s := d.types[v.Type()]
	if s == nil {
		s = structureOf(v.Type())
		d.types[v.Type()] = s
	}
	seen := make(map[string]int, len(n.fields))
	for _, f := range n.fields {
		at := join(path, f.key)
		if line, again := seen[f.key]; again {
			d.ms.add(f.line, f.col, at, fmt.Sprintf("is written twice; it is already in line %d", line))
			continue
		}
		seen[f.key] = f.line
		idx, known := s.fields[f.key]
		if !known {
			d.ms.add(f.line, f.col, at, s.unknown(f.key))
			continue
		}
		d.value(f.value, v.FieldByIndex(idx), at)
	}
}

func (d *decoder) mapping(n *node, v reflect.Value, path string) {
	if n.kind != mapping {
		d.bad(n, path, "must be a mapping of names to values, not %v", n.kind)
		return
	}
	t := v.Type()
	out := reflect.MakeMapWithSize(t, len(n.fields))
	seen := make(map[string]int, len(n.fields))
	for _, f := range n.fields {
		at := join(path, f.key)
		if line, again := seen[f.key]; again {
			d.ms.add(f.line, f.col, at, fmt.Sprintf("is written twice; it is already in line %d", line))
			continue
		}
		seen[f.key] = f.line
		key := reflect.New(t.Key()).Elem()
		d.value((&node{kind: text, line: f.line, col: f.col, text: f.key}).close(), key, at)
		item := reflect.New(t.Elem()).Elem()
		d.value(f.value, item, at)
		out.SetMapIndex(key, item)
	}
	v.Set(out)
}

func (d *decoder) scalar(n *node, v reflect.Value, path string) {
	if n.kind >= sequence {
		d.bad(n, path, "must be %s, not %v", wanted(v.Kind()), n.kind)
		return
	}
	bits := 0
	if v.CanInt() || v.CanUint() || v.CanFloat() {
		bits = v.Type().Bits()
	}
	var err error
	switch {
	case v.Kind() == reflect.String:
		v.SetString(n.text)
		return
	case v.Kind() == reflect.Bool:
		if n.kind != boolean {
			d.bad(n, path, "%q must be true or false", n.text)
			return
		}
		v.SetBool(n.text == "true")
		return
	case n.kind != number:
		d.bad(n, path, "%q must be %s", n.text, wanted(v.Kind()))
		return
	case v.CanInt():
		var i int64
		if i, err = strconv.ParseInt(decimal(n.text), 10, bits); err == nil {
			v.SetInt(i)
		}
	case v.CanUint():
		var u uint64
		if u, err = strconv.ParseUint(decimal(n.text), 10, bits); err == nil {
			v.SetUint(u)
		}
	case v.CanFloat():
		var f float64
		if f, err = strconv.ParseFloat(n.text, bits); err == nil {
			v.SetFloat(f)
		}
	default:
		d.bad(n, path, "cannot be written in a document")
		return
	}
	switch {
	case errors.Is(err, strconv.ErrRange) || err != nil && strings.HasPrefix(n.text, "-"):
		d.bad(n, path, "%s is out of range; must be %s", n.text, limits(v))
	case err != nil:
		d.bad(n, path, "%s must be %s, written in decimal", n.text, wanted(v.Kind()))
	}
}

// decimal refuses a leading zero, which one YAML version reads as octal and the next as decimal.
func decimal(s string) string {
	if t := strings.TrimPrefix(s, "-"); len(t) > 1 && t[0] == '0' {
		return "octal?"
	}
	return s
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

func limits(v reflect.Value) string {
	bits := 0
	switch {
	case v.CanInt():
		bits = v.Type().Bits()
		return fmt.Sprintf("between %d and %d", int64(-1)<<(bits-1), int64(uint64(1)<<(bits-1)-1))
	case v.CanUint():
		bits = v.Type().Bits()
		return fmt.Sprintf("between 0 and %d", ^uint64(0)>>(64-bits))
	}
	return wanted(v.Kind())
}

// plain is the value as encoding/json would decode it into an any, numbers kept as they are written.
func (n *node) plain() any {
	switch n.kind {
	case boolean:
		return n.text == "true"
	case number:
		if json.Valid([]byte(n.text)) {
			return json.Number(n.text)
		}
		return n.text
	case text:
		return n.text
	case sequence:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = item.plain()
		}
		return out
	case mapping:
		out := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			out[f.key] = f.value.plain()
		}
		return out
	}
	return nil
}
