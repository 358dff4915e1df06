package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// types are the struct and named types of the packages that the document is made of, by "package.Name".
type types map[string]*ast.TypeSpec

// documentPage lists every field of the state document with the comment that it has in the code.
func documentPage(root string) ([]byte, error) {
	known, docs := types{}, map[string]string{}
	values := map[string][]string{}
	for _, dir := range []string{"internal/state", "firewall", "firewall/ranges", "ratelimit", "apps",
		"proxy", "proxy/field", "proxy/static", "proxy/compress", "proxy/cache", "proxy/buffer", "proxy/limits", "proxy/waf", "proxy/upstream", "proxy/page"} {
		if err := known.read(filepath.Join(root, dir), docs, values); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	b.WriteString("# The document\n\n" + generated)
	b.WriteString("`platformctl export` writes it, `platformctl plan -f FILE` says what a file would change, `platformctl apply -f FILE` does it.\n" +
		"It is YAML or JSON; a field that is not known is an error, and every mistake is named with its line. A field that is left out\nhas the default that stands beside it, or none.\n")
	w := &documentWriter{out: &b, types: known, docs: docs, values: values}
	w.queue = []string{"state.State"}
	for len(w.queue) > 0 {
		next := w.queue[0]
		w.queue = w.queue[1:]
		w.describe(next)
	}
	return b.Bytes(), nil
}

// read takes the types of one package in, with their comments, and with the constants that their values are.
func (ts types) read(dir string, docs map[string]string, values map[string][]string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	fset := token.NewFileSet()
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if ok && g.Tok == token.CONST {
				constants(f.Name.Name, g, values)
			}
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, s := range g.Specs {
				t := s.(*ast.TypeSpec)
				name := f.Name.Name + "." + t.Name.Name
				ts[name] = t
				docs[name] = oneLine(g.Doc.Text() + t.Doc.Text())
			}
		}
	}
	return nil
}

// constants notes the values of typed constants by their type.
func constants(pkg string, g *ast.GenDecl, values map[string][]string) {
	for _, s := range g.Specs {
		v := s.(*ast.ValueSpec)
		typ, ok := v.Type.(*ast.Ident)
		if !ok {
			continue
		}
		for _, e := range v.Values {
			if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
				values[pkg+"."+typ.Name] = append(values[pkg+"."+typ.Name], strings.ReplaceAll(l.Value, `"`, "`"))
			}
		}
	}
}

type documentWriter struct {
	out   *bytes.Buffer
	types types
	docs  map[string]string
	// values are the constants of a type, for types that have some.
	values map[string][]string
	queue  []string
	done   map[string]bool
}

// describe writes one struct as a table and queues those that its fields are made of.
func (w *documentWriter) describe(name string) {
	if w.done == nil {
		w.done = map[string]bool{}
	}
	if w.done[name] {
		return
	}
	w.done[name] = true
	pkg, _, _ := strings.Cut(name, ".")
	list := w.types[name].Type.(*ast.StructType).Fields.List
	names := fieldNames(list)
	fmt.Fprintf(w.out, "\n## %s\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", heading(name), asWritten(w.docs[name], names))
	for _, f := range list {
		if len(f.Names) != 1 || names[f.Names[0].Name] == "" {
			continue
		}
		meaning := asWritten(oneLine(f.Doc.Text()+" "+f.Comment.Text()), names)
		if t, ok := f.Type.(*ast.Ident); ok && len(w.values[pkg+"."+t.Name]) > 0 && meaning == "" {
			meaning = w.docs[pkg+"."+t.Name]
		}
		fmt.Fprintf(w.out, "| `%s` | %s | %s |\n", names[f.Names[0].Name], w.typeName(pkg, f.Type), strings.ReplaceAll(meaning, "|", "\\|"))
	}
}

// fieldNames are the fields that a document has, from their names in the code to those in the document.
func fieldNames(list []*ast.Field) map[string]string {
	out := map[string]string{}
	for _, f := range list {
		if f.Tag == nil || len(f.Names) != 1 {
			continue
		}
		name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
		if name != "" && name != "-" {
			out[f.Names[0].Name] = name
		}
	}
	return out
}

// asWritten names fields in a comment as a document does. A word that only looks like a field, because a sentence begins
// with it, is written small as well; the comments are short enough to read for that.
func asWritten(text string, names map[string]string) string {
	return regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`).ReplaceAllStringFunc(text, func(w string) string {
		if n := names[w]; n != "" {
			return "`" + n + "`"
		}
		return w
	})
}

// typeName says a field's type as a document has it.
func (w *documentWriter) typeName(pkg string, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.ArrayType:
		return "list of " + w.typeName(pkg, e.Elt)
	case *ast.StarExpr:
		return w.typeName(pkg, e.X)
	case *ast.MapType:
		return "map of names to " + w.typeName(pkg, e.Value)
	case *ast.SelectorExpr:
		return w.named(e.X.(*ast.Ident).Name + "." + e.Sel.Name)
	case *ast.Ident:
		if w.types[pkg+"."+e.Name] != nil {
			return w.named(pkg + "." + e.Name)
		}
		return map[string]string{"string": "text", "bool": "true or false", "int": "number", "int64": "number", "uint16": "number", "float64": "number"}[e.Name]
	}
	return "?"
}

// written are the types that are one text in a document, whatever they are in the code.
func written() map[string]string {
	return map[string]string{
		"ranges.Range": "address, prefix or FROM-TO", "firewall.PortRange": "port, or FIRST-LAST", "firewall.Duration": "duration, such as 12h", "field.Duration": "duration, such as 30s",
		"time.Time": "time, RFC 3339", "ratelimit.Limit": "limit, such as 5/10s", "apps.Size": "size, such as 512M",
	}
}

func (w *documentWriter) named(name string) string {
	if text, ok := written()[name]; ok {
		return text
	}
	t := w.types[name]
	if t == nil {
		return "?"
	}
	if m, ok := t.Type.(*ast.MapType); ok {
		pkg, _, _ := strings.Cut(name, ".")
		return w.typeName(pkg, m)
	}
	if _, ok := t.Type.(*ast.StructType); !ok {
		return strings.Join(w.values[name], ", ")
	}
	w.queue = append(w.queue, name)
	h := heading(name)
	return fmt.Sprintf("[%s](#%s)", h, strings.ReplaceAll(strings.ToLower(h), " ", "-"))
}

// heading is what a type is called on the page: parts of the proxy call theirs alike, so the part's name comes first.
func heading(name string) string {
	pkg, short, _ := strings.Cut(name, ".")
	if slices.Contains([]string{"static", "compress", "cache", "buffer", "limits", "waf", "upstream", "apps"}, pkg) {
		return strings.ToUpper(pkg[:1]) + pkg[1:] + " " + short
	}
	return short
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
