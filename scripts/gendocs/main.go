// Command gendocs writes the pages of docs/reference from the code, so that they say what the code does. Its test fails
// where a page is not what it would write.
//
// Each page comes from what the programs themselves use: the commands of platformctl, the description of the API, the
// names in the activity log, the table that the default document means, and the types of the document with their comments.
// It writes nothing else, and the same code makes the same bytes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// page is one generated file.
type page struct {
	name string // below docs/reference
	make func(root string) ([]byte, error)
}

func pages() []page {
	return []page{
		{"activity.md", activityPage},
		{"api.json", apiPage},
		{"cli.md", cliPage},
		{"document.md", documentPage},
		{"manifest.schema.json", manifestSchema},
		{"ruleset.md", rulesetPage},
	}
}

func main() {
	root := flag.String("root", ".", "folder of the module")
	flag.Parse()
	if err := write(*root); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

func write(root string) error {
	for _, p := range pages() {
		data, err := p.make(root)
		if err != nil {
			return fmt.Errorf("make %s: %w", p.name, err)
		}
		if err := os.WriteFile(path(root, p), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func path(root string, p page) string { return filepath.Join(root, "docs/reference", p.name) }

// generated heads every page of text.
const generated = "<!-- Made from the code by `make docs`; do not edit. -->\n\n"
