package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newHistoryCommand(a *app) *cobra.Command {
	limit := 0
	c := &cobra.Command{Use: "history", Short: "List the revisions of the document, newest first", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if limit < 1 || limit > 10_000 {
			return usage("--limit %d: must be between 1 and 10000", limit)
		}
		revs, err := a.client().Revisions(cmd.Context(), limit, 0)
		if err != nil {
			return err
		}
		return a.show(revs, func() { a.printHistory(revs) })
	}}
	c.Flags().IntVar(&limit, "limit", 30, "how many")
	return c
}

func (a *app) printHistory(revs []wire.Revision) {
	t := newTable("REVISION", "TIME", "BY", "FROM", "WHAT", "STATE")
	for _, r := range revs {
		state := r.Settled
		if state == "" && !r.Deadline.IsZero() {
			state = "waits for platformctl confirm, " + a.left(r.Deadline) + " left"
		}
		t.row(fmt.Sprint(r.ID), when(r.Time), r.Actor, r.Source, r.Summary, state)
	}
	a.print(t)
}

// revision reads the number of a revision.
func (c *checker) revision(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		c.bad("revision %q: must be a number above zero; platformctl history shows them", s)
	}
	return n
}

func newDiffCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "diff REVISION [REVISION]", Short: "Show how two revisions differ, or one and the current one",
		Example: "  platformctl diff 3\n  platformctl diff 3 7",
		Args:    needs(1, "diff 3 7"), ValidArgsFunction: a.complete(2, a.revisions),
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			var ids [2]int64
			if len(args) > 2 {
				check.bad("diff: takes one or two revisions, but was given %d", len(args))
			}
			for i, s := range args[:min(len(args), 2)] {
				ids[i] = check.revision(s)
			}
			if err := check.err(); err != nil {
				return err
			}
			fields, err := a.client().Diff(cmd.Context(), ids[0], ids[1])
			if err != nil {
				return err
			}
			return a.show(fields, func() {
				if len(fields) == 0 {
					a.printf("no difference\n")
				}
				a.printFields(fields)
			})
		},
	}
}

func newRollbackCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use: "rollback REVISION", Short: "Go back to the content of a revision, as a new one", Args: exactly(1, "rollback 3"),
		ValidArgsFunction: a.complete(1, a.revisions),
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			id := check.revision(args[0])
			if err := check.err(); err != nil {
				return err
			}
			r, err := a.client().Rollback(cmd.Context(), o.Options, id)
			return a.changed(r, err, fmt.Sprintf("rolled back to revision %d", id), fmt.Sprintf("the document is as in revision %d", id))
		},
	}
	o.addFlags(c)
	return c
}

func newConfirmCommand(a *app) *cobra.Command {
	return &cobra.Command{Use: "confirm", Short: "Keep a change that would be taken back otherwise", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		rev, err := a.client().Confirm(cmd.Context())
		if err != nil {
			return err
		}
		return a.show(rev, func() { a.printf("confirmed revision %d: %s\n", rev.ID, printable(rev.Summary)) })
	}}
}

type exportOptions struct {
	file     string
	revision int64
}

func newExportCommand(a *app) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use: "export", Short: "Write the whole document as YAML, or with --json as JSON", Args: noArgs,
		Example: "  platformctl export -o host.yaml\n  platformctl export --revision 3 --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runExport(cmd.Context(), o) },
	}
	c.Flags().StringVarP(&o.file, "output", "o", "", "write it into this file")
	c.Flags().Int64Var(&o.revision, "revision", 0, "an earlier revision")
	return c
}

func (a *app) runExport(ctx context.Context, o exportOptions) error {
	format := "yaml"
	if a.json {
		format = "json"
	}
	if o.revision < 0 {
		return usage("--revision %d: must be a number above zero; platformctl history shows them", o.revision)
	}
	data, err := a.client().Document(ctx, o.revision, format)
	if err != nil {
		return err
	}
	if o.file == "" || o.file == "-" {
		_, err = a.out.Write(data)
		return err
	}
	if err := os.WriteFile(o.file, data, 0o600); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}
