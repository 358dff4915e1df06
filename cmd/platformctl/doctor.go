package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newDoctorCommand(a *app) *cobra.Command {
	probe := false
	c := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong with the host, and say what to do", Args: noArgs,
		Long: "Look for what is wrong with the host, and say what to do. Ends with 3 where a check failed.\n\n" +
			"With --probe, platformd also knocks at the host's own addresses from a network namespace that it makes for that, and compares\n" +
			"what answers with the policy. That takes about 5 seconds, at most 20, stays on this machine, and changes no rule.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDoctor(cmd.Context(), probe) },
	}
	c.Flags().BoolVar(&probe, "probe", false, "also scan the host's own addresses from outside, and compare with the policy")
	return c
}

func (a *app) runDoctor(ctx context.Context, probe bool) error {
	findings, err := a.client().Doctor(ctx, probe)
	if err != nil {
		return err
	}
	if err := a.show(findings, func() { a.printFindings(findings) }); err != nil {
		return err
	}
	if slices.ContainsFunc(findings, func(f wire.Finding) bool { return f.State == "failed" }) {
		return &codedError{code: exitNotVerified}
	}
	return nil
}

func (a *app) printFindings(findings []wire.Finding) {
	count := map[string]int{}
	styles := map[string]style{"ok": green, "warning": yellow, "failed": red, "skipped": dim}
	for _, f := range findings {
		count[f.State]++
		a.printf("%s  %s: %s\n", a.paint(styles[f.State], fmt.Sprintf("%-7s", printable(f.State))), printable(f.Check), printable(f.Detail))
		if f.Remedy != "" {
			a.printf("         what to do: %s\n", printable(f.Remedy))
		}
	}
	a.printf("%d failed, %d warnings, %d ok, %d skipped\n", count["failed"], count["warning"], count["ok"], count["skipped"])
}
