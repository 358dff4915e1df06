package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newDocsCommand writes the reference pages that are packaged and published.
func newDocsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "docs FOLDER", Short: "Write man pages and a reference in Markdown", Hidden: true, Args: exactly(1, "docs docs/cli"),
		RunE: func(cmd *cobra.Command, args []string) error { return writeDocs(cmd.Root(), args[0]) },
	}
}

// writeDocs makes FOLDER/man/*.1 and FOLDER/markdown/*.md. The same program writes the same bytes.
func writeDocs(root *cobra.Command, folder string) error {
	man, markdown := filepath.Join(folder, "man"), filepath.Join(folder, "markdown")
	for _, dir := range []string{man, markdown} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("write docs: %w", err)
		}
	}
	root.DisableAutoGenTag = true
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "platformd", Manual: "platformctl"}, man); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	if err := doc.GenMarkdownTree(root, markdown); err != nil {
		return fmt.Errorf("write reference: %w", err)
	}
	return nil
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version of platformctl, and of platformd where it answers", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		v := map[string]string{"platformctl": version}
		if st, err := a.client().Status(cmd.Context()); err == nil {
			v["platformd"] = st.Version
		}
		return a.show(v, func() {
			a.printf("platformctl %s\n", version)
			if v["platformd"] != "" {
				a.printf("platformd %s\n", v["platformd"])
			}
		})
	}}
}
