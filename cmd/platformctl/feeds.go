package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newFeedsCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the feeds with the state of their copies", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		feeds, err := a.client().Feeds(cmd.Context())
		if err != nil {
			return err
		}
		return a.show(feeds, func() { a.printFeeds(feeds) })
	}}
	presets := &cobra.Command{Use: "presets", Short: "List the feeds that are known by name", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runFeedsPresets(cmd.Context()) }}
	return noun("feeds", "Block lists that somebody else maintains", list, presets, newFeedsAddCommand(a), newFeedsUpdateCommand(a), newFeedsRemoveCommand(a))
}

func (a *app) printFeeds(feeds []wire.FeedStatus) {
	if len(feeds) == 0 {
		a.printf("no feeds; see those that are known by name with: platformctl feeds presets\n")
		return
	}
	t := newTable("NAME", "RANGES", "CHECKED", "CHANGED", "NEXT", "SOURCE", "STATE")
	for _, f := range feeds {
		state, next := "ok", a.left(f.Next)
		switch {
		case f.Disabled:
			state, next = "disabled", ""
		case f.LastError != "":
			state = f.LastError
		case f.Checked.IsZero():
			state = "not fetched yet"
		}
		t.row(f.Name, fmt.Sprint(f.Ranges), a.ago(f.Checked), a.ago(f.Changed), next, f.Source, state)
	}
	a.print(t)
}

func (a *app) runFeedsPresets(ctx context.Context) error {
	presets, err := a.client().Presets(ctx)
	if err != nil {
		return err
	}
	return a.show(presets, func() {
		t := newTable("NAME", "TITLE", "SOURCE")
		for _, p := range presets {
			t.row(p.Name, p.Title, p.Source)
		}
		a.print(t)
		a.printf("\nadd one with: platformctl feeds add NAME\n")
	})
}

type feedsAddOptions struct {
	changeOptions
	request wire.FeedRequest
}

func newFeedsAddCommand(a *app) *cobra.Command {
	var o feedsAddOptions
	c := &cobra.Command{
		Use:   "add NAME [URL|FILE]",
		Short: "Add a feed; a name alone takes the preset of that name",
		Example: `  platformctl feeds add spamhaus-drop
  platformctl feeds add mine /etc/platform/mine.netset
  platformctl feeds add others https://example.org/list.csv --format csv:2 --every 6h`,
		Args: needs(1, "feeds add spamhaus-drop"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runFeedsAdd(cmd.Context(), o, args) },
		ValidArgsFunction: a.complete(1, func(ctx context.Context) ([]string, error) {
			presets, err := a.client().Presets(ctx)
			return names(presets, func(p wire.Preset) string { return p.Name + "\t" + p.Title }), err
		}),
	}
	o.addFlags(c)
	f := c.Flags()
	f.StringVar(&o.request.Format, "format", "", "netset, json, hosts or csv:N; detected where it is not given")
	f.StringVar(&o.request.Every, "every", "", "how often it is fetched, such as 6h; 12h where it is not given")
	f.IntVar(&o.request.MinRanges, "min", 0, "fewer ranges than that are not plausible")
	f.IntVar(&o.request.MaxRanges, "max", 0, "more ranges than that are not plausible")
	f.BoolVar(&o.request.Disabled, "disabled", false, "add it, but do not use it")
	return c
}

func (a *app) runFeedsAdd(ctx context.Context, o feedsAddOptions, args []string) error {
	var check checker
	r := o.request
	r.Name = args[0]
	check.duration(r.Every)
	if len(args) > 2 {
		check.bad("feeds add: takes a name and a source, but was given %q as well; quote a source with spaces", args[2:])
	}
	if len(args) > 1 {
		source, err := feedSource(args[1])
		check.add(err)
		r.Source = source
	}
	if err := check.err(); err != nil {
		return err
	}
	res, err := a.client().AddFeed(ctx, o.Options, r)
	return a.changed(res, err, fmt.Sprintf("added feed %s; it is fetched now, see: platformctl feeds list", r.Name), "feed "+r.Name+" is there")
}

// feedSource makes a file's path absolute: the daemon has another working directory.
func feedSource(s string) (string, error) {
	scheme, _, isURL := strings.Cut(s, "://")
	switch {
	case isURL && (scheme == "http" || scheme == "https"):
		return s, nil
	case isURL:
		return "", fmt.Errorf("feed source %q: must be an https:// or http:// URL, or a file", s)
	}
	return filepath.Abs(s)
}

func newFeedsUpdateCommand(a *app) *cobra.Command {
	var r wire.FeedUpdateRequest
	c := &cobra.Command{
		Use: "update [NAME ...]", Short: "Fetch feeds now, all where none is named",
		ValidArgsFunction: a.completeFeeds(),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Names = args
			feeds, err := a.client().UpdateFeeds(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.show(feeds, func() { a.printFeeds(feeds) })
		},
	}
	c.Flags().BoolVar(&r.Force, "force", false, "take a copy that was held back as implausible")
	return c
}

func newFeedsRemoveCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{
		Use: "remove NAME ...", Short: "Remove feeds", Args: needs(1, "feeds remove spamhaus-drop"),
		ValidArgsFunction: a.completeFeeds(),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.client().RemoveFeeds(cmd.Context(), o.Options, args...)
			what := "feed " + strings.Join(args, ", ")
			return a.changed(r, err, "removed "+what, what+" is not there")
		},
	}
	o.addFlags(c)
	return c
}
