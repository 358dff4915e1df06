package architecture

import (
	"go/ast"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are the Markdown files of the module, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range files(t) {
		if strings.HasSuffix(p, ".md") && !strings.Contains(p, "testdata/") {
			out[p] = read(t, p)
		}
	}
	for _, p := range []string{"README.md", "docs/architecture.md", "docs/terms.md", "docs/status.md", "docs/dependencies.md", "docs/firewall.md", "docs/bans.md"} {
		if out[p] == "" {
			t.Errorf("%s is missing", p)
		}
	}
	return out
}

func read(t *testing.T, p string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), p))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestLinks: a link of a page leads to a file and, where it names one, to a heading.
func TestLinks(t *testing.T) {
	all := pages(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for from, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(to, "://") {
				continue
			}
			target := from
			if to != "" {
				target = path.Join(path.Dir(from), to)
			}
			if _, err := os.Stat(filepath.Join(root(t), target)); err != nil {
				t.Errorf("%s: link to %s: there is no such file", from, m[1])
				continue
			}
			if heading != "" && !slices.Contains(headings(all[target]), heading) {
				t.Errorf("%s: link to %s: there is no such heading", from, m[1])
			}
		}
	}
}

// headings are the anchors of a page.
func headings(text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// TestReadme: it fits on a screen or two, and the targets and commands that it and the other pages name are there.
func TestReadme(t *testing.T) {
	all := pages(t)
	if n := strings.Count(all["README.md"], "\n"); n > 60 {
		t.Errorf("README.md has %d lines: it should be seen at a glance", n)
	}
	makefile, cli := read(t, "Makefile"), all["docs/reference/cli.md"]
	target := regexp.MustCompile(`\bmake ([a-z-]+)\b`)
	command := regexp.MustCompile(`\bplatformctl ([a-z]+)( [a-z]+)?`)
	for from, text := range all {
		if strings.HasPrefix(from, "docs/reference/") {
			continue
		}
		for _, code := range regexp.MustCompile("`[^`\n]+`|(?m)^    .*$").FindAllString(text, -1) {
			for _, m := range target.FindAllStringSubmatch(code, -1) {
				if !strings.Contains(makefile, "\n"+m[1]+":") {
					t.Errorf("%s: %q: the Makefile has no such target", from, m[0])
				}
			}
			for _, m := range command.FindAllStringSubmatch(code, -1) {
				if !strings.Contains(cli, "\n## platformctl "+m[1]+"\n") {
					t.Errorf("%s: %q: there is no such command", from, m[0])
				}
			}
		}
	}
}

// TestDecisions: a decision says what was known, what was decided and what follows.
func TestDecisions(t *testing.T) {
	n := 0
	for p, text := range pages(t) {
		if !strings.HasPrefix(p, "docs/adr/") {
			continue
		}
		n++
		for _, part := range []string{"\nStatus: ", "\n## Context\n", "\n## Decision\n", "\n## Consequences\n"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no %q", p, strings.TrimSpace(part))
			}
		}
	}
	if n < 6 {
		t.Errorf("found %d decisions", n)
	}
}

// TestListOfDependencies: docs/dependencies.md lists exactly the direct modules.
func TestListOfDependencies(t *testing.T) {
	cmd := exec.Command("go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(out))
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		got = append(got, m[1])
	}
	for _, m := range want {
		if !slices.Contains(got, m) {
			t.Errorf("docs/dependencies.md says nothing of %s", m)
		}
	}
	for _, m := range got {
		if !slices.Contains(want, m) {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not require", m)
		}
	}
}

// TestNamedTestsExist: a test that a page names as its proof is there, and a case of the conformance suite too.
func TestNamedTestsExist(t *testing.T) {
	known := map[string]bool{}
	var suite strings.Builder
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, "firewall/conformance/") {
			suite.Write(s.data)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.isTest() {
				known[f.Name.Name] = true
			}
		}
	}
	named := 0
	for p, text := range pages(t) {
		for _, name := range regexp.MustCompile(`\b(Test|Fuzz)[A-Z][A-Za-z0-9]+\b`).FindAllString(text, -1) {
			named++
			if !known[name] {
				t.Errorf("%s names %s, and there is no such test", p, name)
			}
		}
		for _, m := range regexp.MustCompile(`\bTestScripts/([a-z]+)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root(t), "cmd/platformctl/testdata", m[1]+".txtar")); err != nil {
				t.Errorf("%s names %s, and there is no such script", p, m[0])
			}
		}
		for _, m := range regexp.MustCompile("conformance: `([^`]+)`").FindAllStringSubmatch(text, -1) {
			named++
			if !strings.Contains(suite.String(), `{"`+m[1]+`"`) {
				t.Errorf("%s names the case %q, which the conformance suite does not have", p, m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("pages name only %d tests", named)
	}
}
