package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newPlanCommand(a *app) *cobra.Command {
	var file string
	o := changeOptions{wire.Options{DryRun: true}}
	c := &cobra.Command{Use: "plan -f FILE", Short: "Show what a document would change on the host", Args: noArgs, Example: "  platformctl plan -f host.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runApply(cmd.Context(), o, file) }}
	fileFlag(c, &file)
	return c
}

func newApplyCommand(a *app) *cobra.Command {
	var file string
	var o changeOptions
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Replace the whole document by a file, YAML or JSON", Args: noArgs,
		Long: `Replace the whole document by a file, YAML or JSON; - is the standard input. Unknown fields are mistakes, and every mistake is told
with its line. See what it would do with: platformctl plan -f FILE`,
		Example: "  platformctl export -o host.yaml\n  platformctl apply -f host.yaml",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runApply(cmd.Context(), o, file) },
	}
	o.addFlags(c)
	fileFlag(c, &file)
	return c
}

func fileFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "file", "f", "", "the document, YAML or JSON; - is the standard input")
}

// maxFile is what the daemon reads of a document.
const maxFile = 10 << 20

func (a *app) runApply(ctx context.Context, o changeOptions, file string) error {
	if file == "" {
		return usage("no file is named; write for example: -f host.yaml, or -f - for the standard input")
	}
	data, err := a.readFile(file)
	if err != nil {
		return err
	}
	if file == "-" {
		file = "stdin"
	}
	send := a.client().Apply
	if o.DryRun {
		send = a.client().Plan
	}
	r, err := send(ctx, o.Options, file, data)
	return a.changed(r, err, "applied "+file, "the document is as in "+file)
}

func (a *app) readFile(file string) ([]byte, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("%v", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if len(data) > maxFile {
		return nil, usage("%s: is larger than %d MB; put long lists into files of their own and add them as feeds", file, maxFile>>20)
	}
	return data, nil
}
