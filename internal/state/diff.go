package state

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/platformd/platformd/firewall"
)

// FieldChange is one difference between two documents. Before is empty where the field was not there, After where it is
// not there any more.
type FieldChange struct {
	// Path names items of a list by what they are called: firewall.ports[ssh].limit, firewall.blocks[192.0.2.0/24].
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Compare lists what changed from before to after, in the order of the document. Items of a list that have a name, target,
// source or path are matched by it, whatever their position; lists of plain values are compared as a whole.
func Compare(before, after *State) ([]FieldChange, error) {
	c := &comparison{}
	c.value("", reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem())
	return c.out, c.err
}

type comparison struct {
	out []FieldChange
	err error
}

func (c *comparison) value(path string, a, b reflect.Value) {
	switch {
	case isText(a.Type()):
	case a.Kind() == reflect.Struct:
		for i := range a.NumField() {
			if name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ","); name != "-" && name != "" {
				c.value(strings.TrimPrefix(path+"."+name, "."), a.Field(i), b.Field(i))
			}
		}
		return
	case a.Kind() == reflect.Slice && a.Type().Elem().Kind() == reflect.Struct && !isText(a.Type().Elem()):
		c.list(path, a, b)
		return
	case a.Kind() == reflect.Map:
		c.mapping(path, a, b)
		return
	}
	if same(a, b) || a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return
	}
	c.add(path, a, b)
}

// add records a difference; a zero value is a field that is not there.
func (c *comparison) add(path string, a, b reflect.Value) {
	raw := func(v reflect.Value) json.RawMessage {
		if !v.IsValid() || v.IsZero() {
			return nil
		}
		out, err := json.Marshal(v.Interface())
		if err != nil && c.err == nil {
			c.err = fmt.Errorf("compare %s: %w", path, err)
		}
		return out
	}
	ch := FieldChange{Path: path, Before: raw(a), After: raw(b)}
	if string(ch.Before) != string(ch.After) {
		c.out = append(c.out, ch)
	}
}

func (c *comparison) mapping(path string, a, b reflect.Value) {
	at := map[string]reflect.Value{}
	for _, m := range []reflect.Value{a, b} {
		for _, k := range m.MapKeys() {
			at[fmt.Sprint(k.Interface())] = k
		}
	}
	names := make([]string, 0, len(at))
	for name := range at {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		x, y := a.MapIndex(at[name]), b.MapIndex(at[name])
		if x.IsValid() && y.IsValid() {
			c.value(path+"."+name, x, y)
		} else {
			c.add(path+"."+name, x, y)
		}
	}
}

func (c *comparison) list(path string, a, b reflect.Value) {
	// Equal items at both ends are left out first: a list of ten thousand with one more costs little.
	var from, tail int
	if x, many := a.Interface().([]firewall.Block); many {
		y := b.Interface().([]firewall.Block)
		from, tail = equalEnds(len(x), len(y), func(i, j int) bool { return x[i] == y[j] })
	} else {
		from, tail = equalEnds(a.Len(), b.Len(), func(i, j int) bool { return same(a.Index(i), b.Index(j)) })
	}
	endA, endB := a.Len()-tail, b.Len()-tail
	keysA, okA := keys(a, from, endA)
	keysB, okB := keys(b, from, endB)
	if !okA || !okB {
		for i := from; i < max(endA, endB); i++ {
			c.item(path+"["+strconv.Itoa(i)+"]", a, b, i, i, endA, endB)
		}
		return
	}
	inB := make(map[string]int, len(keysB))
	for i, k := range keysB {
		inB[k] = from + i
	}
	matched := make(map[string]bool, len(keysA))
	for i, k := range keysA {
		j, there := inB[k]
		if !there {
			j = endB
		}
		matched[k] = true
		c.item(path+"["+k+"]", a, b, from+i, j, endA, endB)
	}
	for j, k := range keysB {
		if !matched[k] {
			c.item(path+"["+k+"]", a, b, endA, from+j, endA, endB)
		}
	}
}

// equalEnds counts the items that are equal at the beginning and at the end of two lists.
func equalEnds(a, b int, equal func(i, j int) bool) (from, tail int) {
	for from < min(a, b) && equal(from, from) {
		from++
	}
	for tail < min(a, b)-from && equal(a-1-tail, b-1-tail) {
		tail++
	}
	return from, tail
}

// item compares a[i] and b[j], either of which may be beyond the end.
func (c *comparison) item(path string, a, b reflect.Value, i, j, endA, endB int) {
	switch {
	case i < endA && j < endB:
		c.value(path, a.Index(i), b.Index(j))
	case i < endA:
		c.add(path, a.Index(i), reflect.Value{})
	default:
		c.add(path, reflect.Value{}, b.Index(j))
	}
}

// keys are what the items from..end of a list are called; ok is false where they have no name or two have the same.
func keys(list reflect.Value, from, end int) (out []string, ok bool) {
	t := list.Type().Elem()
	if reflect.PointerTo(t).Implements(reflect.TypeFor[keyed]()) {
		return distinct(list, from, end, func(v reflect.Value) string {
			p := reflect.New(t)
			p.Elem().Set(v)
			return p.Interface().(keyed).Key()
		})
	}
	field := -1
	for _, name := range []string{"path", "source", "target", "name"} { // the last one that is there counts
		for i := range t.NumField() {
			if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tag == name {
				field = i
			}
		}
	}
	if field < 0 {
		return nil, false
	}
	return distinct(list, from, end, func(v reflect.Value) string { return fmt.Sprint(v.Field(field).Interface()) })
}

// keyed is an item that knows what it is called.
type keyed interface{ Key() string }

func distinct(list reflect.Value, from, end int, key func(reflect.Value) string) (out []string, ok bool) {
	seen := make(map[string]bool, end-from)
	for i := from; i < end; i++ {
		key := key(list.Index(i))
		if seen[key] {
			return nil, false
		}
		seen[key] = true
		out = append(out, key)
	}
	return out, true
}

func same(a, b reflect.Value) bool {
	if a.Comparable() && b.Comparable() {
		return a.Equal(b)
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

func isText(t reflect.Type) bool { return t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) }
