package architecture

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mostLines is how long a file may be before the question is what second thing it does.
const mostLines = 400

// source is one Go file of the module.
type source struct {
	path string // from the root, with slashes
	data []byte
	file *ast.File
	fset *token.FileSet
}

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) line(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

// sources parses every Go file of the module.
func sources(t *testing.T) []*source {
	t.Helper()
	var out []*source
	for _, path := range files(t) {
		if !strings.HasSuffix(path, ".go") {
			continue
		}
		s := &source{path: path, fset: token.NewFileSet()}
		var err error
		if s.data, err = os.ReadFile(filepath.Join(root(t), path)); err != nil {
			t.Fatal(err)
		}
		if s.file, err = parser.ParseFile(s.fset, path, s.data, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if len(out) < 50 {
		t.Fatalf("found only %d Go files", len(out))
	}
	return out
}

// files lists the module's files from its root, without what is built or fetched.
func files(t *testing.T) []string {
	t.Helper()
	top := root(t)
	var out []string
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains([]string{".git", ".cache", "bin", "node_modules"}, e.Name()) {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(top, path)
		if err == nil && e.Type().IsRegular() {
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPackageDocs: every package says what it is for, in its first sentence.
func TestPackageDocs(t *testing.T) {
	docs, programs := map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.path)
		if s.file.Name.Name == "main" {
			programs[dir] = true
		}
		if strings.HasSuffix(s.file.Name.Name, "_test") {
			continue
		}
		if docs[dir] == "" {
			docs[dir] = s.file.Doc.Text()
		}
	}
	for dir, doc := range docs {
		want := "Package " + filepath.Base(dir) + " "
		if programs[dir] {
			want = "Command " + filepath.Base(dir) + " "
		}
		if !strings.HasPrefix(doc, want) {
			t.Errorf("%s: its package comment must begin with %q", dir, want)
		}
	}
}

// TestFileLength: a long file does two things.
func TestFileLength(t *testing.T) {
	for _, s := range sources(t) {
		if n := bytes.Count(s.data, []byte("\n")); n > mostLines && !s.isTest() {
			t.Errorf("%s has %d lines, more than %d: what second thing does it do?", s.path, n, mostLines)
		}
	}
}

// TestStatements: what no code of ours does.
func TestStatements(t *testing.T) {
	// sleeps waits for time to pass and for nothing else.
	sleeps := map[string]string{
		"internal/nstest/nstest_test.go": "sends packets at a rate",
	}
	// skips names tests that may skip, with the reason that they print.
	skips := map[string]string{}
	for _, s := range sources(t) {
		bad := func(n ast.Node, format string, a ...any) {
			t.Helper()
			t.Errorf("%s:%d: %s", s.path, s.line(n), fmt.Sprintf(format, a...))
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					bad(n, "init(): what a program does at its start is written in main")
				}
			case *ast.CallExpr:
				pkg, name := callee(n)
				switch {
				case slices.Contains([]string{"t", "b", "f", "tb"}, pkg) && strings.HasPrefix(name, "Skip") && skips[s.path] == "":
					bad(n, "%s.%s: a skipped test looks green; make what it needs, or list it in this rule with its reason", pkg, name)
				case pkg == "time" && name == "Sleep" && s.isTest() && sleeps[s.path] == "":
					bad(n, "time.Sleep in a test: wait for the condition")
				case pkg == "exec" && strings.HasPrefix(name, "Command") && !s.isTest() && slices.ContainsFunc(n.Args, isShell):
					bad(n, "a shell: exec takes an argument list, never a string")
				case pkg == "net" && slices.Contains([]string{"ParseIP", "ParseCIDR", "IPv4"}, name):
					bad(n, "net.%s: addresses are netip.Addr", name)
				case (pkg == "fmt" && name == "Errorf" || pkg == "errors" && name == "New") && len(n.Args) > 0:
					if text, ok := literal(n.Args[0]); ok && strings.HasPrefix(text, "failed to") || strings.HasPrefix(text, "error ") {
						bad(n, "%q: an error says operation, object, cause", text)
					}
				}
			}
			return true
		})
	}
}

// callee names a call of the form a.b().
func callee(c *ast.CallExpr) (on, name string) {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", sel.Sel.Name
	}
	return x.Name, sel.Sel.Name
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

func isShell(e ast.Expr) bool {
	text, ok := literal(e)
	return ok && slices.Contains([]string{"sh", "bash", "dash", "/bin/sh", "/bin/bash", "/usr/bin/env"}, text)
}

// TestText: what no file contains.
func TestText(t *testing.T) {
	for _, r := range []struct {
		name string
		not  *regexp.Regexp
		in   func(path string) bool
		why  string
	}{
		{"open ends", regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`), func(p string) bool { return !strings.Contains(p, "testdata/") && p != "go.sum" },
			"what is missing stands in docs/status.md, where a user finds it"},
		{"wiped ruleset", regexp.MustCompile(`flush[ _]rule` + `set`), func(p string) bool { return !strings.HasPrefix(p, "docs/") },
			"the ruleset belongs to Docker, to other programs and to the owner as well: ours is one table"},
		{"whole-table deletion by the library", regexp.MustCompile(`\.Flush` + `Ruleset\(`), func(p string) bool { return strings.HasSuffix(p, ".go") },
			"the same, by google/nftables"},
		{"path of somebody's machine", regexp.MustCompile(`(^|[\s"'=(])/(home/[a-z]|work/|root/go|Users/)`), func(p string) bool { return p != "go.sum" },
			"it is on no other machine"},
	} {
		for _, path := range files(t) {
			if !r.in(path) || strings.HasPrefix(path, "internal/architecture/") {
				continue
			}
			data, err := os.ReadFile(filepath.Join(root(t), path))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.IndexByte(data, 0) >= 0 {
				continue // not text
			}
			for i, line := range bytes.Split(data, []byte("\n")) {
				if m := r.not.Find(line); m != nil {
					t.Errorf("%s:%d: %s: %q.\n\tWhy not: %s", path, i+1, r.name, m, r.why)
				}
			}
		}
	}
}

// TestFuzzed: every parser of outside data has a fuzz test.
func TestFuzzed(t *testing.T) {
	parsers := []string{"firewall/feeds", "firewall/geo", "firewall/geo/mmdb", "firewall/ranges", "firewall/nflog", "internal/document", "internal/worker", "internal/doctor", "internal/bans", "internal/activity", "internal/state", "internal/certs", "internal/certs/issue", "internal/certs/order", "proxy/cache", "proxy/field", "proxy/header", "proxy/limits", "proxy/page", "proxy/static", "ratelimit"}
	has := map[string]bool{}
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Fuzz") {
				has[filepath.Dir(s.path)] = true
			}
		}
	}
	for _, p := range parsers {
		if !has[p] {
			t.Errorf("%s parses what comes from outside, and has no fuzz test", p)
		}
	}
}

// TestKernelTestsAreIsolated: a test that could change a packet filter belongs to a package whose tests run in namespaces
// of their own. One that does not would change the filter of whoever types "make test", and lock them out.
func TestKernelTestsAreIsolated(t *testing.T) {
	touches := []string{"firewall/nft", "firewall/iptables", "firewall/conntrack", "internal/daemon", "firewall/conformance"}
	isolated, needs := map[string]bool{}, map[string]string{}
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		dir := filepath.Dir(s.path)
		if slices.Contains(touches, dir) {
			needs[dir] = dir
		}
		for _, i := range s.file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(touches, short(path)) {
				needs[dir] = short(path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				if pkg, name := callee(c); pkg == "nstest" && slices.Contains([]string{"Main", "Run", "Enter"}, name) {
					isolated[dir] = true
				}
			}
			return true
		})
	}
	for dir, what := range needs {
		if !isolated[dir] {
			t.Errorf("%s: its tests reach %s; run them by nstest.Main or nstest.Run", dir, what)
		}
	}
	if len(needs) < 2 {
		t.Errorf("only %d packages have tests that reach the kernel: correct this list", len(needs))
	}
}
