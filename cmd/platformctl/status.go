package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/internal/health"
)

type statusOptions struct{ wait string }

func newStatusCommand(a *app) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status",
		Short: "Show whether the policy is in force, and what is wrong",
		Long:  "Show whether the policy is in force, and what is wrong. Ends with 0 only where the kernel was read back and agrees, and with 3 where it does not.",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.runStatus(cmd.Context(), o) },
	}
	c.Flags().StringVar(&o.wait, "wait", "", "wait that long for the policy to be in force, such as 30s")
	return c
}

// statusEvery is how often a waiting status looks.
const statusEvery = 50 * time.Millisecond

func (a *app) runStatus(ctx context.Context, o statusOptions) error {
	var check checker
	check.duration(o.wait)
	if err := check.err(); err != nil {
		return err
	}
	st, err := a.client().Status(ctx)
	if o.wait != "" {
		limit, _ := wire.ParseDuration(o.wait)
		deadline := a.now().Add(limit)
		for !inForce(st, err) && a.now().Before(deadline) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(statusEvery):
			}
			st, err = a.client().Status(ctx)
		}
	}
	if err != nil {
		return err
	}
	if err := a.show(st, func() { a.printStatus(st) }); err != nil {
		return err
	}
	if !st.Firewall.Verified {
		return &codedError{code: exitNotVerified}
	}
	return nil
}

// inForce also ends a wait that would be in vain.
func inForce(st wire.Status, err error) bool {
	var gone *client.UnreachableError
	if err != nil {
		return !errors.As(err, &gone)
	}
	return st.Firewall.Verified
}

func (a *app) printStatus(st wire.Status) {
	state := a.paint(green, "in force")
	switch {
	case !st.Firewall.Verified:
		state = a.paint(red, "NOT IN FORCE")
	case !st.Firewall.Enabled:
		state = a.paint(red, "OFF") + ", the host is open; switch it on with: platformctl firewall on"
	}
	a.printf("firewall   %s", state)
	if st.Firewall.Driver != "" && st.Firewall.Enabled {
		a.printf(" (driver %s, checked %s)", st.Firewall.Driver, a.ago(st.Firewall.Checked))
	}
	c := st.Counts
	a.printf("\nrevision   %d\n", st.Revision)
	a.printf("ports      %s open\n", count(c.Ports, "entry", "entries"))
	a.printf("blocks     %d, bans %d, always allowed %d\n", c.Blocks, c.Bans, c.Allow)
	a.printf("feeds      %d with %s\n", c.Feeds, count(c.FeedRanges, "range", "ranges"))
	a.printf("geo rules  %d with %s\n", c.GeoRules, count(c.GeoRanges, "range", "ranges"))
	a.printf("platformd  %s, up %s\n", printable(st.Version), wire.FormatDuration(a.now().Sub(st.Started)))
	if st.Confirm != nil {
		a.printf("\n%s revision %d (%s) is taken back at %s, in %s, unless you keep it:\n\n    platformctl confirm\n", a.paint(yellow, "Warning:"),
			st.Confirm.Revision, printable(st.Confirm.Reason), when(st.Confirm.Deadline), a.left(st.Confirm.Deadline))
	}
	if len(st.Conditions) > 0 {
		a.printf("\n")
		a.printConditions(st.Conditions)
	}
}

func (a *app) printConditions(list []health.Condition) {
	for _, c := range list {
		s := yellow
		if c.Severity == health.Critical {
			s = red
		}
		a.printf("%s %s: %s (since %s)\n", a.paint(s, string(c.Severity)), printable(c.ID), printable(c.Message), when(c.Since))
		if c.Remedy != "" {
			a.printf("    what to do: %s\n", printable(c.Remedy))
		}
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
