package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

type activityOptions struct {
	follow       bool
	since, until string
	filter       wire.ActivityFilter
}

func (o *activityOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.since, "since", "", "not older than that: 2h, 7d, 2026-01-31, or 2026-01-31T12:00:00Z")
	f.StringVar(&o.until, "until", "", "older than that, in the same forms")
	f.StringVar(&o.filter.Actor, "actor", "", "who did it")
	f.StringVar(&o.filter.Action, "action", "", "a name, the object in front of it (port), or a pattern with * and ?")
	f.StringVar(&o.filter.Object, "object", "", "what it was done to; exact, or a pattern with * and ?")
	f.StringVar(&o.filter.Source, "source", "", "the address it was asked from; exact, or a pattern with * and ?")
	f.StringVar(&o.filter.Text, "text", "", "words that must all be in the record")
	f.StringVar(&o.filter.Outcome, "outcome", "", "ok, refused, failed or pending")
}

func newActivityCommand(a *app) *cobra.Command {
	var o activityOptions
	c := &cobra.Command{
		Use: "activity", Short: "Show who did what, and what the machine did about it", Args: noSuchCommand,
		Example: "  platformctl activity --since 1d --action port\n  platformctl activity --follow --json\n  platformctl activity --object '192.0.2.*' --outcome refused",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runActivity(cmd.Context(), o) },
	}
	o.addFlags(c)
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on with those that come, until interrupted")
	c.Flags().IntVar(&o.filter.Limit, "limit", 50, "how many, the newest, 1 to 10000")
	c.AddCommand(newActivityVerifyCommand(a), newActivityExportCommand(a))
	return c
}

// moment reads a moment, or how long ago it is.
func (c *checker) moment(flag, s string, now time.Time) time.Time {
	if s == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t
		}
	}
	d, err := wire.ParseDuration(s)
	if err != nil {
		c.bad("%s %q: is neither a time nor how long ago; write for example 2h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z", flag, s)
	}
	return now.Add(-d)
}

func (a *app) activityFilter(o activityOptions) (wire.ActivityFilter, error) {
	var check checker
	f := o.filter
	f.Since = check.moment("--since", o.since, a.now())
	f.Until = check.moment("--until", o.until, a.now())
	if f.Limit < 1 || f.Limit > 10_000 {
		check.bad("--limit %d: must be between 1 and 10000", f.Limit)
	}
	if !slices.Contains([]string{"", "ok", "refused", "failed", "pending"}, f.Outcome) {
		check.bad("--outcome %q: must be ok, refused, failed or pending", f.Outcome)
	}
	return f, check.err()
}

func (a *app) runActivity(ctx context.Context, o activityOptions) error {
	f, err := a.activityFilter(o)
	if err != nil {
		return err
	}
	f.Newest = true
	records, err := a.client().Activity(ctx, f)
	if err != nil {
		return err
	}
	slices.Reverse(records)
	if !o.follow {
		return a.show(records, func() { a.printRecords(records) })
	}
	f.Newest, f.Limit = false, 0
	for _, r := range records {
		f.After = r.Seq
		if err := a.printRecord(r); err != nil {
			return err
		}
	}
	return follow(ctx, a, a.client().FollowActivity(ctx, f), a.printRecord)
}

func (a *app) printRecords(records []wire.Record) {
	if len(records) == 0 {
		a.printf("no records; leave out a filter, or look further back with --since and --limit\n")
		return
	}
	t := newTable("NUMBER", "TIME", "ACTOR", "FROM", "ACTION", "OBJECT", "REVISION", "OUTCOME", "MESSAGE")
	for _, r := range records {
		rev := ""
		if r.Revision != 0 {
			rev = fmt.Sprint(r.Revision)
		}
		t.row(fmt.Sprint(r.Seq), when(r.Time), r.Actor, r.Source, r.Action, r.Object, rev, r.Outcome, r.Message)
	}
	a.print(t)
}

func (a *app) printRecord(r wire.Record) error {
	if a.json {
		return a.printJSONLine(r)
	}
	a.printf("%d  %s  %s\n", r.Seq, when(r.Time), printable(fmt.Sprintf("%s (%s)  %s  %s  %s  %s", r.Actor, r.Source, r.Action, r.Object, r.Outcome, r.Message)))
	return nil
}

func newActivityVerifyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Check that nobody has tampered with the log", Args: noArgs,
		Long: "Read the whole log and say what is wrong with it: changed, removed and swapped records, a cut tail, a log put back to an older state. Ends with 3 where something is.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.client().VerifyActivity(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.show(r, func() { a.printReport(r) }); err != nil {
				return err
			}
			if !r.OK {
				return &codedError{code: exitNotVerified}
			}
			return nil
		},
	}
}

func (a *app) printReport(r wire.ActivityReport) {
	if r.OK {
		a.printf("%s: %d records, %d to %d, %d checkpoints\n", a.paint(green, "the log is as it was written"), r.Records, r.First, r.Last, r.Checkpoints)
		return
	}
	a.printf("%s\n", a.paint(red, "the log is NOT as it was written:"))
	for _, p := range r.Problems {
		a.printf("  %s\n", printable(p.Text))
	}
	if r.More > 0 {
		a.printf("  and %d more\n", r.More)
	}
}

func newActivityExportCommand(a *app) *cobra.Command {
	var o activityOptions
	c := &cobra.Command{
		Use: "export", Short: "Write records as JSON, one a line, oldest first", Args: noArgs,
		Example: "  platformctl activity export --since 30d > activity.jsonl",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runActivityExport(cmd.Context(), o) },
	}
	o.addFlags(c)
	return c
}

// exportPage is how many records are asked for at once.
const exportPage = 1000

func (a *app) runActivityExport(ctx context.Context, o activityOptions) error {
	o.filter.Limit = exportPage
	f, err := a.activityFilter(o)
	if err != nil {
		return err
	}
	c := a.client()
	for {
		page, err := c.Activity(ctx, f)
		if err != nil {
			return err
		}
		for _, r := range page {
			f.After = r.Seq
			if err := a.printJSONLine(r); err != nil {
				return fmt.Errorf("export activity: %w", err)
			}
		}
		if len(page) < exportPage {
			return nil
		}
	}
}
