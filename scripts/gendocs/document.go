package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
)

// types are the struct and named types of the packages that the document is made of, by "package.Name".
type types map[string]*ast.TypeSpec

// documentPage lists every field of the state document with the comment that it has in the code.
func documentPage(root string) ([]byte, error) {
	known, docs := types{}, map[string]string{}
	for _, dir := range []string{"internal/state", "firewall", "firewall/ranges", "ratelimit"} {
		if err := known.read(filepath.Join(root, dir), docs); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	b.WriteString("# The document\n\n" + generated)
	b.WriteString("`platformctl export` writes it, `platformctl plan -f FILE` says what a file would change, `platformctl apply -f FILE` does it.\n" +
		"It is YAML or JSON; a field that is not known is an error, and every mistake is named with its line. A field that is left out\nhas the default that stands beside it, or none.\n")
	w := &documentWriter{out: &b, types: known, docs: docs}
	w.queue = []string{"state.State"}
	for len(w.queue) > 0 {
		next := w.queue[0]
		w.queue = w.queue[1:]
		w.describe(next)
	}
	return b.Bytes(), nil
}

// read takes the types of one package in.
func (ts types) read(dir string, docs map[string]string) error {
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

type documentWriter struct {
	out   *bytes.Buffer
	types types
	docs  map[string]string
	queue []string
	done  map[string]bool
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
	pkg, short, _ := strings.Cut(name, ".")
	fmt.Fprintf(w.out, "\n## %s\n\n%s\n\n| field | type | meaning |\n|---|---|---|\n", short, w.docs[name])
	for _, f := range w.types[name].Type.(*ast.StructType).Fields.List {
		tag := ""
		if f.Tag != nil {
			tag = reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
		}
		field, _, _ := strings.Cut(tag, ",")
		if field == "-" || field == "" {
			continue
		}
		fmt.Fprintf(w.out, "| `%s` | %s | %s |\n", field, w.typeName(pkg, f.Type), cell(f.Doc.Text()+" "+f.Comment.Text()))
	}
}

// typeName says a field's type as a document has it.
func (w *documentWriter) typeName(pkg string, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.ArrayType:
		return "list of " + w.typeName(pkg, e.Elt)
	case *ast.MapType:
		return "map of names to " + w.typeName(pkg, e.Value)
	case *ast.SelectorExpr:
		return w.named(e.X.(*ast.Ident).Name + "." + e.Sel.Name)
	case *ast.Ident:
		if w.types[pkg+"."+e.Name] != nil {
			return w.named(pkg + "." + e.Name)
		}
		return map[string]string{"string": "text", "bool": "true or false", "int": "number"}[e.Name]
	}
	return "?"
}

// written are the types that are one text in a document, whatever they are in the code.
func written() map[string]string {
	return map[string]string{
		"ranges.Range": "address, prefix or FROM-TO", "firewall.PortRange": "port, or FIRST-LAST", "firewall.Duration": "duration, such as 12h",
		"time.Time": "time, RFC 3339", "ratelimit.Limit": "limit, such as 5/10s",
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
	if _, ok := t.Type.(*ast.StructType); !ok {
		return "text: " + w.docs[name]
	}
	w.queue = append(w.queue, name)
	_, short, _ := strings.Cut(name, ".")
	return fmt.Sprintf("[%s](#%s)", short, strings.ToLower(short))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func cell(s string) string { return strings.ReplaceAll(oneLine(s), "|", "\\|") }
