package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestPagesAreAsGenerated: the pages say what the code says.
func TestPagesAreAsGenerated(t *testing.T) {
	const root = "../.."
	for _, p := range pages() {
		t.Run(p.name, func(t *testing.T) {
			want, err := p.make(root)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path(root, p))
			if err != nil {
				t.Fatalf("%v; run: make docs", err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("docs/reference/%s is not what the code says; run: make docs\nfirst difference: %s", p.name, firstDifference(string(got), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "\n\tthe page: " + a[i] + "\n\tthe code: " + b[i]
		}
	}
	return "one is longer than the other"
}

// TestDocumentIsWhole: every field of the document has a type and a meaning that a reader can use.
func TestDocumentIsWhole(t *testing.T) {
	data, err := documentPage("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "| `") && (strings.Contains(line, "?") || strings.Contains(line, "` |  |")) {
			t.Errorf("its type is not known: %s", line)
		}
	}
	for _, want := range []string{"| `ports` |", "| `guard` |", "## GeoRule", "address, prefix or FROM-TO"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is missing", want)
		}
	}
}
